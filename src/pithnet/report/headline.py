"""The top of a run's report: the conclusion, the few numbers it rests on, and their definitions."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from pithnet.report.bar_charts import Bar, BarChart, Part, bar_charts
from pithnet.report.page import Page
from pithnet.results.run_record import Accuracy, Difference, Results, RunRecord

_RATIOS = (
    "**bytes on disk**: float32 bytes of the state_dict / bytes of the file, all of them; **the source's "
    "formula**: 1 / (non-zeros / weights × mean code length / 32), as Deep Compression counts: no positions, "
    "codebooks, normalisation or header."
)


def title(r: Results) -> tuple[str, str]:
    """Returns the page's title and the line under it."""
    network = r.architecture or r.model or "A network"
    if r.bytes is None:
        return f"{network}, trained", f"on {r.dataset}" if r.dataset else ""
    recipe = f"with recipe `{r.recipe}`" if r.recipe else ""
    return f"{network}, compressed", recipe + (f", measured on {r.dataset}" if r.dataset else "")


def headline_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws `ratios`: the field's two ways to count how many times smaller, for results that have both."""
    r = record.results
    if not (r.float_bytes and r.bytes and r.formula_ratio):
        return {}
    return {"ratios": _ratio_chart(r.float_bytes / r.bytes, r.formula_ratio)}


def add_headline(page: Page, record: RunRecord, figures: Mapping[str, Figure]) -> None:
    """Adds the conclusion, then the numbers in large type, the accuracies as a table, and the two ratios."""
    r = record.results
    if conclusion(r):
        page.lead(conclusion(r))
    if record.file_bytes is not None and r.bytes is not None and record.file_bytes != r.bytes:
        page.text(
            f"**The file was changed after it was measured:** `model.pith` has {record.file_bytes:,} bytes "
            f"now, `results.json` says {r.bytes:,}. Run the compression again."
        )
    page.facts(_facts(r))
    if r.before and r.after:
        page.table(
            [_score_row("float32", r.before), _score_row("compressed", r.after)],
            caption=f"On {on(r.after, r.measured_on)}; each has its own 95 % interval.",
        )
    if "ratios" in figures:
        page.figure(figures["ratios"], _RATIOS, "The two ratios as bars")


def conclusion(r: Results) -> str:
    """Says what came out, in two or three sentences; no stronger than the interval allows."""
    said = []
    if r.bytes and r.float_bytes:
        said.append(
            f"**{r.float_bytes / r.bytes:.1f}x smaller:** {r.float_bytes:,} bytes of float32 became "
            f"{r.bytes:,} on disk."
        )
    if r.removed:
        full, small = r.removed.macs
        said.append(f"**{full / max(small, 1):.2f}x fewer multiply-accumulates**, {small:,} of {full:,}.")
    if r.before and r.after:
        before = r.before.shown(r.before.accuracy)
        said.append(f"{r.after.metric.capitalize()} went from {before} to {r.after.score}.")
    if r.difference:
        said.append(verdict(r.difference))
    if r.rivals and r.bytes:
        name, best = min(r.rivals.items(), key=lambda item: item[1].bytes)
        ours = best.bytes / r.bytes
        said.append(
            f"The best trivial way, {name}, takes {best.about}{best.bytes:,} bytes, "
            + (f"{best.about}{ours:.1f} times this file." if ours > 1 else "**no more than this file.**")
        )
    return " ".join(said)


def verdict(d: Difference) -> str:
    """Says the paired difference in words, no stronger than its interval allows."""
    low, high = d.shown(d.low), d.shown(d.high)
    if not d.share:
        zero = "holds" if d.low <= 0 <= d.high else "does not hold"
        return f"The 95 % interval of the paired difference, {d.span}, {zero} 0."
    if d.low > 0:
        return f"It is a gain of {d.metric}: the whole 95 % interval is above 0."
    if d.low > -1:
        return f"Less than one point of {d.metric} is lost: the whole 95 % interval is above -1."
    if d.points > -1:
        return f"Less than one point of {d.metric} is lost as measured, but the 95 % interval reaches {low}."
    if d.high > -1:
        return f"A point of {d.metric} or more is lost as measured; the 95 % interval reaches {high}."
    return f"**More than one point of {d.metric} is lost**: the whole 95 % interval is at or below -1."


def on(a: Accuracy, measured_on: str) -> str:
    """Says on what was measured, such as '10,000 test images'; a held-out count is in the words already."""
    if measured_on[:1].isdigit():
        return measured_on
    return f"{a.n:,} {measured_on if a.metric == 'accuracy' else measured_on.replace('images', 'samples')}"


def _facts(r: Results) -> list[tuple[str, str, str]]:
    facts = []
    if r.bytes is not None:
        facts.append((f"{r.bytes:,} bytes", "File", "on disk, everything counted"))
    if r.bytes and r.float_bytes:
        facts.append((f"{r.float_bytes / r.bytes:.1f}x", "Smaller", f"than float32, {r.float_bytes:,} bytes"))
    if r.removed:
        (macs, left), (numbers, kept) = r.removed.macs, r.removed.parameters
        note = f"of {macs:,}; {kept:,} of {numbers:,} parameters"
        facts.append((f"{left:,}", "Multiply-accumulates", note))
    if r.coverage is not None:
        facts.append((f"{100 * r.coverage:.1f} %", "Covered", "of the parameters: mask, codebook, quantizer"))
    after = r.after or r.test
    if after:
        before = f"{r.before.shown(r.before.accuracy)} → " if r.before else ""
        facts.append((f"{before}{after.score}", after.metric.capitalize(), _note(after, r.measured_on)))
    if r.difference:
        d = r.difference
        note = f"95 % interval {d.span}, paired: both saw the same {d.things}"
        facts.append((d.gain, "Difference", note))
    return facts


def _ratio_chart(real: float, formula: float) -> Figure:
    bars = [
        Bar("bytes on disk", (Part(real, 0),), f"{real:.2f}x"),
        Bar("the source's formula", (Part(formula, 6),), f"{formula:.2f}x"),
    ]
    title = "The field's two ratios: only the first is what a disk or a network sees"
    return bar_charts([BarChart(title, bars)])


def _score_row(network: str, a: Accuracy) -> dict[str, object]:
    scale = 100 if a.share else 1
    interval = None if a.interval is None else [scale * bound for bound in a.interval]
    name = f"{a.metric} (%)" if a.share else a.metric
    return {"network": network, name: scale * a.accuracy, "95 % interval": interval, "loss": a.loss}


def _note(a: Accuracy, measured_on: str) -> str:
    return f"on {on(a, measured_on)}" + (f", 95 % interval {a.span}" if a.interval else "")
