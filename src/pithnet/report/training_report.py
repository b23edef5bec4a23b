"""How the run went: what the passes did, when, and the curves of the training, from its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from matplotlib.figure import Figure

from pithnet.report.page import Page
from pithnet.report.time_charts import Chart, Curve, Moment, Span, curve_charts, timeline
from pithnet.results.event_log import Epoch, EventLog, Pass
from pithnet.results.run_record import RunRecord

# Title, what is on the y axis, and where an epoch has it.
CURVES: tuple[tuple[str, str, Callable[[Epoch], float | None]], ...] = (
    ("Training loss", "loss", lambda e: e.loss),
    ("Accuracy on the training images", "%", lambda e: None if e.accuracy is None else 100 * e.accuracy),
    ("Learning rate", "rate", lambda e: e.lr),
    ("Zeros among the weights", "%", lambda e: None if e.sparsity is None else 100 * e.sparsity),
)


def training_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws `timeline`, how long each step took, and `training`, curves over the epochs, if there are any."""
    log = record.log
    drawn = {"timeline": _timeline(log)} if any(e.seconds for e in log.epochs) else {}
    charts = [Chart(title, unit, curves(log.epochs, value)) for title, unit, value in CURVES]
    charts = [chart for chart in charts if chart.curves]
    return {**drawn, "training": curve_charts(charts, "epoch")} if charts else drawn


def add_training(page: Page, log: EventLog, figures: Mapping[str, Figure]) -> None:
    """Adds a timeline, a row for each training and pass, and curves over all epochs."""
    if not log.epochs and not log.passes:
        return
    page.section("What was done")
    if "timeline" in figures:
        page.figure(figures["timeline"], title="Training time by step")
    page.table(_rows(log))
    for remark in log.remarks:
        page.text(f"Remark: {remark}.")
    if not log.epochs:
        return
    page.figure(
        figures["training"],
        "Measured while training, a point per epoch of the whole run; the loss is the one trained on, a "
        "teacher's part included.",
        "Loss, accuracy, learning rate and zeros over the epochs",
    )
    seconds, images = sum(e.seconds for e in log.epochs), sum(e.images for e in log.epochs)
    speed = f" in {seconds:,.0f} s, {images / seconds:,.0f} images/s" if seconds and images else ""
    page.text(f"{len(log.epochs)} epochs{speed}. The accuracies at the top are those after the last one.")


def curves(epochs: Sequence[Epoch], value: Callable[[Epoch], float | None]) -> list[Curve]:
    """Returns a curve for each step, over the epochs of the whole run from 1; none where no epoch has it."""
    points: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for position, epoch in enumerate(epochs, 1):
        y = value(epoch)
        if y is not None:
            points.setdefault((epoch.number, epoch.step), []).append((position, y))
    return [Curve(f"{number + 1}. {step}", tuple(p)) for (number, step), p in points.items()]


def _steps(epochs: Sequence[Epoch]) -> list[tuple[int, str, list[Epoch]]]:
    grouped = groupby(epochs, key=lambda e: (e.number, e.step))
    return [(number, step, list(some)) for (number, step), some in grouped]


def _timeline(log: EventLog) -> Figure:
    spans = []
    for number, step, some in _steps(log.epochs):
        seconds = sum(e.seconds for e in some)
        name = f"{number + 1}. {step}"
        spans.append(Span(name, seconds, f"{name}: {_epochs(len(some))}, {seconds:,.0f} s"))
    moments = [
        Moment(sum(e.seconds for e in log.epochs[: done.epochs_before]), f"{done.what}: {_zeros(done)}")
        for done in log.passes
    ]
    title = "Training time by step; marks are passes" if moments else "Training time by step"
    return timeline(spans, moments, title)


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"


def _zeros(done: Pass) -> str:
    size, zeros = sum(layer.size for layer in done.layers), sum(layer.zeros for layer in done.layers)
    return f"{100 * zeros / size:.1f} % zeros" if size else "no layers"


def _rows(log: EventLog) -> list[dict[str, object]]:
    """Trainings and passes in the order they ended."""
    rows, done = [], 0
    passes = list(log.passes)
    for number, step, some in _steps(log.epochs):
        while passes and passes[0].epochs_before <= done:
            rows.append(_pass_row(passes.pop(0)))
        rows.append(_training_row(number, step, some))
        done += len(some)
    return rows + [_pass_row(p) for p in passes]


def _training_row(number: int, step: str, some: Sequence[Epoch]) -> dict[str, object]:
    return {
        "step": number + 1,
        "what": "train" if step == "train" else f"train: {step}",
        "epochs": len(some),
        "seconds": round(sum(e.seconds for e in some)) or None,
        "first loss": some[0].loss,
        "last loss": some[-1].loss,
    }


def _pass_row(done: Pass) -> dict[str, object]:
    size, zeros = sum(layer.size for layer in done.layers), sum(layer.zeros for layer in done.layers)
    return {
        "step": done.number + 1,
        "what": done.what,
        "layers": len(done.layers),
        "weights": size,
        "zeros": zeros,
        "zeros (%)": 100 * zeros / size if size else None,
        "levels per layer": _range([layer.levels for layer in done.layers if layer.levels is not None]),
    }


def _range(levels: Sequence[int]) -> int | str | None:
    if len(set(levels)) < 2:
        return levels[0] if levels else None
    return f"{min(levels)} to {max(levels)}"
