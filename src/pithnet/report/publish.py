"""Page and figures of a run together, as `compress`, `demo` and `report` leave them."""

from __future__ import annotations

from pathlib import Path

from pithnet.report.run_figures import draw_figures, save_figures
from pithnet.report.run_report import report_page
from pithnet.results.run_record import read_run


def publish(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes the page of a finished run, and the same figures as PNG files in a folder beside it.

    Args:
        run_folder: The folder of the run.
        out: Where the page goes; report.html in the run where it is None. The figures' folder is `figures`
            beside a page named report.html, else the page's name with `-figures`.

    Returns:
        Where the page is. What the run has not measured is named at its end.

    Raises:
        PithError: Where the folder holds no run, the run is not finished, a file of it is damaged, or the
            page or a figure cannot be written.
    """
    record = read_run(Path(run_folder))
    figures = draw_figures(record)
    page = report_page(record, figures).write(Path(run_folder) / "report.html" if out is None else out)
    save_figures(figures, page.with_name("figures" if page.name == "report.html" else f"{page.stem}-figures"))
    return page
