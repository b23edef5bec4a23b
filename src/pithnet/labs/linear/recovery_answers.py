"""The questions of `lab linear` about random designs, answered by its rows; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.linear.answers import listed, of_method
from pithnet.labs.linear.curves import WITHIN
from pithnet.labs.linear.design import NONZEROS, universal_strength
from pithnet.labs.linear.recovery import FEWER, HINDSIGHT, HOYER_STEPS, MORE
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import Answer


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page."""
    rows = book.of("random")
    groups, speed = book.of("random-grouped"), book.of("random-convergence")
    return [
        Answer("random", "Who finds the weights, and how well?", _recovery(rows)),
        Answer("random", "Is the lasso treated fairly?", _fairness(rows)),
        Answer("random", "What if k is wrong?", _wrong_k(rows)),
        Answer("random", "Why does hard thresholding fail?", _hard(rows)),
        Answer("random", "Does Hoyer-square reach zeros?", _hoyer(rows)),
        Answer("random-grouped", "What does knowing the groups bring?", _groups(groups)),
        Answer("random-convergence", "Which solver is fastest?", _speed(speed)),
    ]


def _the(rows: Sequence[Row], method: str, parameter: float | None = None) -> Row:
    return next(r for r in of_method(rows, method) if parameter is None or r["parameter"] == parameter)


def _lassos(rows: Sequence[Row]) -> tuple[Row, Row]:
    first, second = of_method(rows, "lasso")
    return first, second


def ratio(worse: Row, better: Row) -> str:
    """'4.0 times (in every design at least 2.5)': of the mean errors, and the least of the designs'."""
    least = min(a / b for a, b in zip(worse["l2_errors"], better["l2_errors"], strict=True))
    return f"{worse['l2_error'] / better['l2_error']:.1f} times (in every design at least {least:.1f})"


def _error(row: Row) -> str:
    sd = "" if row["l2_error_sd"] is None else f" ± {row['l2_error_sd']:.3f}"
    return f"{row['l2_error']:.3f}{sd}"


def _recovery(rows: Sequence[Row]) -> str:
    one, two = _lassos(rows)
    trimmed, mcp, oracle = _the(rows, "trimmed", NONZEROS), _the(rows, "mcp"), _the(rows, "oracle")
    return (
        f"The lasso finds {one['true_positives']:.2f} of the {NONZEROS} weights, with "
        f"{one['false_positives']:.2f} false ones, and {two['true_positives']:.2f} with "
        f"{two['false_positives']:.2f} at 2 λ. Its error, {_error(one)}, and {_error(two)} at 2 λ, grows "
        f"with λ: every weight is shrunk by about that much. It is {ratio(one, trimmed)} that of trimmed L1 "
        f"with the right k ({_error(trimmed)}), at 2 λ {ratio(two, trimmed)}, and {ratio(one, mcp)} that of "
        f"MCP ({_error(mcp)}). Least squares that knows the support has {_error(oracle)}: there is hardly "
        "anything left to gain. Both penalties are flat where a weight is large, so it costs nothing to keep "
        "it; and MCP gets there without being told k."
    )


def _fairness(rows: Sequence[Row]) -> str:
    one, _ = _lassos(rows)
    refitted, best = _the(rows, "lasso-refitted"), _the(rows, "lasso-hindsight")
    trimmed = _the(rows, "trimmed", NONZEROS)
    factors = ", ".join(f"{f:g}" for f in HINDSIGHT)
    return (
        "Two checks. Least squares on the lasso's support takes the bias away and leaves the false weights: "
        f"error {_error(refitted)}, {ratio(refitted, trimmed)} that of trimmed L1. And the lasso whose "
        f"strength is chosen by looking at the truth, out of λ times {factors}, "
        f"has {_error(best)} with {best['false_positives']:.1f} false weights, {ratio(best, trimmed)}: less "
        f"bias is paid with more false weights, and the lasso has one λ for both ({_error(one)} at the λ of "
        "the noise)."
    )


def _wrong_k(rows: Sequence[Row]) -> str:
    right, few, many = (_the(rows, "trimmed", k) for k in (NONZEROS, FEWER, MORE))
    one, _ = _lassos(rows)
    return (
        f"With k = {FEWER} the other {NONZEROS - FEWER} weights are shrunk as by the lasso: "
        f"{few['true_positives']:.2f} found, {few['false_positives']:.2f} false ones, error {_error(few)}. "
        f"With k = {MORE} the {MORE - NONZEROS} places too many are filled with noise: "
        f"{many['false_positives']:.2f} false ones, error {_error(many)}. Either is worse than the right k "
        f"({_error(right)}) and {_better(few, many, one)} than the lasso ({_error(one)})."
    )


def _better(few: Row, many: Row, one: Row) -> str:
    wins = sum(r["l2_error"] < one["l2_error"] for r in (few, many))
    return ("not better", "one of them better", "still better")[wins]


def _hard(rows: Sequence[Row]) -> str:
    hard, rising = _the(rows, "hard"), _the(rows, "hard-rising")
    return (
        f"Projected gradient (iterative hard thresholding) with k = {NONZEROS} from w = 0 and the safe step "
        f"1 / L finds {hard['true_positives']:.2f} of {NONZEROS} weights, the support exactly in "
        f"{hard['exact_supports']} of {hard['designs']} designs, error {_error(hard)}. Its first step keeps "
        "the largest correlations of the columns with y, several of them wrong, and a place once taken is "
        "only lost to a weight that is larger after a single short step. With k rising from 1, each time "
        f"from where the last one ended, it finds {rising['true_positives']:.2f}, exactly in "
        f"{rising['exact_supports']} of {rising['designs']}, error {_error(rising)}: what fails is the "
        "start, not the projection."
    )


def _hoyer(rows: Sequence[Row]) -> str:
    hoyer, oracle = _the(rows, "hoyer-square"), _the(rows, "oracle")
    return (
        "Not by itself: it has no prox, its subgradient steps leave no exact zero, and what is below λ has "
        f"to be cut off after {HOYER_STEPS} of them (DeepHoyer does the same to networks). Then it finds "
        f"{hoyer['true_positives']:.2f} weights with {hoyer['false_positives']:.2f} false ones, error "
        f"{_error(hoyer)} after a refit (the oracle's is {_error(oracle)}). It does not depend on the "
        "scale of w, so it pushes the small weights down without shrinking the large ones."
    )


def _groups(rows: Sequence[Row]) -> str:
    lasso, group = _the(rows, "lasso"), _the(rows, "group-lasso")
    refitted, hoyer, oracle = (
        _the(rows, m) for m in ("group-lasso-refitted", "group-hoyer-square", "oracle")
    )
    return (
        f"Where the non-zeros come in groups, the lasso has {lasso['false_positives']:.2f} false weights and "
        f"error {_error(lasso)}; group lasso, which keeps or drops a group as a whole, "
        f"{group['false_positives']:.2f} and {_error(group)}, with the exact support in "
        f"{group['exact_supports']} of {group['designs']} designs. It still shrinks what it keeps: refitted "
        f"it has {_error(refitted)}, against {_error(oracle)} of the oracle. Group Hoyer-square, cut and "
        f"refitted: {hoyer['false_positives']:.2f} and {_error(hoyer)}. In a network the groups are filters, "
        "and a filter of zeros can be removed."
    )


def _speed(rows: Sequence[Row]) -> str:
    def line(row: Row) -> str:
        steps = row["steps_to_the_minimum"]
        return f"{row['method']} {f'from step {steps}' if steps is not None else 'not'}"

    subgradient, last = _the(rows, "subgradient"), len(rows[0]["gaps"]) - 1
    early = [r for r in rows if r["first_step_within"] != r["steps_to_the_minimum"]]
    crossings = [f"{r['method']} at step {r['first_step_within']}" for r in early]
    overshoot = (
        f"Some enter the band earlier and leave it again: {listed(crossings)}. "
        "FISTA's momentum carries it past the minimum, so its objective goes up and down on its way, and "
        "ADMM's need not fall at every step either; that is why the step from which a solver stays is "
        "counted, and not its first crossing. "
        if early
        else ""
    )
    return (
        f"A solver counts as there from the step after which its objective is never again more than "
        f"{WITHIN:g} of the objective at w = 0 above the minimum (λ = {universal_strength():.4f}, {last} "
        f"steps): {', '.join(line(r) for r in rows)}. {overshoot}The subgradient method, with the same "
        f"constant step as the others, stays {subgradient['gap']:.2g} above the minimum with "
        f"{subgradient['exact_zeros']} zeros; smaller steps would bring it closer, more slowly. FISTA is "
        "ISTA plus one vector addition. ADMM needs the fewest steps and has no step size to choose, but "
        "starts with a singular value decomposition of X, and keeps two more vectors as large as w."
    )
