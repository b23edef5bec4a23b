"""The bench's rows for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from pithnet.commands.bench import where
from pithnet.deploy import NO_VNNI


def bench_table(found: dict[str, Any], batch: int, threads: int) -> Table:
    """Returns a table of the rows of one batch size and number of threads."""
    table = Table(
        title=where(batch, threads).capitalize(),
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("file", overflow="fold")
    for heading in ("runtime", "precision"):
        table.add_column(heading)
    for heading in ("MiB", "ms", "middle half", "of eager", "of its float32"):
        table.add_column(heading, justify="right")
    for row in found["rows"]:
        if (row["batch"], row["threads"]) == (batch, threads):
            table.add_row(*_texts(row))
    return table


def bench_cells(found: dict[str, Any]) -> list[tuple[int, int]]:
    """Returns (batch, threads) of each table, in the order in which they were measured."""
    return list(dict.fromkeys((row["batch"], row["threads"]) for row in found["rows"]))


def bench_lines(found: dict[str, Any]) -> list[str]:
    """Returns what the tables do not say."""
    warning = [NO_VNNI] if found["int8_instructions"] is False else []
    h = found["hardware"]
    return [*found["verdicts"], *warning, f"{h['processor']}, {h['cores']} cores, torch {h['torch']}"]


def _texts(row: dict[str, Any]) -> list[str]:
    low, high = row["ms_middle_half"]
    size = "" if row["bytes"] is None else f"{row['bytes'] / 2**20:.2f}"
    shares = (
        "" if s is None else f"{100 * s:.1f} %" for s in (row["share_of_eager"], row["share_of_float32"])
    )
    numbers = (size, f"{row['ms']:.2f}", f"{low:.2f} to {high:.2f}")
    return [row["file"], row["runtime"], row["precision"], *numbers, *shares]
