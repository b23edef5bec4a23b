"""The report of a run: what was lost and gained, from its folder, on one page."""

from __future__ import annotations

import shlex
from pathlib import Path

from pithnet.report.layer_report import add_layers
from pithnet.report.page import Page
from pithnet.report.run_record import Accuracy, Difference, Results, RunRecord, read_run
from pithnet.report.size_report import add_size
from pithnet.report.training_report import add_passes, add_training


def write_report(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes report.html of a finished run, in its folder where `out` is None; returns where it is.

    What the run has not measured (accuracy, training) is left out. Raises PithError where the folder holds
    no run, the run is not finished, its results are damaged, or the page cannot be written.
    """
    folder = Path(run_folder)
    record = read_run(folder)
    page = Page(*_title(record.results))
    _add_headline(page, record)
    add_size(page, record.results)
    add_layers(page, record.results.tensors)
    add_passes(page, record.passes)
    add_training(page, record.epochs)
    _add_origin(page, record)
    return page.write(folder / "report.html" if out is None else out)


def _title(r: Results) -> tuple[str, str]:
    network = r.architecture or r.model or "A network"
    if r.bytes is None:
        return f"{network}, trained", f"on {r.dataset}" if r.dataset else ""
    recipe = f"with recipe `{r.recipe}`" if r.recipe else ""
    return f"{network}, compressed", recipe + (f", measured on {r.dataset}" if r.dataset else "")


def _add_headline(page: Page, record: RunRecord) -> None:
    r = record.results
    page.facts(_facts(r))
    if r.difference:
        page.text(verdict(r.difference))
    if record.file_bytes is not None and r.bytes is not None and record.file_bytes != r.bytes:
        page.text(
            f"**The file was changed after it was measured:** `model.pith` has {record.file_bytes:,} bytes "
            f"now, `results.json` says {r.bytes:,}. Run the compression again."
        )
    if r.before and r.after:
        named = {"float32": r.before, "compressed": r.after}
        page.table([{"network": name, **_accuracy_row(a)} for name, a in named.items()])


def _facts(r: Results) -> list[tuple[str, str, str]]:
    facts = []
    if r.bytes is not None:
        facts.append((f"{r.bytes:,} bytes", "File", "on disk, everything counted"))
    if r.bytes and r.float_bytes:
        facts.append((f"{r.float_bytes / r.bytes:.1f}x", "Smaller", f"than float32, {r.float_bytes:,} bytes"))
    after = r.after or r.test
    if after:
        before = f"{100 * r.before.accuracy:.2f} → " if r.before else ""
        facts.append((f"{before}{100 * after.accuracy:.2f} %", "Accuracy", _note(after, r.measured_on)))
    if r.difference:
        d = r.difference
        note = f"95 % interval {d.low:+.2f} to {d.high:+.2f}"
        facts.append((f"{d.points:+.2f} points", "Difference", note))
    return facts


def verdict(d: Difference) -> str:
    """The paired difference in words, no stronger than its interval allows."""
    if d.low > -1:
        said = "Less than one point is lost: the whole 95 % interval is above -1."
    elif d.points > -1:
        said = f"Less than one point is lost as measured, but the 95 % interval reaches {d.low:+.2f}."
    elif d.high > -1:
        said = f"A point or more is lost as measured; the 95 % interval reaches {d.high:+.2f}."
    else:
        said = "**More than one point is lost**: the whole 95 % interval is at or below -1."
    return f"{said} Both saw the same images: the interval is that of the paired difference (McNemar)."


def _add_origin(page: Page, record: RunRecord) -> None:
    r = record.results
    page.section("How to get it again")
    if r.command:
        page.code(r.command if isinstance(r.command, str) else shlex.join(r.command), "Command")
    if record.recipe:
        page.code(record.recipe.rstrip(), "Recipe; what it does not name has its default")
    facts = {
        "epochs": r.epochs if r.epochs is not None else len(record.epochs),
        "seed": r.seed,
        "seconds": None if r.seconds is None else f"{r.seconds:,.0f}",
        "data": r.dataset,
        **r.hardware,
    }
    page.table([{"what": name, "value": str(value)} for name, value in facts.items() if value is not None])
    if record.unreadable:
        page.text(f"Lines of `events.jsonl` left out because they are broken: {record.unreadable}.")


def _accuracy_row(a: Accuracy) -> dict[str, object]:
    interval = None if a.interval is None else [100 * bound for bound in a.interval]
    return {"accuracy (%)": 100 * a.accuracy, "95 % interval": interval, "images": a.n, "loss": a.loss}


def _note(a: Accuracy, measured_on: str) -> str:
    span = f", 95 % interval {100 * a.interval[0]:.2f} to {100 * a.interval[1]:.2f}" if a.interval else ""
    # A held-out count is in the words already.
    return f"on {measured_on}{span}" if measured_on[:1].isdigit() else f"on {a.n:,} {measured_on}{span}"
