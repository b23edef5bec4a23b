"""What commands print: one JSON object, or tables and lines for people."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def print_results(results: dict[str, Any], json: bool, *lines: str) -> None:
    """Prints the results as one JSON object, or the lines that say them."""
    # The parameter has the option's name, which hides the module's.
    print(importlib.import_module("json").dumps(results) if json else "\n".join(lines))


def show(*parts: Any) -> None:
    """Prints Rich tables and plain lines on stdout, wide enough where it is no terminal."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=140)
    for part in parts:
        console.print(part, markup=False, highlight=False)


def accuracy_line(measured: dict[str, Any]) -> str:
    """Says an accuracy, or the user's own metric, with its interval and on how many it was measured."""
    from pithnet.results.run_record import Accuracy

    found = Accuracy(**measured)
    return f"{found.metric} {found.score} (95 % interval {found.span}) on {found.n:,}"
