from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pithnet.errors import PithError
from pithnet.report.drawings import (
    Histogram,
    Mark,
    Span,
    alpha_png,
    histogram_chart,
    kernel_picture,
    timeline,
)

from .reader import Reader

LEVELS = [(-0.25, 3), (0.625, 20), (1.5, 4)]


def _lines(html: str, kind: str) -> list[tuple[float, float]]:
    found = re.findall(rf'class="{kind}" x1="([\d.]+)" x2="[\d.]+" y1="[\d.]+" y2="([\d.]+)"', html)
    return [(float(x), float(y)) for x, y in found]


def test_levels_stand_where_they_are_and_as_high_as_their_counts() -> None:
    html = histogram_chart(Histogram(-0.5, 1.5, [8, 60, 30, 10], [3, 0, 20, 4], LEVELS), "conv1", "3 levels")
    stems = _lines(html, "level")
    assert [x for x, _ in stems] == [30.0, 135.0, 240.0]
    assert [y for _, y in stems] == pytest.approx([95.0, 66.7, 93.3], abs=0.05)
    assert 'class="before"' in html
    assert 'class="after"' not in html
    (bins,) = Reader(html).bins
    assert json.loads(bins["data-bins"]) == [["before", [8, 60, 30, 10]], ["after", [3, 0, 20, 4]]]
    assert (bins["data-low"], bins["data-high"]) == ("-0.5", "1.5")


def test_without_levels_or_a_before_the_outline_is_drawn() -> None:
    html = histogram_chart(Histogram(0.0, 1.0, None, [1, 2], None), "conv1", "")
    assert 'class="before"' not in html
    assert 'd="M0 100V50H120V0H240V100Z"' in html
    assert json.loads(Reader(html).bins[0]["data-bins"]) == [["after", [1, 2]]]


def test_a_layer_of_one_value_can_be_drawn() -> None:
    html = histogram_chart(Histogram(0.0, 0.0, [4], [0], []), "dead", "0 levels")
    assert "nan" not in html
    assert _lines(html, "level") == []


def test_pictures_have_an_opacity_per_cell() -> None:
    cells = np.array([[0, 128, 255], [7, 0, 0]], np.uint8)
    with Image.open(io.BytesIO(alpha_png(cells))) as image:
        assert image.size == (3, 2)
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], cells)


def test_a_picture_of_every_value_survives() -> None:
    cells = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Image.open(io.BytesIO(alpha_png(cells))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], cells)


def test_pictures_say_what_they_show() -> None:
    html = kernel_picture(np.zeros((2, 3), np.uint8), "a <b>", ["100.0 % zeros"])
    read = Reader(html)
    assert read.all_of("p") == ["a <b>", "100.0 % zeros"]
    assert 'alt="a &lt;b&gt;: 100.0 % zeros"' in html


def test_the_timeline_is_to_scale() -> None:
    spans = [Span("1. prune", 30.0, "1. prune: 30 s"), Span("2. share", 10.0, "2. share: 10 s")]
    html = timeline(spans, [Mark(30.0, "prune: 80.0 % zeros")], "Time", ("0 s", "40 s"))
    assert re.findall(r"width:([\d.]+)%", html) == ["75", "25"]
    assert re.findall(r"left:([\d.]+)%", html) == ["75"]
    assert Reader(html).tips == ["1. prune: 30 s", "2. share: 10 s", "prune: 80.0 % zeros"]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(PithError, match="histogram 'conv1' has 3 bins before and 2 after"):
        histogram_chart(Histogram(0.0, 1.0, [1, 2, 3], [1, 2], None), "conv1", "")
    with pytest.raises(PithError, match="timeline 'Time' has no span that takes time"):
        timeline([Span("1. prune", 0.0, "")], [], "Time", ("", ""))
