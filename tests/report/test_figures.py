from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pithnet.errors import PithError
from pithnet.report import figures, plots


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=float)


def test_the_same_figure_is_the_same_file_at_150_dpi(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.save_png(
            plots.lines({"a": ([1, 2], [3, 4]), "b": ([1, 2], [4, 3])}, "Loss", "epoch"), tmp_path / name
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert _pixels(tmp_path / "a.png").shape == (630, 1050)


def test_pattern_is_darker_where_more_is_left(tmp_path: Path) -> None:
    mask = np.zeros((8, 4, 3, 3), dtype=bool)
    mask[:4] = True
    fig = figures.pattern({"conv": mask, "dense": np.ones((2000, 3))})
    shown = np.asarray(fig.axes[0].images[0].get_array())
    np.testing.assert_array_equal(shown, np.repeat([1.0, 0.0], 4)[:, None].repeat(36, 1))
    assert fig.axes[0].get_title() == "conv: 50.0 % zeros"
    pixels = _pixels(figures.save_png(fig, tmp_path / "p.png"))
    assert (pixels < 100).mean() > 0.2


def test_a_pattern_finer_than_its_pixels_shows_shares() -> None:
    mask = np.zeros((4, 10_000), dtype=bool)
    mask[:, ::4] = True
    shown = np.asarray(figures.pattern({"x": mask}).axes[0].images[0].get_array())
    assert shown.shape[1] <= 400
    assert shown.mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("shape", [(5,), (), (0, 3)])
def test_patterns_need_two_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(PithError, match=r"bias has shape .*a pattern needs two dimensions or more"):
        figures.pattern({"bias": np.ones(shape)})


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(PithError, match="no mask to draw"):
        figures.pattern({})
    with pytest.raises(PithError, match="at least one panel"):
        figures.panels(0)


def test_bars_keep_their_order(tmp_path: Path) -> None:
    fig = plots.bars({"first": 1.0, "second": 3.0}, "Zeros", "share")
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "second"]
    assert [p.get_width() for p in ax.patches] == [1.0, 3.0]
    assert ax.yaxis_inverted(), "the first is on top"


def test_unwritable_figure_is_one_line(tmp_path: Path) -> None:
    fig, _ = figures.axes("t")
    with pytest.raises(PithError, match="cannot be written"):
        figures.save_png(fig, tmp_path / "none" / "a.png")


def test_lines_that_share_a_colour_are_dashed_otherwise_and_whole_places_are_named() -> None:
    series = {f"line {i}": ([2, 3, 4], [i, i + 1, i]) for i in range(len(figures.COLOURS) + 3)}
    fig = plots.lines(series)
    ax = fig.axes[0]
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == len(series)
    assert list(ax.get_xticks()) == [2, 3, 4]
    assert ax.get_legend() is None
    assert [t.get_text() for t in fig.legends[0].get_texts()] == list(series)
    assert plots.lines({"a": ([0.5, 1], [1, 2]), "b": ([0.5, 1], [2, 1])}).axes[0].get_legend() is not None
