"""Every path of `lab linear` as curves against the step."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from pithnet.labs.linear.points import METHODS, STEPS, Walk, logarithms
from pithnet.labs.pictures import Album
from pithnet.report.figures import COLOURS, DASHES, axes, panels
from pithnet.report.vector import describe

_FAMILIES = tuple(dict.fromkeys(method.name for method in METHODS))
_CLOSE = 50  # steps


class PathFigures(Album):
    """What an album has, and the paths."""

    def losses(self, walks: Sequence[Walk], caption: str) -> None:
        """log L of all methods on one data set: a colour a method, a dash a parameter."""
        drawn, ax = axes("", "step", "log L", (8.6, 4.6))
        for walk in walks:
            colour, dash = _style(walk)
            shown = [float("nan") if v is None else v for v in logarithms(walk.path.losses)]
            (line,) = ax.plot(range(STEPS + 1), shown, color=colour, linestyle=dash, label=walk.method.what)
            describe(line, [walk.method.what])
        drawn.legend(loc="outside right upper", frameon=False, fontsize=9)
        self.put(f"log-loss-{walks[0].data}", drawn, caption)

    def weights(self, name: str, walks: Sequence[Walk], caption: str) -> None:
        """Every element of W, a panel a method; the panels share their axes."""
        drawn, all_axes = panels(len(walks), (4.3, 2.9), columns=2)
        low, high = (f(float(getattr(w.path.weights, f.__name__)()) for w in walks) for f in (min, max))
        for walk, ax in zip(walks, all_axes, strict=True):
            ax.set(title=walk.method.what, xlabel="step", ylabel="weight", ylim=(low - 0.2, high + 0.2))
            ax.locator_params(nbins=5)
            ax.label_outer()
            for i, values in enumerate(walk.path.weights.T.tolist()):
                _draw(ax, i, range(STEPS + 1), values)
        handles = all_axes[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
        self.put(f"weights-{walks[0].data}-{name}", drawn, caption)

    def close_up(self, walks: Sequence[Walk]) -> None:
        """The weights that belong at zero, in the last steps: subgradient and proximal, the largest λ."""
        last = {walk.method.name: walk for walk in walks}
        chosen = [last["subgradient"], last["proximal"]]
        steps = range(STEPS - _CLOSE, STEPS + 1)
        drawn, all_axes = panels(2, (4.3, 2.9), columns=2)
        for walk, ax in zip(chosen, all_axes, strict=True):
            ax.set(title=f"{walk.method.name}, λ = {walk.method.strength:g}", xlabel="step", ylabel="weight")
            ax.locator_params(nbins=5)
            for i in (0, 2, 3):
                _draw(ax, i, steps, walk.path.weights[steps.start :, i].tolist())
        all_axes[1].set_ylim(all_axes[0].get_ylim())
        handles = all_axes[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
        caption = f"The three weights that belong at zero, in the last {_CLOSE} steps, at the largest λ."
        self.put("close-up", drawn, caption)


def _draw(ax: Axes, i: int, steps: Sequence[int], values: Sequence[float]) -> None:
    (line,) = ax.plot(steps, values, color=COLOURS[i], label=f"w{i + 1}")
    describe(line, [f"w{i + 1}: {values[-1]:.4f} after the last step"])


def _style(walk: Walk) -> tuple[str, str]:
    family = [m for m in METHODS if m.name == walk.method.name]
    return COLOURS[_FAMILIES.index(walk.method.name)], DASHES[family.index(walk.method)]
