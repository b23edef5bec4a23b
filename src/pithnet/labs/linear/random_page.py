"""The part of `lab linear`'s page on random designs: recovery, bias, and the speed of the solvers."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.linear.answers import listed
from pithnet.labs.linear.curves import WITHIN
from pithnet.labs.linear.design import NONZEROS
from pithnet.labs.linear.texts import DESIGN, GROUPS
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.page import write_answers
from pithnet.labs.phrases import Answer
from pithnet.labs.pictures import Album
from pithnet.report import Page, write_csv
from pithnet.report.plots import lines
from pithnet.report.vector import describe

_COLUMNS = {
    "what": "method",
    "true_positives": "true positives",
    "false_positives": "false positives",
    "exact_supports": "exact supports",
    "l2_error": "error",
    "l2_error_sd": "± sd",
    "milliseconds": "ms",
}
_NAMES = {"lasso": "lasso", "trimmed": f"trimmed L1, k = {NONZEROS}", "mcp": "MCP"}
_SOLVERS = {"projected": "projected gradient", "trimmed": "trimmed L1"}
_TINY = 1e-12  # what lies below is rounding


def lead(book: Notebook) -> str:
    """The page in three sentences."""
    solved = dict.fromkeys(r["method"] for r in book.of("three") if r["to_sparse"] < _TINY)
    lasso, trimmed, mcp = (_first(book.of("random"), m) for m in ("lasso", "trimmed", "mcp"))
    return (
        "Of the infinitely many weights that fit three points, "
        f"{listed([_SOLVERS.get(name, name) for name in solved])} find the sparse ones. L1 finds where "
        "the zeros are, if it is followed by its proximal step and not by its subgradient, and shrinks the "
        f"rest. So it is with 400 weights too: over {lasso['designs']} random designs the error of L1 is "
        f"{lasso['l2_error'] / trimmed['l2_error']:.1f} times that of trimmed L1, and "
        f"{lasso['l2_error'] / mcp['l2_error']:.1f} times that of MCP."
    )


def _first(rows: Sequence[Row], method: str) -> Row:
    return next(r for r in rows if r["method"] == method)


def add_random_designs(book: Notebook, page: Page, said: Sequence[Answer]) -> None:
    """Sections 6 to 8."""
    album = Album(page, book.out)
    page.section("6. Which of 400 weights?")
    for paragraph in DESIGN:
        page.text(paragraph)
    _add_table(book, page, "random", "support-recovery")
    _add_bias(book, album)
    write_answers(page, said, "random")
    page.section("7. Groups")
    for paragraph in GROUPS:
        page.text(paragraph)
    _add_table(book, page, "random-grouped", "group-recovery")
    write_answers(page, said, "random-grouped")
    page.section("8. How fast?")
    _add_convergence(book, page)
    write_answers(page, said, "random-convergence")


def _add_table(book: Notebook, page: Page, item: str, name: str) -> None:
    rows = book.of(item)
    caption = (
        f"Means over {rows[0]['designs']} designs: of {NONZEROS} true weights how many are found, how many "
        "are false, in how many designs the support is right; error ||w - truth||; median processor time."
    )
    page.table([{title: row[key] for key, title in _COLUMNS.items()} for row in rows], caption=caption)
    dropped = ("item", "l2_errors", "weights", "loss")
    write_csv(book.out / f"{name}.csv", [{k: v for k, v in r.items() if k not in dropped} for r in rows])


def _add_bias(book: Notebook, album: Album) -> None:
    rows = book.of("random-path")
    truth = rows[0]["truth"]
    # By size, so that the eye compares the heights along the row.
    order = sorted(range(len(truth)), key=lambda i: abs(truth[i]))
    bars = {"truth": [truth[i] for i in order]}
    bars |= {_NAMES[r["method"]]: [r["on_the_support"][i] for i in order] for r in rows}
    names = [f"w{rows[0]['places'][i]}" for i in order]
    album.bars("bias", names, bars, "weight", "The true weights of the first design, and what is found at λ.")
    series = {_NAMES[r["method"]]: (r["strengths"], r["l2_errors"]) for r in rows}
    album.lines(
        "error-by-strength", series, "strength of the penalty", "||w - truth||", "Error against the strength."
    )
    album.page.text(
        "The curves are those of the first design, from the strength at which L1 keeps nothing (right) to "
        f"half of λ = {rows[0]['parameter']:.4f} (left), each point found from the one to its right. They "
        "are shown, not used: λ was fixed before."
    )


def _add_convergence(book: Notebook, page: Page) -> None:
    rows = book.of("random-convergence")
    table = [
        {
            "solver": r["method"],
            "stays in the band from step": r["steps_to_the_minimum"],
            "first step in the band": r["first_step_within"],
            "left after the last step": r["gap"],
            "exact zeros": r["exact_zeros"],
        }
        for r in rows
    ]
    write_csv(book.out / "convergence.csv", [{k: v for k, v in r.items() if k != "gaps"} for r in rows])
    caption = "The lasso's objective above its minimum (first design, λ)."
    curves = {r["method"]: [g if g > _TINY else None for g in r["gaps"]] for r in rows}
    steps = {n: ([i for i, g in enumerate(v) if g], [g for g in v if g]) for n, v in curves.items()}
    drawn = lines(steps, "", "step", "objective - minimum")
    for line, name in zip(drawn.axes[0].lines, steps, strict=True):
        line.set_marker("")
        describe(line, [name])
    drawn.axes[0].set_yscale("log")
    band = f"The band is the minimum plus {WITHIN:g} of the objective at w = 0."
    page.table(table, caption=f"Of {len(rows[0]['gaps']) - 1} steps. {band}")
    Album(page, book.out).put("convergence", drawn, caption)
