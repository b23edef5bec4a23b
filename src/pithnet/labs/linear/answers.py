"""The questions of `lab linear` about three points, answered by its rows; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.linear.points import EARLY, LATE, METHODS, MU, STEPS, exact_solutions
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import Answer

OPTIMAL = 1e-12  # a loss below it counts as zero


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page."""
    three = book.of("three")
    return [
        Answer("three", "Which methods reach an optimum of L?", _optimal(three)),
        Answer("three", "Which weights are sparse?", _sparse(three)),
        Answer("three", "What does λ trade?", _trade(three)),
        Answer(
            "three-paths", "Why is the proximal path smooth where the subgradient oscillates?", _smooth(three)
        ),
        Answer("three-paths", "How biased is L1?", _bias(three)),
        Answer("three-early", "Trimmed L1 or projected gradient?", _early(three)),
        Answer("two", "What do two points change?", _two(book.of("two"))),
        Answer("two", "Which of two equal weights is kept?", _tie(book.of("two"))),
        Answer("three-negated", "What does the sign of y change?", _mirror(book.of("three-negated"))),
    ]


def of_method(rows: Sequence[Row], method: str) -> list[Row]:
    return [r for r in rows if r["method"] == method]


def vector(weights: Sequence[float]) -> str:
    """'(0, -2.95, 0, 0, 0.9583)': four decimals, without zeros at the end."""
    return f"({', '.join(f'{round(w, 4) + 0.0:.4f}'.rstrip('0').rstrip('.') for w in weights)})"


def listed(values: Sequence[object]) -> str:
    """'1, 3, 3 and 3'."""
    texts = [str(v) for v in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _named(rows: Sequence[Row]) -> str:
    """'gradient, trimmed (0.02, 0.04)': each method once; parameters where not all of a method are there."""
    parts = []
    for name in dict.fromkeys(r["method"] for r in rows):
        found = [r["parameter"] for r in of_method(rows, name)]
        whole = len(found) == sum(m.name == name for m in METHODS)
        parts.append(name if whole else f"{name} ({', '.join(f'{p:g}' for p in found)})")
    return listed(parts)


def _optimal(rows: Sequence[Row]) -> str:
    there = [r for r in rows if r["loss"] < OPTIMAL]
    others = [r for r in rows if r["loss"] >= OPTIMAL]
    (plain,) = of_method(rows, "gradient")
    sparse = [r for r in there if r["to_sparse"] < 1e-6]
    return (
        f"After {STEPS} steps L is below {OPTIMAL:g} with {_named(there)}: log L is between "
        f"{min(r['log_loss'] for r in there):.1f} and {max(r['log_loss'] for r in there):.1f}, and about -68 "
        f"is where rounding ends it. Of these, {_named(sparse)} end at the sparse solution "
        f"{vector(sparse[0]['weights'])}. Plain descent ends elsewhere, at {vector(plain['weights'])}: "
        "every step adds multiples of the rows of X to W, so W stays in the space they span, and there the "
        "only solution is the one of least norm (its distance to `pinv(X) y` is "
        f"{plain['to_least_norm']:.0e}). With {_named(others)} L stays between "
        f"{min(r['loss'] for r in others):.4f} and {max(r['loss'] for r in others):.4f}: these go to the "
        "minimum of L + λ (|w1| + ... + |w5|), which is not a minimum of L."
    )


def _sparse(rows: Sequence[Row]) -> str:
    def zeros(method: str) -> str:
        return listed([r["exact_zeros"] for r in of_method(rows, method)])

    touched = sum(r["steps_with_a_zero"] for r in of_method(rows, "subgradient"))
    steps = STEPS * len(of_method(rows, "subgradient"))
    return (
        f"Exact zeros among the five weights: gradient {zeros('gradient')}, projected "
        f"{zeros('projected')}, subgradient {zeros('subgradient')}, proximal {zeros('proximal')}, trimmed "
        f"{zeros('trimmed')}, by rising parameter. Of the {steps} steps of the subgradient "
        f"runs {touched} end with an exact zero: near zero its steps have a fixed length, and to hit zero "
        "exactly would be an accident. A threshold sets all that is small "
        "enough to zero, and keeps it there."
    )


def _trade(rows: Sequence[Row]) -> str:
    proximal, trimmed = of_method(rows, "proximal"), of_method(rows, "trimmed")
    return (
        f"Proximal L1 with λ = {listed([format(r['lambda'], 'g') for r in proximal])} ends with "
        f"{listed([r['exact_zeros'] for r in proximal])} zeros; its support settles at step "
        f"{listed([r['support_settled_at'] for r in proximal])}; and it ends "
        f"{listed([format(r['to_sparse'], '.4f') for r in proximal])} away from the sparse solution. Too "
        "small a λ has not cleared the wrong weights by the last step. A larger one clears them sooner, but "
        f"also shrinks what it keeps, so that L grows from {proximal[0]['loss']:.4f} to "
        f"{proximal[-1]['loss']:.4f}. Trimmed L1 does not have to choose: all its thresholds end at L below "
        f"{max(r['loss'] for r in trimmed):.0e}, the larger ones with a support that settles earlier (steps "
        f"{listed([r['support_settled_at'] for r in trimmed])})."
    )


def _smooth(rows: Sequence[Row]) -> str:
    def changes(method: str) -> str:
        return listed([r["sign_changes"] for r in of_method(rows, method)])

    strongest = max(r["lambda"] for r in of_method(rows, "subgradient"))
    return (
        f"In the last {LATE} steps the five weights change their sign (zero counted as a third one) "
        f"{changes('subgradient')} times with the subgradient, and {changes('proximal')} times with the "
        "proximal step, for the same four λ and the same objective. The slope of λ |w| is λ or -λ however "
        f"small w is: a weight that belongs at zero is pushed by μ λ = {MU * strongest:g} (λ = "
        f"{strongest:g}) past it, and at the next step back. The proximal step takes off at most t = μ λ and "
        "stops at zero: it minimises the small problem of one weight exactly instead of following its slope."
    )


def _bias(rows: Sequence[Row]) -> str:
    biased = [r for r in of_method(rows, "proximal") if "to_biased" in r]
    lines = [f"{vector(r['weights'])} at λ = {r['lambda']:g}" for r in biased]
    return (
        f"The right support is found with {listed(lines)}; the solution is "
        f"{vector(of_method(rows, 'projected')[0]['weights'])}. On the support S the derivative of the "
        "objective is zero, 2 X_Sᵀ(X_S W_S - y) + λ sign(W_S) = 0, so W_S is the least-squares solution "
        "minus λ/2 (X_SᵀX_S)⁻¹ sign(W_S): every kept weight is too small, by an amount that grows with λ and "
        f"not with the weight. The rows agree with this to {max(r['to_biased'] for r in biased):.0e}. "
        "Trimmed L1 and projection leave the largest weights alone, and so have no bias."
    )


def _early(rows: Sequence[Row]) -> str:
    (projected,) = of_method(rows, "projected")
    trimmed = of_method(rows, "trimmed")

    def at(key: str, step: int, form: str = "") -> str:
        first, others = projected[key][step], listed([format(r[key][step], form) for r in trimmed])
        return f"{first:{form}} against {others}"

    return (
        f"The first {EARLY} steps tell them apart. Zeros, projected against trimmed by rising threshold: "
        f"{at('early_zeros', 1)} after one step, {at('early_zeros', EARLY)} after {EARLY}. L: "
        f"{at('early_losses', 1, '.1f')} after one step, {at('early_losses', EARLY, '.3f')} after {EARLY}. "
        "Projection decides at once: whatever is not among the two largest goes back to zero, with all it "
        "had learnt. Trimmed L1 takes a little off at every step, so that the fit comes first, the small "
        "weights fade, and their order can still change. The larger its threshold, the more it behaves like "
        "projection. All end at the same weights, to within "
        f"{max(r['to_sparse'] for r in (projected, *trimmed)):.0e}."
    )


def _two(rows: Sequence[Row]) -> str:
    three, two = (exact_solutions(data) for data in ("three", "two"))
    kept = [r for r in rows if r["loss"] < OPTIMAL and r["exact_zeros"] >= 3]
    ends = listed(sorted({vector(r["weights"]) for r in kept}))
    (plain,) = of_method(rows, "gradient")
    proximal = [f"{r['exact_zeros']} zeros, L = {r['loss']:.4f}" for r in of_method(rows, "proximal")]
    return (
        f"Trying all pairs of weights: three points have {len(three)} exact solution with at most two "
        f"non-zeros, {vector(three[0].tolist())}; two points have {len(two)}, among them that one. "
        f"{_named(kept)} find one of them, {ends}, which fits the two points exactly but is not the solution "
        "of three points: no method can know what the data do not say. Plain descent again takes the one of "
        f"least norm, {vector(plain['weights'])}. Proximal L1 ends with {'; '.join(proximal)}."
    )


def _tie(rows: Sequence[Row]) -> str:
    equal = [r for r in rows if r["tie_gap"] == 0.0]
    broken = [r for r in rows if r["tie_gap"] > 0.0]
    return (
        "Of the first two points, columns 3 and 5 of X are opposite, (-1, 2) and (1, -2), so the loss only "
        f"sees w3 - w5. With {_named(equal)} |w3| = |w5| after every one of the {STEPS} steps, to the last "
        f"bit. With {_named(broken)} the two largest are to be chosen, and |w3| and |w5| are a tie: the "
        "lower index wins, w3 is kept, and w5 becomes zero. Keeping w5 instead would fit as well, and "
        "would be the solution of three points."
    )


def _mirror(rows: Sequence[Row]) -> str:
    gap = max(r["mirror_gap"] for r in rows)
    return (
        "Nothing but signs. With -y every step of every method is the negative of the step with y, because "
        "the gradient is linear in (W, y) and every threshold is odd. Over all methods and steps the largest "
        f"|W(-y) + W(y)| is {gap:.0e}."
    )
