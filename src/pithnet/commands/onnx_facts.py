"""What an ONNX file that pithnet wrote says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pithnet.data import Normalization
from pithnet.deploy import facts_of
from pithnet.errors import ModelError

_ARCHITECTURE, _NORMALIZATION, _PRECISION = "architecture", "normalization", "precision"


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says of itself; all is None where another program made the file.

    Attributes:
        architecture: The network's name in the zoo, and its arguments; None for a network of the user's own.
        normalization: How its images are normalised; None where the user's own loaders gave the inputs.
        precision: In words, such as "int8 static".
    """

    architecture: tuple[str, dict[str, Any]] | None = None
    normalization: Normalization | None = None
    precision: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Returns names and values for the file."""
        n = self.normalization
        return {
            _ARCHITECTURE: json.dumps(self.architecture),
            _NORMALIZATION: json.dumps(n and [n.mean, n.std]),
            _PRECISION: self.precision or "",
        }


def onnx_facts(file: Path) -> OnnxFacts:
    """Reads what an ONNX file says of itself.

    Raises:
        ModelError: The file is no ONNX, or its metadata is damaged.
    """
    facts = facts_of(file)
    try:
        known, numbers = json.loads(facts[_ARCHITECTURE]), json.loads(facts[_NORMALIZATION])
        return OnnxFacts(_architecture(known), _normalization(numbers), facts[_PRECISION])
    except KeyError:
        return OnnxFacts()
    except (TypeError, ValueError):
        raise ModelError(f"{file}: its metadata is damaged; export it again") from None


def _architecture(content: Any) -> tuple[str, dict[str, Any]] | None:
    if content is None:
        return None
    name, arguments = content
    return str(name), dict(arguments)


def _normalization(content: Any) -> Normalization | None:
    if content is None:
        return None
    mean, std = content
    return Normalization(tuple(map(float, mean)), tuple(map(float, std)))
