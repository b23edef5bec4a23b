"""The run report's own drawings: bars in HTML and small curves in SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pithnet.errors import PithError
from pithnet.report.numbers import column_texts
from pithnet.report.templating import render

COLOURS = 8
# Drawn small, so that the labels stay legible where a phone shows the drawing at its own size.
_WIDTH, _HEIGHT = 380.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 10.0, 36.0


@dataclass(frozen=True)
class Part:
    """A piece of a bar: `colour` is a number of the page's palette, from 0."""

    value: float
    colour: int = 0
    name: str = ""


@dataclass(frozen=True)
class Bar:
    """A labelled bar of one or more parts, with the `text` that says its value.

    gone: drawn pale after the parts, as what the bar had more before; note: a line under it.
    """

    label: str
    parts: tuple[Part, ...]
    text: str
    gone: float = 0.0
    note: str = ""

    @property
    def total(self) -> float:
        return sum(part.value for part in self.parts)


@dataclass(frozen=True)
class Curve:
    """Points (x, y) joined in their order; those that are not finite are left out."""

    name: str
    points: tuple[tuple[float, float], ...]


def bar_chart(
    bars: Sequence[Bar], title: str = "", longest: float | None = None, compact: bool = False
) -> Markup:
    """Horizontal bars on one linear scale from 0 to `longest` (the longest bar's length where None).

    compact: low rows, for many bars. Raises PithError for a negative length or one that is not finite.
    """
    for bar in bars:
        if any(not 0 <= value < math.inf for value in (bar.gone, *(part.value for part in bar.parts))):
            raise PithError(f"bar {bar.label!r} has a part that is negative or not finite; leave it out")
    scale = longest or max((bar.total + bar.gone for bar in bars), default=0.0) or 1.0
    drawn = {part.name for bar in bars for part in bar.parts if part.value}
    legend = {p.name: p.colour for bar in bars for p in bar.parts if p.name and p.name in drawn}
    return render("bars.html", bars=bars, title=title, scale=scale, legend=legend, compact=compact)


def curve_chart(curves: Sequence[Curve], title: str, x_label: str, y_label: str) -> Markup:
    """Curves over one pair of linear axes. Raises PithError where no point is finite."""
    kept = [Curve(c.name, tuple(p for p in c.points if all(map(math.isfinite, p)))) for c in curves]
    kept = [c for c in kept if c.points]
    if not kept:
        raise PithError(f"chart {title!r} has no finite point to draw")
    points = [p for c in kept for p in c.points]
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points), 6)
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points), 5)
    xs = _Scale(x_ticks[0], x_ticks[-1], _LEFT, _WIDTH - _RIGHT)
    ys = _Scale(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    return render(
        "curves.html",
        title=title,
        x_label=x_label,
        y_label=y_label,
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        bottom=_HEIGHT - _BOTTOM,
        x_ticks=list(zip(map(xs, x_ticks), column_texts(x_ticks), strict=True)),
        y_ticks=list(zip(map(ys, y_ticks), column_texts(y_ticks), strict=True)),
        curves=[
            (c.name, i % COLOURS, [(xs(x), ys(y), tip) for (x, y), tip in _with_tips(c)])
            for i, c in enumerate(kept)
        ],
    )


def _with_tips(curve: Curve) -> list[tuple[tuple[float, float], tuple[str, str]]]:
    """Each point with its x and y as they are shown when it is pointed at."""
    xs, ys = zip(*curve.points, strict=True)
    return list(zip(curve.points, zip(column_texts(xs), column_texts(ys), strict=True), strict=True))


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 2 round numbers, evenly spaced, the first <= low and the last >= high."""
    if high <= low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
