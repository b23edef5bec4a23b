"""Writes the results table of README.md from records/*/results.json; `--check` only compares."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

RECORDS = Path(__file__).resolve().parent
README = RECORDS.parent / "README.md"
BLOCK = re.compile(r"(<!-- results: written by records/tables.py -->\n).*?(<!-- /results -->)", re.DOTALL)


def rows() -> list[str]:
    """A Markdown row per compressed model under records/, smallest file last."""
    results = [(p.parent.name, json.loads(p.read_text())) for p in RECORDS.glob("*/results.json")]
    compressed = sorted(((n, r) for n, r in results if "ratio" in r), key=lambda item: item[1]["ratio"])
    return [_row(name, r) for name, r in compressed]


def _row(name: str, r: dict) -> str:
    d = r["difference"]
    change = f"{d['points']:+.2f} ({d['low']:+.2f} to {d['high']:+.2f})"
    rival = min(v["bytes"] for v in r["rivals"].values())
    accuracies = f"{100 * r['before']['accuracy']:.2f} | {100 * r['after']['accuracy']:.2f}"
    size = f"{r['bytes']:,} | {r['ratio']:.1f}x"
    return f"| [{name}](records/{name}/) | {size} | {accuracies} | {change} | {rival:,} |"


def table() -> str:
    head = [
        "| model and recipe | bytes | ratio | float % | compressed % | points (95 % interval) | best rival |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows()]) + "\n"


def main() -> int:
    text = README.read_text()
    written = BLOCK.sub(lambda m: m[1] + "\n" + table() + "\n" + m[2], text)
    if "--check" in sys.argv[1:]:
        return int(written != text)
    README.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
