"""The report of a run: what was lost and gained, from its folder, on one page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from matplotlib.figure import Figure

from pithnet.report.headline import add_headline, title
from pithnet.report.layer_report import add_layers
from pithnet.report.page import Page
from pithnet.report.size_report import add_size
from pithnet.report.training_report import add_training
from pithnet.report.waterfall import stages
from pithnet.report.weight_report import add_weights
from pithnet.results.run_record import RunRecord


def report_page(record: RunRecord, figures: Mapping[str, Figure]) -> Page:
    """Makes the page of a run, with the figures that `run_figures.draw_figures` made of it."""
    page = Page(*title(record.results))
    add_headline(page, record, figures)
    add_size(page, record, figures)
    add_layers(page, record, figures)
    add_weights(page, record, figures)
    add_training(page, record.log, figures)
    _add_origin(page, record)
    return page


def _add_origin(page: Page, record: RunRecord) -> None:
    r = record.results
    page.section("How to get it again")
    if r.command:
        page.code(r.command if isinstance(r.command, str) else shlex.join(r.command), "Command")
    if record.recipe:
        page.code(record.recipe.rstrip(), "Recipe; what it does not name has its default")
    facts = {
        "accuracy measured on": r.measured_on if r.after or r.test else None,
        "data": r.dataset,
        "seed": r.seed,
        "epochs": r.epochs if r.epochs is not None else len(record.log.epochs),
        "seconds of training": None if r.train_seconds is None else f"{r.train_seconds:,.0f}",
        "seconds of the last process": None if r.seconds is None else f"{r.seconds:,.0f}",
        **r.hardware,
    }
    page.table([{"what": name, "value": str(value)} for name, value in facts.items() if value is not None])
    if record.log.unreadable:
        page.text(f"Lines of `events.jsonl` left out because they are broken: {record.log.unreadable}.")
    missing = _missing(record)
    if missing:
        page.text(f"Not in this report: {'; '.join(missing)}.")


def _missing(record: RunRecord) -> list[str]:
    """What a run of today has and this one has not, with the reason."""
    r, log = record.results, record.log
    if r.bytes is None:
        return []
    missing = []
    if r.after is None:
        missing.append("accuracy, for there were no labelled images to measure it on")
    if not stages(r):
        missing.append(
            "the stages from float32 to the file, for `results.json` does not account for each byte"
        )
    if record.measurements is None:
        missing.append(
            "histograms of weights and pictures of zeros, for the run has no `measurements.json` (older "
            "versions wrote none; run the compression again)"
        )
    if log.epochs and all(e.sparsity is None for e in log.epochs):
        missing.append("zeros over the epochs, for the run did not log them")
    if not log.epochs:
        missing.append("training curves, for the run logged no epoch")
    return missing
