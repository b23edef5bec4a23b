from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pithnet.errors import PithError
from pithnet.report import publish
from pithnet.report.run_figures import draw_figures, save_figures
from pithnet.results.run_record import read_run

from .runs import EVENTS, MEASUREMENTS, RESULTS, write_run


def write_figures(run: Path) -> list[Path]:
    return save_figures(draw_figures(read_run(run)), run / "figures")


def test_figures_are_written_for_what_was_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS, measurements=MEASUREMENTS)
    files = write_figures(run)
    named = ("ratios", "sizes", "stages", "parts", "layers", "weights", "zeros", "timeline", "training")
    assert [f.name for f in files] == [f"{n}.png" for n in named]
    for file in files:
        assert file.parent == run / "figures"
        with Image.open(file) as image:
            low, high = image.convert("L").getextrema()
        assert low < 100 < high, f"{file.name} is blank"


def test_figures_without_numbers_are_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"bytes": 10, "float_bytes": 20})
    assert [f.name for f in write_figures(run)] == ["sizes.png"]
    trained = write_run(tmp_path / "trained", {"model": "resnet20", "test": RESULTS["after"]}, EVENTS)
    assert [f.name for f in write_figures(trained)] == ["timeline.png", "training.png"]


def test_the_page_and_its_figures_lie_beside_each_other(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"bytes": 10, "float_bytes": 20})
    assert publish(run) == run / "report.html"
    assert (run / "figures" / "sizes.png").is_file()
    assert publish(run, tmp_path / "mine.html") == tmp_path / "mine.html"
    assert (tmp_path / "mine-figures" / "sizes.png").is_file()


def test_page_and_png_are_of_the_same_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS, measurements=MEASUREMENTS)
    page = publish(run)
    assert page.read_text("utf-8").count("<svg ") == len(list((run / "figures").glob("*.png"))) == 9


def test_a_place_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "figures").write_text("")
    with pytest.raises(PithError, match=r"figures cannot be created: File exists; choose another place"):
        write_figures(run)
