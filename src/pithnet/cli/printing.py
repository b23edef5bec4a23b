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
    low, high = measured["interval"]
    if measured["share"]:
        share = f"{100 * measured['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"
    else:
        share = f"{measured['accuracy']:.4g} (95 % interval {low:.4g} to {high:.4g})"
    return f"{measured['metric']} {share} on {measured['n']:,}"
