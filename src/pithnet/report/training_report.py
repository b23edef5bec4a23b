"""What the passes did and how the training went, from a run's events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pithnet.report.charts import Curve, curve_chart
from pithnet.report.page import Page
from pithnet.report.run_record import Epoch, Pass


def add_passes(page: Page, passes: Sequence[Pass]) -> None:
    """A row per pass: its layers, zeros and levels after it."""
    if not passes:
        return
    page.section("What was done")
    page.table([_pass_row(done) for done in passes])


def add_training(page: Page, epochs: Sequence[Epoch]) -> None:
    """Loss, and accuracy where there were labels, over all epochs of the run, a curve per step."""
    if not epochs:
        return
    page.section("Training")
    charts = [curve_chart(_curves(epochs, lambda e: e.loss), "Training loss", "epoch", "loss")]
    if any(e.accuracy is not None for e in epochs):
        curves = _curves(epochs, lambda e: None if e.accuracy is None else 100 * e.accuracy)
        charts.append(curve_chart(curves, "Accuracy on the training images", "epoch", "%"))
    page.row(charts, "Measured while training; the loss is the one trained on, a teacher's part included.")
    seconds, images = sum(e.seconds for e in epochs), sum(e.images for e in epochs)
    speed = f" in {seconds:,.0f} s, {images / seconds:,.0f} images/s" if seconds and images else ""
    page.text(f"{len(epochs)} epochs{speed}. The accuracies at the top are those after the last one.")


def _pass_row(done: Pass) -> dict[str, object]:
    size, zeros = sum(layer.size for layer in done.layers), sum(layer.zeros for layer in done.layers)
    return {
        "step": done.number + 1,
        "pass": done.what,
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


def _curves(epochs: Sequence[Epoch], value: Callable[[Epoch], float | None]) -> list[Curve]:
    """One curve per step, over the epochs of the whole run counted from 1."""
    points: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for position, epoch in enumerate(epochs, 1):
        y = value(epoch)
        if y is not None:
            points.setdefault((epoch.number, epoch.step), []).append((position, y))
    return [Curve(f"{number + 1}. {step}", tuple(p)) for (number, step), p in points.items()]
