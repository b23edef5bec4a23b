"""Rectangles as the marks of a figure: bars, bins and spans of time, hundreds of them at the cost of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from pithnet.report.vector import describe

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Boxes:
    """Rectangles of one colour.

    Attributes:
        boxes: x, y, width and height of each, in the data's units; width or height may be negative.
        colour: As matplotlib reads it, perhaps with an opacity from 0 to 1.
        tips: What each says when it is pointed at; nothing is said where there are none.
        label: Their name in a legend.
    """

    boxes: Sequence[Box]
    colour: str | tuple[str, float]
    tips: Sequence[str] = ()
    label: str = ""


def draw_boxes(ax: Axes, *groups: Boxes) -> None:
    """Draws groups of rectangles over each other. The limits of the axes stay what they are."""
    drawn = {}
    for group in groups:
        corners = [((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for x, y, w, h in group.boxes]
        if corners:
            shown = PolyCollection(
                corners, facecolors=group.colour, linewidths=0, label=group.label, clip_on=False
            )
            drawn[shown] = group.tips
            ax.add_collection(shown, autolim=False)
    for shown, tips in drawn.items():
        if tips:
            describe(shown, tips)
