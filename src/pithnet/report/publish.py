"""Page and figures of a run together, as `compress`, `demo` and `report` leave them."""

from __future__ import annotations

from pathlib import Path

from pithnet.report.run_report import write_report


def publish(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes the page, `out` or report.html in the run, and its figures as PNG beside it; returns the page.

    The figures' folder is `figures` beside a page named report.html, else the page's name with `-figures`.
    Raises PithError as `write_report` does.
    """
    page = write_report(run_folder, out)
    from pithnet.report.run_figures import write_figures  # matplotlib takes longer than the page

    name = "figures" if page.name == "report.html" else f"{page.stem}-figures"
    write_figures(run_folder, page.with_name(name))
    return page
