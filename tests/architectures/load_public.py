"""Loads FOLDER/NAME.pith into fresh networks, all in this process, and prints what answers otherwise.

    python -m architectures.load_public FOLDER

A line of JSON: the names of the networks whose answers are not, to the bit, those of FOLDER/NAME.pt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import pithnet as pn

from .public import MODELS, answers, built


def differing(folder: Path) -> list[str]:
    """Names of the networks that do not answer as was written beside their files."""
    wrong = []
    for name in MODELS:
        fresh = built(name, seed=1)
        found = answers(name, pn.load(folder / f"{name}.pith", model=fresh))
        expected = torch.load(folder / f"{name}.pt", weights_only=True)
        if not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
            wrong.append(name)
    return wrong


if __name__ == "__main__":
    print(json.dumps(differing(Path(sys.argv[1]))))
