"""The figures of a run's report: drawn once, then placed on the page and saved as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from pithnet.atomic import make_folder
from pithnet.report.figures import save_png
from pithnet.report.headline import headline_figures
from pithnet.report.layer_report import layer_figures
from pithnet.report.size_report import size_figures
from pithnet.report.training_report import training_figures
from pithnet.report.weight_report import weight_figures
from pithnet.results.run_record import RunRecord

_SECTIONS = (headline_figures, size_figures, layer_figures, weight_figures, training_figures)


def draw_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws the figures that the run has numbers for.

    Args:
        record: A finished run, read by `read_run`.

    Returns:
        Figures by name, of ratios, sizes, stages, parts, layers, weights, zeros, timeline and training.

    Raises:
        PithError: Where a file of the run is damaged.
    """
    return {name: fig for section in _SECTIONS for name, fig in section(record).items()}


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Writes each figure as NAME.png into a folder, which is made where there is none; returns the files.

    Raises:
        PithError: Where the folder or a file cannot be written.
    """
    make_folder(folder, "choose another place")
    return [save_png(figure, folder / f"{name}.png") for name, figure in figures.items()]
