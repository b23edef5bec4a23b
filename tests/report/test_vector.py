"""Figures as SVG inside a page: texts stay texts, marks speak, no figure touches another."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.figures import COLOURS, axes
from pithnet.report.plots import grouped_bars, heatmap, lines
from pithnet.report.vector import describe, inline_svg

NAME = "{http://www.w3.org/2000/svg}"


def _texts(svg: str, tag: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(NAME + tag)]


def _curve() -> Figure:
    return lines({"t = 0.004 & <x>": ([1, 2, 3], [0.25, 0.5, 0.125])}, "Loss", "epoch", "loss")


def test_texts_are_texts_with_all_their_digits() -> None:
    svg = inline_svg(
        lines({"t = 0.00425": ([1, 2], [1, 2]), "b": ([1, 2], [2, 1])}, "Loss"), "A curve: 1.2345"
    )
    assert {"t = 0.00425", "b", "Loss"} <= set(_texts(svg, "text"))
    assert 'aria-label="A curve: 1.2345"' in svg


def test_every_mark_says_its_value() -> None:
    said = [f"t = 0.004 & <x>: {y} at epoch {x}" for x, y in ((1, "0.25"), (2, "0.5"), (3, "0.125"))]
    assert _texts(inline_svg(_curve(), ""), "title") == said
    bars = inline_svg(grouped_bars(["a", "b"], {"bytes": [1200.0, 2.5]}), "")
    assert _texts(bars, "title") == ["a, bytes: 1,200", "b, bytes: 2.5"]
    cells = inline_svg(heatmap(["r"], ["x", "y"], np.array([[0.5, 0.25]])), "")
    assert _texts(cells, "title") == ["r, x: 50.00 %", "r, y: 25.00 %"]


def test_points_that_are_no_numbers_have_no_mark_and_no_text() -> None:
    svg = inline_svg(lines({"a": ([1, 2, 3], [1.0, float("nan"), 2.0])}), "")
    assert _texts(svg, "title") == ["a: 1 at x 1", "a: 2 at x 3"]


def test_a_wrong_number_of_texts_is_refused() -> None:
    fig, ax = axes()
    describe(ax.plot([1, 2, 3], [1, 2, 3], marker="o")[0], ["one", "two"])
    with pytest.raises(PithError, match="an artist of 3 marks was described by 2 texts"):
        inline_svg(fig, "")


def test_a_figure_brings_no_style_sheet_and_only_names_of_its_own() -> None:
    one, other = inline_svg(_curve(), ""), inline_svg(lines({"b": ([1, 2], [3, 4])}), "")
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert names[0]
    assert not names[0] & names[1]
    for svg, own in zip((one, other), names, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= own
        assert "<style" not in svg
        assert "<script" not in svg


def test_colours_are_the_pages_and_the_same_figure_is_the_same_text() -> None:
    svg = inline_svg(_curve(), "")
    assert "stroke:var(--c0)" in svg
    assert "fill:var(--text)" in svg
    assert COLOURS[0] not in svg
    assert svg == inline_svg(_curve(), "")
