"""Numbers as people read them: the same decimals down a column, and nothing rounded to zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = "–"
_SHOWN = 6


def plain(value: Any) -> Any:
    """Turns numpy's scalars and arrays into Python's numbers and lists, and leaves all else as it is."""
    if hasattr(value, "tolist") and not isinstance(value, str | bytes):
        return value.tolist()
    return value


def is_numeric(value: Any) -> bool:
    """Says whether a value is a number or a list of two numbers (an interval)."""
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(is_numeric(v) and not isinstance(v, list | tuple) for v in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def column_texts(values: Iterable[Any]) -> list[str]:
    """Returns the texts of a column's cells; its floats get the same decimals, for the eye to compare."""
    cells = [plain(v) for v in values]
    decimals = _decimals(list(_floats(cells)))
    return [_text(v, decimals) for v in cells]


def columns_texts(columns: Iterable[Sequence[Any]]) -> list[tuple[tuple[str, ...], bool]]:
    """Returns, for each column of a table, the texts of its cells and whether it holds numbers alone."""
    found = []
    for cells in ([plain(v) for v in column] for column in columns):
        numeric = all(is_numeric(v) for v in cells if v is not None)
        found.append((tuple(column_texts(cells)), numeric))
    return found


def _floats(values: Any) -> Iterable[float]:
    for value in values.values() if isinstance(values, Mapping) else values:
        if isinstance(value, float):
            yield value
        elif isinstance(value, list | tuple | Mapping):
            yield from _floats(value)


def _decimals(floats: Sequence[float]) -> int:
    finite = [v for v in floats if math.isfinite(v)]
    largest = max((abs(v) for v in finite), default=0.0)
    if largest == 0:
        return 0
    decimals = min(max(3 - math.floor(math.log10(largest)), 0), 4)
    while decimals and all(round(v, decimals - 1) == round(v, decimals) for v in finite):
        decimals -= 1
    return decimals


def _text(value: Any, decimals: int) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _float_text(value, decimals)
    if isinstance(value, list | tuple):
        return _list_text(value, decimals)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(plain(v), decimals)}" for k, v in value.items())
    return str(value)


def _float_text(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value and abs(value) < 10.0**-decimals and round(value, decimals) != value:
        return f"{value:.2g}"
    return f"{value:.3e}" if abs(value) >= 1e15 else f"{value:,.{decimals}f}"


def _list_text(values: Sequence[Any], decimals: int) -> str:
    texts = [_text(plain(v), decimals) for v in values]
    if is_numeric(values):
        return f"{texts[0]} to {texts[1]}"
    more = [f"… ({len(texts)} in all)"] if len(texts) > _SHOWN else []
    return ", ".join(texts[:_SHOWN] + more)
