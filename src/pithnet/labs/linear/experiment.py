"""`lab linear`: sparse optimisation of a linear model, from three data points to a random design.

Three points and five weights, by gradient, projection, subgradient, proximal step and trimmed L1; the same
with y negated, and with two points. Then 100 x 400 random designs: who finds the 10 weights that are not
zero, what the penalty does to their values, and how fast the solvers are. All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pithnet.commands.threads import one_thread
from pithnet.labs.linear import design
from pithnet.labs.linear.curves import PENALTIES, Curves
from pithnet.labs.linear.design import Design
from pithnet.labs.linear.page import write_results
from pithnet.labs.linear.points import DATA, METHODS, MU, STEPS, Walk
from pithnet.labs.linear.recovery import entrants, recovery
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.start import command
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet

TAKES = ()
_DEFAULT = LabOptions()
DESIGNS, QUICK_DESIGNS = 20, 4
_CONVERGENCE = ("subgradient", "ista", "fista", "admm")


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures everything and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    It makes its data: a note says so where other data, or weights, are asked for. quick: 4 random designs
    instead of 20. seed: of the first; the others follow. `progress` as `pithnet.labs.pruning.experiment.run`.

    Raises PithError for an `out` that cannot be written or holds another lab, and as `LabOptions`.
    """
    options.check("linear", TAKES)
    designs = QUICK_DESIGNS if options.quick else DESIGNS
    seeds = list(range(options.seed, options.seed + designs))
    book = Notebook(out, _facts(out, options, seeds), resume=options.resume, progress=progress)
    if (options.data, options.data_root, options.weights) != (None, None, None):
        book.progress.note("lab linear makes its own data; --data, --data-root and --weights are not used")
    with one_thread():
        walks = three_points(book)
        random_designs(book, seeds)
    write_results(book, walks)
    return book.path


def _facts(out: Path, options: LabOptions, seeds: Sequence[int]) -> Row:
    used = LabOptions(quick=options.quick, seed=options.seed)
    settings = {
        "learning_rate": MU,
        "steps": STEPS,
        "design": {"points": design.POINTS, "weights": design.WEIGHTS, "nonzeros": design.NONZEROS},
        "noise": design.NOISE,
        "lambda": design.universal_strength(),
        "lambda_of_groups": design.group_strength(),
    }
    return {
        "lab": "linear",
        "quick": options.quick,
        "settings": settings,
        "seeds": list(seeds),
        "epochs": {"steps": STEPS},
        "hardware": hardware(),
        "command": command("linear", out, used),
    }


def three_points(book: Notebook) -> dict[str, list[Walk]]:
    """A row for each method on each data set; the paths, for the figures."""
    walks = {data: [Walk.take(data, method) for method in METHODS] for data in DATA}
    for data, taken in walks.items():
        for i, walk in enumerate(taken):
            mirrored = walks["three"][i] if data == "three-negated" else None
            book.row(data, walk.method.what, partial(_walk_row, walk, mirrored))
    return walks


def _walk_row(walk: Walk, mirrored: Walk | None) -> Row:
    row = walk.row()
    if mirrored is not None:
        row["mirror_gap"] = float((walk.path.weights + mirrored.path.weights).abs().max())
    return row


def random_designs(book: Notebook, seeds: Sequence[int]) -> None:
    """Rows of the recovery tables, and of the curves over the first design."""
    for data, grouped in (("random", False), ("random-grouped", True)):
        drawn = [Design.draw(seed, grouped) for seed in seeds]
        for entrant in entrants(grouped):
            book.row(data, entrant.what, partial(recovery, entrant, drawn, data))
    curves = Curves(Design.draw(seeds[0]))
    kinds: tuple[tuple[str, Callable[[str], Row], Sequence[str]], ...] = (
        ("random-path", curves.along, tuple(PENALTIES)),
        ("random-convergence", curves.convergence, _CONVERGENCE),
    )
    for item, measure, methods in kinds:
        for method in methods:
            book.row(item, method, partial(measure, method))
