"""Every path of `lab linear` as curves against the step: a PNG and an interactive figure each."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pithnet.labs.linear_points import METHODS, STEPS, Walk, logarithms
from pithnet.labs.pictures import Album
from pithnet.report.figures import COLOURS, DASHES, axes, panels

_FAMILIES = tuple(dict.fromkeys(method.name for method in METHODS))
# (PNG, interactive): of the parameters of a method, smallest first.
_CLOSE = 50  # steps
_TOP, _PANEL, _BOTTOM = 40, 185, 90  # pixels


class PathFigures(Album):
    """What an album has, and the paths."""

    def losses(self, walks: Sequence[Walk], caption: str) -> None:
        """log L of all methods on one data set: a colour a method, a dash a parameter."""
        data = walks[0].data
        drawn, ax = axes("", "step", "log L", (8.6, 4.6))
        interactive = go.Figure()
        for walk in walks:
            colour, dash = _style(walk)
            values = logarithms(walk.path.losses)
            shown = [float("nan") if v is None else v for v in values]
            ax.plot(range(STEPS + 1), shown, color=colour, linestyle=dash[0], label=walk.method.what)
            line = {"color": colour, "dash": dash[1], "width": 2}
            interactive.add_scatter(y=_short(values), mode="lines", name=walk.method.what, line=line)
        drawn.legend(loc="outside right upper", frameon=False, fontsize=9)
        interactive.update_layout(xaxis_title="step", yaxis_title="log L", height=600)
        self._put(f"log-loss-{data}", drawn, interactive, caption)

    def weights(self, name: str, walks: Sequence[Walk], caption: str) -> None:
        """Every element of W, a panel a method; the panels share their axes."""
        data, count = walks[0].data, len(walks)
        drawn, all_axes = panels(count, (4.3, 2.9), columns=2)
        interactive = make_subplots(
            count,
            1,
            shared_xaxes=True,
            shared_yaxes="all",
            vertical_spacing=0.34 / count / 2,
            subplot_titles=[walk.method.what for walk in walks],
        )
        low, high = (f(float(getattr(w.path.weights, f.__name__)()) for w in walks) for f in (min, max))
        for row, (walk, ax) in enumerate(zip(walks, all_axes, strict=True), 1):
            ax.set(title=walk.method.what, xlabel="step", ylim=(low - 0.2, high + 0.2))
            ax.locator_params(nbins=5)
            ax.label_outer()
            for i, values in enumerate(walk.path.weights.T.tolist()):
                ax.plot(values, color=COLOURS[i], label=f"w{i + 1}")
                interactive.add_trace(_trace(i, values, row == 1), row, 1)
        drawn.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        interactive.update_layout(height=_TOP + _PANEL * count + _BOTTOM)
        interactive.update_xaxes(title_text="step", row=count, col=1)
        self._put(f"weights-{data}-{name}", drawn, interactive, caption)

    def close_up(self, walks: Sequence[Walk]) -> None:
        """The weights that belong at zero, in the last steps: subgradient and proximal, the largest λ."""
        last = {walk.method.name: walk for walk in walks}
        chosen = [last["subgradient"], last["proximal"]]
        steps = range(STEPS - _CLOSE, STEPS + 1)
        drawn, all_axes = panels(2, (4.3, 2.9), columns=2)
        titles = [f"{walk.method.name}, λ = {walk.method.strength:g}" for walk in chosen]
        interactive = make_subplots(2, 1, shared_xaxes=True, shared_yaxes="all", subplot_titles=titles)
        for row, (walk, ax) in enumerate(zip(chosen, all_axes, strict=True), 1):
            ax.set(title=titles[row - 1], xlabel="step")
            ax.locator_params(nbins=5)
            for i in (0, 2, 3):
                values = walk.path.weights[steps.start :, i].tolist()
                ax.plot(steps, values, color=COLOURS[i], label=f"w{i + 1}")
                trace = _trace(i, values, row == 1)
                trace.x0 = steps.start
                interactive.add_trace(trace, row, 1)
        all_axes[1].set_ylim(all_axes[0].get_ylim())
        drawn.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        interactive.update_layout(height=_TOP + 2 * _PANEL + _BOTTOM)
        interactive.update_xaxes(title_text="step", row=2, col=1)
        caption = f"The three weights that belong at zero, in the last {_CLOSE} steps, at the largest λ."
        self._put("close-up", drawn, interactive, caption)


def _trace(i: int, values: Sequence[float], shown: bool) -> go.Scatter:
    """One weight in one panel; a click in the legend hides it in all panels."""
    name, line = f"w{i + 1}", {"color": COLOURS[i], "width": 2}
    return go.Scatter(
        y=_short(values), mode="lines", name=name, legendgroup=name, showlegend=shown, line=line
    )


def _style(walk: Walk) -> tuple[str, tuple[str, str]]:
    family = [m for m in METHODS if m.name == walk.method.name]
    return COLOURS[_FAMILIES.index(walk.method.name)], DASHES[family.index(walk.method)]


def _short(values: Sequence[float | None]) -> list[float | None]:
    """As many digits as a screen can show: the page stays small."""
    return [None if v is None else float(f"{v:.5g}") for v in values]
