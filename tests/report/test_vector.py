"""Figures as SVG inside a page: texts stay texts, marks speak, no figure touches another."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.boxes import Boxes, draw_boxes
from pithnet.report.figures import COLOURS, axes, save_png
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


def test_a_lone_mark_says_its_own_value_inside_itself() -> None:
    bars = ElementTree.fromstring(inline_svg(grouped_bars(["a", "b"], {"bytes": [1200.0, 2.5]}), ""))
    said = {
        mark: mark.findtext(NAME + "title") for mark in bars.iter() if mark.find(NAME + "title") is not None
    }
    assert [(mark.tag, text) for mark, text in said.items()] == [
        (NAME + "path", "a, bytes: 1,200"),
        (NAME + "path", "b, bytes: 2.5"),
    ]


def test_lines_may_be_drawn_shorter_but_not_elsewhere() -> None:
    fig, ax = axes()
    draw_boxes(ax, Boxes([(0.2, 0.25, 0.5, 0.5)], COLOURS[0], ["a box"]))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    (box,) = (p for p in ElementTree.fromstring(inline_svg(fig, "")).iter(NAME + "path") if len(p))
    drawn = re.fullmatch(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H([\d.]+)z", box.get("d") or "")
    assert drawn
    x0, y0, x1, y1, back = map(float, drawn.groups())
    frame = ax.get_window_extent().transformed(fig.dpi_scale_trans.inverted())
    width, height = 72 * frame.width, 72 * frame.height
    assert back == x0
    assert x1 - x0 == pytest.approx(0.5 * width, abs=0.11)
    assert y0 - y1 == pytest.approx(0.5 * height, abs=0.11)


def test_a_png_has_the_layout_of_the_page_and_is_the_same_after_it(tmp_path: Path) -> None:
    fig = _curve()
    inline_svg(fig, "")
    places = [ax.get_position().bounds for ax in fig.axes]
    first = save_png(fig, tmp_path / "a.png").read_bytes()
    assert [ax.get_position().bounds for ax in fig.axes] == places
    assert save_png(fig, tmp_path / "b.png").read_bytes() == first
