"""`lab linear`: sparse optimisation of a linear model, from three data points to a random design.

Three points and five weights by several methods; then 100 x 400 random designs: who finds the 10 weights that
are not zero, what the penalty does to their values, and how fast the solvers are. All is in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pithnet.commands.threads import one_thread
from pithnet.labs.experiment import Draw, Experiment, Item, Table, named
from pithnet.labs.linear import design, figures
from pithnet.labs.linear.curves import PENALTIES, SOLVERS, Curves
from pithnet.labs.linear.design import Design
from pithnet.labs.linear.numbers import numbers
from pithnet.labs.linear.points import DATA, EARLY, MU, STEPS, walks
from pithnet.labs.linear.recovery import entrants, recovery
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.start import open_book
from pithnet.labs.writing import write_page
from pithnet.report import write_csv
from pithnet.run.progress import Quiet

TAKES = ()
_DEFAULT = LabOptions()
DESIGNS, QUICK_DESIGNS = 20, 4
_PANELS = ("gradient", "projected"), ("subgradient",), ("proximal",), ("trimmed",)
_SHOWN_STEPS = (1, 5, 10, EARLY)


@dataclass(frozen=True, eq=False)
class LinearLab:
    """The lab's notebook, and the seeds of the random designs."""

    book: Notebook
    seeds: tuple[int, ...]


def _follow(data: str, lab: LinearLab) -> None:
    """A row for each method on one of the small data sets."""
    mirrored = walks("three") if data == "three-negated" else [None] * len(walks(data))
    for walk, other in zip(walks(data), mirrored, strict=True):
        lab.book.row(data, walk.method.what, partial(walk.row, other))


def _recover(data: str, lab: LinearLab) -> None:
    """A row for each method over all random designs."""
    grouped = data == "random-grouped"
    drawn = [Design.draw(seed, grouped) for seed in lab.seeds]
    for entrant in entrants(grouped):
        lab.book.row(data, entrant.what, partial(recovery, entrant, drawn, data))


def _trace(item: str, lab: LinearLab) -> None:
    """A row for each penalty or solver, with its curve over the first design."""
    curves = Curves(Design.draw(lab.seeds[0]))
    measure: Callable[[str], Row] = curves.along if item == "random-path" else curves.convergence
    for method in PENALTIES if item == "random-path" else SOLVERS:
        lab.book.row(item, method, partial(measure, method))


def _points_item(data: str, title: str) -> Item[LinearLab]:
    drawn: dict[str, Draw] = {f"log-loss-{data}": partial(figures.losses, data)}
    for methods in _PANELS:
        name = "plain" if "gradient" in methods else methods[0]
        drawn[f"weights-{data}-{name}"] = partial(figures.weights, data, methods)
    tables = {data: Table(_POINTS, rows=partial(_with_weights, data), file=data)}
    if data == "three":
        drawn["close-up"] = figures.close_up
        tables["three-early"] = Table(_EARLY, rows=_early, file="three-early")
    return Item(data, title, partial(_follow, data), tables, drawn)


def _without_lists(data: str, book: Notebook) -> list[Row]:
    return [{key: v for key, v in row.items() if not isinstance(v, list)} for row in book.of(data)]


def _with_weights(data: str, book: Notebook) -> list[Row]:
    """Rows with a column a weight, and the support and the threshold as they are shown."""
    return [
        short
        | {f"w{i}": w or 0 for i, w in enumerate(row["weights"], 1)}
        | {"support": " ".join(map(str, row["support"])), "off_by": round(row["to_sparse"], 4)}
        | {"threshold": None if row["method"] == "subgradient" else row["parameter"]}
        for row, short in zip(book.of(data), _without_lists(data, book), strict=True)
    ]


def _early(book: Notebook) -> list[Row]:
    """Zeros and L in the first steps, of projection and of trimmed L1."""
    return [
        {key: row[key] for key in ("method", "parameter", "support_settled_at")}
        | {f"zeros_{step}": row["early_zeros"][step] for step in _SHOWN_STEPS}
        | {f"loss_{step}": row["early_losses"][step] for step in _SHOWN_STEPS}
        for row in book.of("three")
        if row["method"] in ("projected", "trimmed")
    ]


_POINTS = {"method": "method", "lambda": "λ", "threshold": "threshold"}
_POINTS |= {f"w{i}": f"w{i}" for i in range(1, 6)}
_POINTS |= {"log_loss": "log L", "off_by": "off by", "exact_zeros": "zeros", "support": "support"}
_POINTS |= {"support_settled_at": "settled at step"}
_EARLY = {"method": "method", "parameter": "threshold"}
_EARLY |= {f"zeros_{step}": f"zeros, step {step}" for step in _SHOWN_STEPS}
_EARLY |= {f"loss_{step}": f"L, step {step}" for step in _SHOWN_STEPS}
_EARLY |= {"support_settled_at": "settled at step"}
_RECOVERY = {"what": "method", "true_positives": "true positives", "false_positives": "false positives"}
_RECOVERY |= {"exact_supports": "exact supports", "l2_error": "error", "l2_error_sd": "± sd"}
_RECOVERY |= {"milliseconds": "ms"}
_CONVERGENCE = {"method": "solver", "steps_to_the_minimum": "stays in the band from step"}
_CONVERGENCE |= {"first_step_within": "first step in the band", "gap": "left after the last step"}
_CONVERGENCE |= {"exact_zeros": "exact zeros"}


def _table(columns: dict[str, str], item: str, file: str) -> dict[str, Table]:
    return {item: Table(columns, rows=partial(_without_lists, item), file=file)}


_FOUND = _table(_RECOVERY, "random", "support-recovery")
_FOUND_GROUPS = _table(_RECOVERY, "random-grouped", "group-recovery")
_SPEED = _table(_CONVERGENCE, "random-convergence", "convergence")
_SPEEDS = named(figures.convergence)
_BIAS = named(figures.bias, figures.error_by_strength)

EXPERIMENT: Experiment[LinearLab] = Experiment(
    "linear",
    "Sparse optimisation of a linear model",
    "pithnet.labs.linear",
    (
        _points_item("three", "Three points"),
        _points_item("three-negated", "Three points with y negated"),
        _points_item("two", "Two points"),
        Item("random", "Which of 400 weights?", partial(_recover, "random"), _FOUND),
        Item("random-grouped", "Groups", partial(_recover, "random-grouped"), _FOUND_GROUPS),
        Item("random-path", "The bias", partial(_trace, "random-path"), figures=_BIAS),
        Item("random-convergence", "How fast?", partial(_trace, "random-convergence"), _SPEED, _SPEEDS),
    ),
    numbers,
)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures everything and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    The lab makes its data: a note says so where other data, or weights, are asked for. With `quick` it draws
    4 random designs instead of 20; `seed` is the first one's, and the others follow.

    Raises:
        PithError: `out` cannot be written or holds another lab, or the lab does not take an option.
    """
    options.check("linear", TAKES)
    designs = QUICK_DESIGNS if options.quick else DESIGNS
    seeds = tuple(range(options.seed, options.seed + designs))
    facts = {"settings": _settings(), "seeds": list(seeds), "epochs": {"steps": STEPS}}
    book = open_book("linear", out, options, None, facts, progress)
    with book:
        with one_thread():
            EXPERIMENT.measure(LinearLab(book, seeds), [item.number for item in EXPERIMENT.items])
        write_page(EXPERIMENT, book)
        write_csv(out / "paths.csv", [row for data in DATA for walk in walks(data) for row in walk.steps()])
    return book.results


def _settings() -> Row:
    return {
        "learning_rate": MU,
        "steps": STEPS,
        "design": {"points": design.POINTS, "weights": design.WEIGHTS, "nonzeros": design.NONZEROS},
        "noise": design.NOISE,
        "lambda": design.universal_strength(),
        "lambda_of_groups": design.group_strength(),
    }
