"""Histograms and pictures of layers: bins, levels and pixels are what was measured."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from PIL import Image

from pithnet.errors import PithError
from pithnet.report.small_multiples import Histogram, Picture, histogram_grid, picture_grid
from pithnet.report.vector import inline_svg

from .reader import Reader

LEVELS = [(-0.25, 3), (0.625, 20), (1.5, 4)]
WHOLE = Histogram("conv1", ["3 levels"], -0.5, 1.5, [8, 60, 0, 10], [3, 0, 20, 4], LEVELS)


def test_levels_stand_where_they_are_and_as_high_as_their_counts() -> None:
    ax = histogram_grid([WHOLE]).axes[0]
    (stems,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    base, zero, bins = (
        [path.get_extents() for path in c.get_paths()]
        for c in ax.collections
        if isinstance(c, PolyCollection)
    )
    places = [(segment[0, 0] - base[0].x0) / base[0].width for segment in stems.get_segments()]
    assert places == pytest.approx([0.125, 0.5625, 1.0])
    assert (zero[0].x0 - base[0].x0) / base[0].width == pytest.approx(0.25), "a line at 0"
    tallest = max(e.height for e in bins)
    heights = [abs(segment[1, 1] - segment[0, 1]) / tallest for segment in stems.get_segments()]
    assert heights == pytest.approx([3 / 60, 20 / 60, 4 / 60]), "one scale of counts"
    assert [e.height / tallest for e in bins] == pytest.approx([8 / 60, 1, 10 / 60])
    assert {round(e.y1, 9) for e in bins} == {round(base[0].y0, 9)}


def test_bins_and_levels_say_their_counts() -> None:
    read = Reader(inline_svg(histogram_grid([WHOLE]), ""))
    assert read.tips == [
        "-0.5 to 0: 8 before, 3 after",
        "0 to 0.5: 60 before, 0 after",
        "1 to 1.5: 10 before, 4 after",
        "level -0.25: 3 weights",
        "level 0.625: 20 weights",
        "level 1.5: 4 weights",
    ]
    assert {"conv1", "3 levels", "-0.5", "1.5"} <= set(read.all_of("text"))


def test_without_a_before_the_weights_that_are_left_are_drawn() -> None:
    fig = histogram_grid([Histogram("conv1", [], 0.0, 1.0, None, [1, 2], None)])
    assert Reader(inline_svg(fig, "")).tips == ["0 to 0.5: 1 after", "0.5 to 1: 2 after"]


def test_of_many_layers_each_says_its_sum() -> None:
    layers = [Histogram(f"conv{i}", [], -0.5, 1.5, [8, 60, 30, 10], [3, 0, 20, 4], None) for i in range(41)]
    read = Reader(inline_svg(histogram_grid(layers), ""))
    assert read.tips == [f"conv{i}: 108 weights from -0.5 to 1.5" for i in range(41)]


def test_a_layer_of_one_value_can_be_drawn() -> None:
    svg = inline_svg(histogram_grid([Histogram("dead", ["0 levels"], 0.0, 0.0, [4], [0], [])]), "")
    assert "nan" not in svg
    assert Reader(svg).tips == ["0 to 0: 4 before, 0 after"]


def _pixels(svg: str) -> list[np.ndarray]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) for data in found]


def test_pictures_have_a_pixel_per_cell_whose_opacity_is_its_value() -> None:
    cells = [
        np.array([[0, 128, 255], [7, 0, 0]], np.uint8),
        np.arange(256, dtype=np.uint8).reshape(16, 16),
    ]
    svg = inline_svg(picture_grid([Picture(f"layer{i}", [], c) for i, c in enumerate(cells)]), "")
    for shown, own in zip(_pixels(svg), cells, strict=True):
        rows = [shown[..., 3], shown[::-1, :, 3]]  # an image may be turned over by its matrix
        assert any(np.array_equal(r, own) for r in rows)


def test_the_first_row_of_a_picture_is_on_top() -> None:
    svg = inline_svg(picture_grid([Picture("a", [], np.array([[255], [0]], np.uint8))]), "")
    (shown,) = _pixels(svg)
    (matrix,) = re.findall(r'<image[^>]*transform="matrix\(([^)]+)\)"', svg)
    upright = float(matrix.split()[3]) > 0
    assert shown[0 if upright else -1, 0, 3] == 255


def test_pictures_say_what_they_show() -> None:
    svg = inline_svg(picture_grid([Picture("$a_1$ <b>", ["100.0 % zeros"], np.zeros((2, 3), np.uint8))]), "")
    read = Reader(svg)
    assert read.tips == ["$a_1$ <b>: 100.0 % zeros"]
    assert {"$a_1$ <b>", "100.0 % zeros"} <= set(read.all_of("text"))


def test_long_names_keep_their_end() -> None:
    name = "backbone.stage3.block17.attention.projection"
    read = Reader(inline_svg(picture_grid([Picture(name, [], np.zeros((2, 3), np.uint8))]), ""))
    (shown,) = (text for text in read.all_of("text") if text.startswith("…"))
    assert name.endswith(shown[1:])
    assert len(shown) <= 27
    assert read.tips[0].startswith(name)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(PithError, match="histogram 'conv1' has 3 bins before and 2 after"):
        histogram_grid([Histogram("conv1", [], 0.0, 1.0, [1, 2, 3], [1, 2], None)])
    with pytest.raises(PithError, match="there is no layer to draw"):
        picture_grid([])
