"""The figures of `lab linear`: every path against the step, the bias of L1, and the speed of the solvers.

Paths are followed again, for they are too long for rows; the rest is drawn from rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pithnet.labs.linear.design import NONZEROS
from pithnet.labs.linear.points import METHODS, STEPS, Walk, logarithms, walks
from pithnet.labs.notebook import Notebook
from pithnet.report.figures import COLOURS, DASHES, axes, panels
from pithnet.report.plots import grouped_bars, lines
from pithnet.report.vector import describe

_FAMILIES = tuple(dict.fromkeys(method.name for method in METHODS))
_NAMES = {"lasso": "lasso", "trimmed": f"trimmed L1, k = {NONZEROS}", "mcp": "MCP"}
_CLOSE = 50  # steps of the close-up
_TINY = 1e-12  # what lies below is rounding


def losses(data: str, _: Notebook) -> Figure:
    """Draws log L of all methods on one data set: a colour for each method, a dash for each parameter."""
    drawn, ax = axes("", "step", "log L", (8.6, 4.6))
    for walk in walks(data):
        family = [m for m in METHODS if m.name == walk.method.name]
        colour, dash = COLOURS[_FAMILIES.index(walk.method.name)], DASHES[family.index(walk.method)]
        shown = [float("nan") if v is None else v for v in logarithms(walk.path.losses)]
        (line,) = ax.plot(range(STEPS + 1), shown, color=colour, linestyle=dash, label=walk.method.what)
        describe(line, [walk.method.what])
    drawn.legend(loc="outside right upper", frameon=False, fontsize=9)
    return drawn


def weights(data: str, methods: Sequence[str], _: Notebook) -> Figure:
    """Draws every element of W, a panel for each run of the methods; the panels share their axes."""
    chosen = [walk for walk in walks(data) if walk.method.name in methods]
    drawn, all_axes = panels(len(chosen), (4.3, 2.9), columns=2)
    low, high = (f(float(getattr(w.path.weights, f.__name__)()) for w in chosen) for f in (min, max))
    for walk, ax in zip(chosen, all_axes, strict=True):
        ax.set(title=walk.method.what, xlabel="step", ylabel="weight", ylim=(low - 0.2, high + 0.2))
        _draw(ax, walk, range(5), range(STEPS + 1))
        ax.label_outer()
    drawn.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return drawn


def close_up(_: Notebook) -> Figure:
    """Draws the weights that belong at zero, in the last steps: subgradient and proximal, the largest λ."""
    last = {walk.method.name: walk for walk in walks("three")}
    drawn, all_axes = panels(2, (4.3, 2.9), columns=2)
    for name, ax in zip(("subgradient", "proximal"), all_axes, strict=True):
        ax.set(title=f"{name}, λ = {last[name].method.strength:g}", xlabel="step", ylabel="weight")
        _draw(ax, last[name], (0, 2, 3), range(STEPS - _CLOSE, STEPS + 1))
    all_axes[1].set_ylim(all_axes[0].get_ylim())
    drawn.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return drawn


def _draw(ax: Axes, walk: Walk, elements: Sequence[int], steps: range) -> None:
    """Some weights of a path over a range of steps."""
    ax.locator_params(nbins=5)
    for i in elements:
        values = walk.path.weights[steps.start :, i].tolist()
        (line,) = ax.plot(steps, values, color=COLOURS[i], label=f"w{i + 1}")
        describe(line, [f"w{i + 1}: {values[-1]:.4f} after the last step"])


def bias(book: Notebook) -> Figure:
    """Draws the true weights of the first design and what each penalty finds, ordered by their size."""
    rows = book.of("random-path")
    truth = rows[0]["truth"]
    order = sorted(range(len(truth)), key=lambda i: abs(truth[i]))
    found = {"truth": truth} | {_NAMES[r["method"]]: r["on_the_support"] for r in rows}
    names = [f"w{rows[0]['places'][i]}" for i in order]
    return grouped_bars(names, {name: [v[i] for i in order] for name, v in found.items()}, "", "weight")


def error_by_strength(book: Notebook) -> Figure:
    """Draws ||w - truth|| against the strength, a line for each penalty."""
    series = {_NAMES[r["method"]]: (r["strengths"], r["l2_errors"]) for r in book.of("random-path")}
    return lines(series, "", "strength of the penalty", "||w - truth||")


def convergence(book: Notebook) -> Figure:
    """Draws the lasso's objective above its minimum, a line for each solver, without what is rounding."""
    gaps = {r["method"]: r["gaps"] for r in book.of("random-convergence")}
    above = {name: [(i, g) for i, g in enumerate(values) if g > _TINY] for name, values in gaps.items()}
    series = {name: ([i for i, _ in pairs], [g for _, g in pairs]) for name, pairs in above.items()}
    drawn = lines(series, "", "step", "objective - minimum")
    for line, name in zip(drawn.axes[0].lines, series, strict=True):
        line.set_marker("")
        describe(line, [name])
    drawn.axes[0].set_yscale("log")
    return drawn
