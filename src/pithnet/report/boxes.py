"""Rectangles as the marks of a figure: bars, bins and spans of time, hundreds of them at the cost of one."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from pithnet.report.vector import describe

Box = tuple[float, float, float, float]


def draw_boxes(
    ax: Axes,
    boxes: Sequence[Box],
    colour: str | tuple[str, float],
    tips: Sequence[str] = (),
    label: str = "",
) -> None:
    """Draws rectangles of one colour. The limits of the axes stay what they are.

    Args:
        ax: where to draw.
        boxes: x, y, width and height of each rectangle, in the data's units; width or height may be negative.
        colour: their colour as matplotlib reads it, perhaps with an opacity from 0 to 1.
        tips: what each says when it is pointed at; nothing is said where there are none.
        label: their name in a legend.
    """
    if not boxes:
        return
    corners = [((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for x, y, w, h in boxes]
    drawn = PolyCollection(corners, facecolors=colour, linewidths=0, label=label, clip_on=False)
    ax.add_collection(drawn, autolim=False)
    if tips:
        describe(drawn, tips)
