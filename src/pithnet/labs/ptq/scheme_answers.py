"""The questions of `lab ptq` on item 3, answered by what was simulated; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import Answer, brief, percent, score
from pithnet.labs.ptq.comparisons import PLAIN
from pithnet.labs.ptq.rows import group, layers, measured_groups
from pithnet.labs.ptq.schemes import LINEAR

RIVAL = "rival_difference"


def scheme_answers(book: Notebook) -> list[Answer]:
    """In the order of the page, of "3 NAME" each; those whose comparisons have been measured."""
    known = measured_groups(book)
    return [Answer(f"3 {name}", ask, answer(book)) for name, (ask, answer) in _ASKED.items() if name in known]


def _granularity(book: Notebook) -> str:
    rows = group(book, "granularity")
    widest = max(layers(book), key=lambda layer: float(layer["spread"]))
    return (
        f"A step per tensor against one per channel, in points: {_contest(rows)} With BN folded the widest "
        f"channel of a layer spans up to {widest['spread']:.1f} times the median one's range "
        f"({widest['name']}), and one step has to fit it: "
        f"{_errors(rows, 'granularity', {'tensor': 'per tensor', 'channel': 'per channel'})}. Known beside "
        "this run: a step per channel costs four bytes for each and no time."
    )


def _symmetry(book: Notebook) -> str:
    rows = group(book, "symmetry")
    return (
        f"Asymmetric weights against symmetric ones, in points: {_contest(rows)} "
        f"{_errors(rows, 'symmetric', {False: 'asymmetric', True: 'symmetric'}).capitalize()}. Known beside "
        "this run: weights lie about evenly around zero, so an offset gains little more than the one level "
        "in 16 that symmetric ones leave out, and integer kernels pay for it with a sum over the inputs: "
        "int8 files hold symmetric weights. Activations are never negative after a ReLU; they have a zero "
        "point in every row."
    )


def _errors(rows: Sequence[Row], key: str, names: Mapping[object, str]) -> str:
    """'the squared error of 4-bit weights over their squares is 3.10 % per tensor, 1.20 % per channel'"""
    means = []
    for value, name in names.items():
        found = [r["weight_error"] for r in rows if r[key] == value and r["weights"] == 4]
        means.append(f"{100 * sum(found) / len(found):.2f} % {name}")
    return f"the squared error of 4-bit weights over their squares is {', '.join(means)}"


def _observers(book: Notebook) -> str:
    rows, parts = group(book, "observers"), []
    for bits in sorted({r["activations"] for r in rows}, reverse=True):
        mine = [r for r in rows if r["activations"] == bits]
        plain = next(r for r in mine if r["observer"] == PLAIN)
        told = ", ".join(
            f"{r['observer']} {brief(r, RIVAL)} with steps "
            f"{r['activation_step'] / plain['activation_step']:.2f} times as wide"
            for r in mine
            if r is not plain
        )
        best = max(mine, key=lambda r: float(r["accuracy"]))["observer"]
        parts.append(
            f"With {bits}-bit activations {PLAIN} has {percent(plain['accuracy'])}; against it, in points, "
            f"{told}; ahead is {best}"
        )
    return (
        f"{'. '.join(parts)}. {score([r for r in rows if 'rival' in r])} Known beside this run: 256 levels "
        "are enough for almost any range, 16 are not: a narrower range clips a few large activations and "
        "tells all others apart better, until it clips too much."
    )


def _levels(book: Notebook) -> str:
    rows = group(book, "levels")
    errors = ", ".join(f"{100 * r['weight_error']:.2f} % {_name(r)}" for r in rows)
    others = [r for r in rows if r["levels"] != LINEAR]
    told = ", ".join(f"{_name(r)} {brief(r, RIVAL)}" for r in others)
    fitted = ", ".join(
        f"{_name(r)} {brief(r, RIVAL)}" for r in rows if "rival" in r and r["levels"] == LINEAR
    )
    return (
        f"Against linear levels of least error, in points: {told}. {score(others)} What linear levels of "
        f"least error gain over those that span the range: {fitted}. The squared error over the weights' "
        f"squares: {errors}. Known beside this run: weights crowd around zero, and so do these levels; but "
        "only linear ones are computed with as integers. A codebook makes a file smaller, not a network "
        "faster, and powers of two need hardware that shifts."
    )


def _mixed(book: Notebook) -> str:
    rows, parts = group(book, "mixed"), []
    for row in [r for r in rows if r["mixed"]]:
        bits = {layer["name"]: layer["bits"] for layer in row["layers"]}
        few, many = min(bits.values()), max(bits.values())
        most = ", ".join(name for name, b in bits.items() if b == many)
        plain = next(r for r in rows if r["what"] == row["rival"])
        parts.append(
            f"{row['average_bits']:.3f} bits per weight, {few} to {many} a layer (most in {most}): "
            f"{percent(row['accuracy'])} against {percent(plain['accuracy'])} with {row['weights']} "
            f"everywhere, {brief(row, RIVAL)} points"
        )
    return (
        f"{'. '.join(parts)}. {score([r for r in rows if 'rival' in r])} Known beside this run: harms of "
        "layers quantized alone are added up, which holds while they are small; layers of few weights cost "
        "little of the budget."
    )


def _activations(book: Notebook) -> str:
    rows = group(book, "activations")
    alone = ", ".join(f"{_name(r)} {brief(r)}" for r in rows)
    paired = ", ".join(f"{_name(r)} {brief(r, RIVAL)}" for r in rows if "rival" in r)
    return (
        f"Against float, in points: {alone}. What quantized activations add to the same weights alone: "
        f"{paired}. Known beside this run: weights alone make a file smaller; integer kernels, and so time, "
        "need both."
    )


def _repairs(book: Notebook) -> str:
    return (
        f"Against the same weights as rounded, in points: {_contest(group(book, 'repairs'))} Known beside "
        "this run: equalizing moves range between channels that one step has to serve; correcting biases "
        "takes out the shift of each channel's mean that rounding makes. Neither needs labels or training."
    )


def _sparsity(book: Notebook) -> str:
    found = [layer for layer in layers(book) if layer["zero_share"] is not None]
    least, most = (pick(found, key=lambda layer: float(layer["zero_share"])) for pick in (min, max))
    mean = sum(layer["zero_share"] for layer in found) / len(found)
    return (
        f"{percent(mean)} of what ReLUs put out is exactly zero, as the mean of {len(found)} layers: from "
        f"{percent(least['zero_share'])} after {least['name']} to {percent(most['zero_share'])} after "
        f"{most['name']}. Known beside this run: which ones are zero changes with every image, so unlike "
        "pruned weights they are in no file to be left out, and dense kernels multiply them all the same."
    )


def _contest(rows: Sequence[Row]) -> str:
    """Every scheme that has a rival, against it, and the score."""
    pairs = [r for r in rows if "rival" in r]
    return f"{', '.join(f'{_name(r)} {brief(r, RIVAL)}' for r in pairs)}. {score(pairs)}"


def _name(row: Row) -> str:
    """'4 bits per tensor, activations 8 bits'"""
    return str(row["what"]).removeprefix("weights ").removesuffix(f" by {row['observer']}")


_ASKED: Mapping[str, tuple[str, Callable[[Notebook], str]]] = {
    "granularity": ("A step per tensor or per channel, and why?", _granularity),
    "symmetry": ("Symmetric or asymmetric weights, and why?", _symmetry),
    "observers": ("Which observer, and why?", _observers),
    "levels": ("Linear levels or others?", _levels),
    "mixed": ("Uniform or mixed precision?", _mixed),
    "activations": ("Weights only, or activations too?", _activations),
    "repairs": ("What do repairs without training bring?", _repairs),
    "sparsity": ("How sparse are the activations?", _sparsity),
}
