"""What settles a statement: a verdict and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TRUE, FALSE, DEPENDS = "true", "false", "depends"


@dataclass(frozen=True)
class Found:
    """The verdict on a statement, and what was measured for it: plain numbers, lists and dictionaries."""

    verdict: str
    numbers: dict[str, Any]
