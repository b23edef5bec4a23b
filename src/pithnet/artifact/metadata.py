"""What a .pith file says about its model besides the tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pithnet.artifact.packed import is_name
from pithnet.errors import ArtifactError

Scalar = str | int | float | bool | None
Argument = Scalar | tuple[int, ...]

_SOURCE_BYTES = 8
_MAX_NAME = 100
_MAX_LIST = 1 << 16
_MAX_CHANNELS = 64
_WIDTHS = "widths"
_MAX_WIDTHS = 1 << 12
_LARGEST_WIDTH = 1 << 20


@dataclass(frozen=True)
class Metadata:
    """Facts about a model; all of them are optional, and the file spends bytes only on those given.

    Args:
        architecture: Name in the zoo, or None for a model of the user's.
        arguments: Arguments of the architecture's constructor: strings and numbers; `widths` is a tuple of at
            most 4096 whole numbers from 0 to 2**20, as in the attribute `architecture` of a zoo network.
        normalization: (mean, std), one number a channel, that images need before they go in.
        dataset: Name of the data set.
        classes: Names of the classes.
        recipe: Name of the recipe, or a small mapping.
        claimed: (images, correct answers) at the time of writing.
        source: sha256 of the checkpoint compressed, hexadecimal; the first 16 digits are kept.

    Raises:
        ArtifactError: A value is one that a file cannot hold.
    """

    architecture: str | None = None
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    dataset: str | None = None
    classes: tuple[str, ...] | None = None
    recipe: str | Mapping[str, Any] | None = None
    claimed: tuple[int, int] | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Checks that a file can hold the values."""
        if self.source is not None:
            object.__setattr__(self, "source", _source(self.source))
        if self.normalization is not None:
            mean, std = (tuple(float(v) for v in part) for part in self.normalization)
            if len(mean) != len(std) or not all(math.isfinite(v) for v in (*mean, *std)) or not all(std):
                raise ArtifactError("normalization needs as many finite means as finite, non-zero stds")
            if len(mean) > _MAX_CHANNELS:
                raise ArtifactError(
                    f"normalization of {len(mean)} channels; a file holds {_MAX_CHANNELS}, leave it out"
                )
            object.__setattr__(self, "normalization", (mean, std))
        for key, value in self.arguments.items():
            scalar = isinstance(value, str | int | float | None)
            if not isinstance(key, str) or not (scalar or (key == _WIDTHS and _are_widths(value))):
                advice = f"a tuple of whole numbers from 0 to {_LARGEST_WIDTH}, {_MAX_WIDTHS} at most"
                raise ArtifactError(
                    f"argument {key!r} of {self.architecture} is {value!r}; use strings and numbers"
                    + (f", or {advice}" if key == _WIDTHS else "")
                )
        if self.recipe is not None:
            object.__setattr__(self, "recipe", _plain(self.recipe))
        if self.claimed is not None and not 0 <= self.claimed[1] <= self.claimed[0]:
            raise ArtifactError(f"claimed {self.claimed[1]} correct answers of {self.claimed[0]}")

    @property
    def has_widths(self) -> bool:
        """Whether the architecture has widths of its own, which files have from version 2 on."""
        return isinstance(self.arguments.get(_WIDTHS), tuple)

    @property
    def accuracy(self) -> float | None:
        """The claimed accuracy, 0 to 1."""
        return self.claimed[1] / self.claimed[0] if self.claimed and self.claimed[0] else None


def _plain(recipe: str | Mapping[str, Any]) -> Any:
    """Returns the recipe as JSON would give it back, so that every reader of the file can show it."""
    try:
        return json.loads(json.dumps(recipe if isinstance(recipe, str) else dict(recipe), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as e:
        raise ArtifactError(f"the recipe must be a name or a mapping of plain values: {e}") from None


def _source(digits: str) -> str:
    try:
        prefix = bytes.fromhex(digits)[:_SOURCE_BYTES]
    except ValueError:
        prefix = b""
    if len(prefix) < _SOURCE_BYTES:
        raise ArtifactError(
            f"source {digits!r} is no sha256; give at least {2 * _SOURCE_BYTES} hexadecimal digits"
        )
    return prefix.hex()


def to_header(meta: Metadata) -> dict[str, Any]:
    """Returns the header's entries for `meta`: one-letter keys, and nothing for what is not given."""
    entries: dict[str, Any] = {
        "a": [meta.architecture, *([dict(sorted(meta.arguments.items()))] if meta.arguments else [])]
        if meta.architecture
        else None,
        "n": None if meta.normalization is None else [_numbers(part) for part in meta.normalization],
        "d": meta.dataset,
        "c": None if meta.classes is None else list(meta.classes),
        "r": dict(meta.recipe) if isinstance(meta.recipe, Mapping) else meta.recipe,
        "y": None if meta.claimed is None else [int(v) for v in meta.claimed],
        "s": None if meta.source is None else bytes.fromhex(meta.source),
    }
    return {key: value for key, value in entries.items() if value is not None}


def from_header(header: Mapping[Any, Any], *, widths: bool = False) -> Metadata:
    """Returns the Metadata of a header.

    Args:
        header: The entries.
        widths: Whether the file's version is one that has widths.

    Raises:
        ArtifactError: An entry is not of the declared form; the message names it.
    """
    name, arguments = _architecture(header.get("a"))
    if widths and isinstance(arguments.get(_WIDTHS), list):
        arguments[_WIDTHS] = tuple(arguments[_WIDTHS])
    normalization = header.get("n")
    if normalization is not None:
        _check(_is_list(normalization, list) and len(normalization) == 2, "n")
        normalization = tuple(_from_numbers(part) for part in normalization)
    classes = header.get("c")
    _check(classes is None or _is_list(classes, str), "c")
    claimed = header.get("y")
    _check(claimed is None or (_is_list(claimed, int) and len(claimed) == 2), "y")
    source = header.get("s")
    _check(source is None or (isinstance(source, bytes) and len(source) == _SOURCE_BYTES), "s")
    dataset, recipe = header.get("d"), header.get("r")
    _check(dataset is None or isinstance(dataset, str), "d")
    _check(recipe is None or isinstance(recipe, str | dict), "r")
    fields: dict[str, Any] = {
        "architecture": name,
        "arguments": arguments,
        "normalization": normalization,
        "dataset": dataset,
        "classes": None if classes is None else tuple(classes),
        "recipe": recipe,
        "claimed": None if claimed is None else (claimed[0], claimed[1]),
        "source": None if source is None else source.hex(),
    }
    try:
        return Metadata(**fields)
    except ArtifactError as e:
        raise ArtifactError(f"header: {e}") from None


def _architecture(entry: object) -> tuple[str | None, dict[str, Any]]:
    if entry is None:
        return None, {}
    if not isinstance(entry, list) or not 1 <= len(entry) <= 2 or not isinstance(entry[0], str):
        raise _malformed("a")
    arguments = entry[1] if len(entry) == 2 else {}
    _check(isinstance(arguments, dict) and all(_is_name(n) for n in (entry[0], *arguments)), "a")
    return entry[0], arguments


def _are_widths(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= _MAX_WIDTHS
        and all(type(number) is int and 0 <= number <= _LARGEST_WIDTH for number in value)
    )


def _numbers(values: tuple[float, ...]) -> list[Any]:
    """Returns [decimals, integers...] where few decimals give all (0.485: [3, 485]), else [-1, floats...]."""
    decimals = max((-int(Decimal(repr(v)).as_tuple().exponent) for v in values), default=0)
    scaled = [round(v * 10**decimals) for v in values] if 0 <= decimals <= 6 else []
    if scaled and all(abs(q) < 2**31 and q / 10**decimals == v for q, v in zip(scaled, values, strict=True)):
        return [decimals, *scaled]
    return [-1, *values]


def _from_numbers(entry: list[Any]) -> tuple[float, ...]:
    _check(bool(entry) and isinstance(entry[0], int) and -1 <= entry[0] <= 6, "n")
    _check(len(entry) <= 1 + _MAX_CHANNELS, "n")
    kind = float if entry[0] < 0 else int
    _check(all(isinstance(v, kind) for v in entry[1:]), "n")
    return (
        tuple(float(v) for v in entry[1:]) if entry[0] < 0 else tuple(v / 10 ** entry[0] for v in entry[1:])
    )


def _is_list(value: object, kind: type) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_LIST and all(type(v) is kind for v in value)


def _is_name(value: object) -> bool:
    return is_name(value) and len(str(value)) <= _MAX_NAME


def _check(good: bool, key: str) -> None:
    if not good:
        raise _malformed(key)


def _malformed(key: str) -> ArtifactError:
    return ArtifactError(f"header: entry {key!r} is not of the form docs/format.md gives it")
