"""What `lab linear` shows: CSV tables, PNGs, and a page that explains the problem and the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pithnet.labs.linear import answers as linear_answers
from pithnet.labs.linear import recovery_answers as linear_recovery_answers
from pithnet.labs.linear import texts
from pithnet.labs.linear.answers import listed, of_method
from pithnet.labs.linear.figures import PathFigures
from pithnet.labs.linear.points import EARLY, MU, STEPS, Walk, points
from pithnet.labs.linear.random_page import add_random_designs, lead
from pithnet.labs.notebook import Notebook, Row, flat
from pithnet.labs.page import write_answers
from pithnet.labs.phrases import Answer
from pithnet.report import Page, write_csv

_PANELS = {
    "plain": ("gradient", "projected"),
    "subgradient": ("subgradient",),
    "proximal": ("proximal",),
    "trimmed": ("trimmed",),
}


def write_results(book: Notebook, walks: Mapping[str, Sequence[Walk]]) -> None:
    """Writes tables, plots and index.html beside results.json."""
    f = book.facts
    page = Page(
        "Sparse optimisation of a linear model",
        f"Five weights and three points, then 400 weights and 100 points; {len(f['seeds'])} random designs"
        + (", quick settings" if f["quick"] else ""),
    )
    said = [*linear_answers.answers(book), *linear_recovery_answers.answers(book)]
    page.lead(lead(book))
    _explain(page)
    page.section("4. Three points")
    _add_points(book, page, walks["three"], said)
    page.section("5. Two points")
    _add_points(book, page, walks["two"], said)
    add_random_designs(book, page, said)
    page.section("9. Three points with y negated")
    _add_points(book, page, walks["three-negated"], said)
    _add_facts(book, page)
    write_csv(book.out / "paths.csv", [row for taken in walks.values() for w in taken for row in w.steps()])
    page.write(book.out / "index.html")


def _explain(page: Page) -> None:
    page.section("1. The problem")
    page.text(texts.PROBLEM)
    page.code(texts.MATRICES)
    page.text(texts.QUESTION)
    page.section("2. The gradient step")
    page.text(texts.DERIVATION)
    page.code(texts.STEP)
    limit = 2 / points("three").lipschitz
    page.text(f"It converges for any μ below 1 / ||X||² = {limit:.4f}; here μ = {MU:g}.")
    page.section("3. Five methods")
    page.text(f"All start at W = 0 and take {STEPS} steps. G is W after the gradient step.")
    page.table(texts.METHODS)


def _add_points(book: Notebook, page: Page, walks: Sequence[Walk], said: Sequence[Answer]) -> None:
    """Table and loss, the answers to them; every weight, and on three points what the paths tell."""
    data = walks[0].data
    rows = book.of(data)
    write_csv(book.out / f"{data}.csv", [_flat(row) for row in rows])
    page.table(
        [_shown(row) for row in rows],
        caption=f"After step {STEPS}. Zeros are exact. Off by: the distance to the nearest exact solution "
        "with at most two non-zeros. The support, which weights are not zero, counts from 1.",
    )
    figures = PathFigures(page, book.out)
    figures.losses(walks, "log L (natural) against the step.")
    write_answers(page, said, data)
    for name, methods in _PANELS.items():
        chosen = [w for w in walks if w.method.name in methods]
        figures.weights(name, chosen, f"Every element of W against the step: {listed(methods)}.")
    if data == "three":
        figures.close_up(walks)
        write_answers(page, said, "three-paths")
        table = _early_table(rows)
        write_csv(book.out / "three-early.csv", table)
        page.table(table, caption="The first steps.")
        write_answers(page, said, "three-early")


def _early_table(rows: Sequence[Row]) -> list[Row]:
    """Zeros and L in the first steps, of projection and of trimmed L1."""
    chosen = [*of_method(rows, "projected"), *of_method(rows, "trimmed")]
    return [
        {
            "method": r["method"],
            "threshold": r["parameter"],
            **{f"zeros, step {step}": r["early_zeros"][step] for step in (1, 5, 10, EARLY)},
            **{f"L, step {step}": r["early_losses"][step] for step in (1, 5, 10, EARLY)},
            "settled at step": r["support_settled_at"],
        }
        for r in chosen
    ]


def _shown(row: Row) -> Row:
    weights = {f"w{i}": 0 if w == 0 else w for i, w in enumerate(row["weights"], 1)}
    return {
        "method": row["method"],
        "λ": row["lambda"],
        "threshold": None if row["method"] == "subgradient" else row["parameter"],
        **weights,
        "log L": row["log_loss"],
        "off by": float(f"{row['to_sparse']:.4f}"),
        "zeros": row["exact_zeros"],
        "support": " ".join(map(str, row["support"])),
        "settled at step": row["support_settled_at"],
    }


def _flat(row: Row) -> Row:
    weights = {f"w{i}": w for i, w in enumerate(row["weights"], 1)}
    early = ("weights", "early_zeros", "early_losses", "item", "what")
    return {**{k: v for k, v in row.items() if k not in early}, **weights}


def _add_facts(book: Notebook, page: Page) -> None:
    page.section("10. Settings")
    f = book.facts
    for what in ("settings", "hardware"):
        table = [
            {what: k, "value": f"{v:g}" if isinstance(v, float) else v} for k, v in flat(f[what]).items()
        ]
        page.table(table)
    page.text(
        f"Measured by `{f['command']}`; random designs with the seeds {f['seeds'][0]} to {f['seeds'][-1]}. "
        "All numbers are in `results.json`, every step of every path in `paths.csv`."
    )
