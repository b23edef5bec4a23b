"""Which layers pruning empties, and why: under a threshold of their own, and under one ranking of all."""

from __future__ import annotations

import math

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import percent
from pithnet.labs.pruning.sparsity import rank_correlation


def _extremes(layers: list[Row]) -> str:
    ordered = sorted(layers, key=lambda r: r["sparsity"])
    least, most = ordered[:3], ordered[:-4:-1]

    def names(rows: list[Row]) -> str:
        return ", ".join(f"`{r['name']}` {percent(r['sparsity'])}" for r in rows)

    return f"most zeros in {names(most)}; fewest in {names(least)}"


_MEASURES = {
    "kurtosis": "start_kurtosis",
    "standard deviation": "start_std",
    "number of weights": "size",
}


def correlations(layers: list[Row]) -> dict[str, float]:
    """Spearman's rank correlation of sparsity with the kurtosis, std and size of the start's layers."""
    sparsity = [r["sparsity"] for r in layers]
    return {
        name: rank_correlation([float(r[key]) for r in layers], sparsity) for name, key in _MEASURES.items()
    }


def _correlated(found: dict[str, float]) -> str:
    return ", ".join(f"with their {name} {value:+.2f}" for name, value in found.items())


def largest_deviation(book: Notebook) -> Row:
    """The row of item 2 with the most standard deviations."""
    row: Row = max((r for r in book.of("2") if r["method"] == "std"), key=lambda r: r["value"])
    return row


def by_deviation(book: Notebook) -> str:
    """Why layers differ under a threshold in standard deviations of their own."""
    row = largest_deviation(book)
    found, s = correlations(row["layers"]), row["value"]
    strongest = max(found, key=lambda name: abs(found[name]))
    verdict = (
        "The kurtosis explains it, and neither how wide a layer's distribution is nor how large the layer is."
        if strongest == "kurtosis"
        else f"Over these {len(row['layers'])} layers the ranks do not confirm that: the strongest "
        f"correlation is with the {strongest}."
    )
    normal, laplace = math.erf(s / math.sqrt(2)), 1 - math.exp(-s * math.sqrt(2))
    other = (
        "One ranking over all layers empties other layers for another reason: section 5 has it."
        if book.find("5", "iterative, global")
        else "One ranking over all layers has another reason, which item 5, not measured here, would show."
    )
    return (
        f"With {row['what']} there are {_extremes(row['layers'])}. The reason is the shape of a layer's "
        "distribution. Its threshold is s times its own standard deviation, so how wide the distribution is "
        "cancels out; what counts is how much of it lies within s standard deviations. Where the tails are "
        "heavy, a few large weights stretch the standard deviation, and more of the others are below the "
        f"threshold: at s = {s:g} a normal distribution loses {percent(normal)}, Laplace's, which has "
        f"heavier tails, {percent(laplace)}. Kurtosis measures the tails (normal 3, Laplace 6). Over the "
        f"{len(row['layers'])} layers the rank correlation of the shares of zeros is {_correlated(found)}. "
        f"{verdict} Under a percentile no layer is sparser than another: each has the same share by "
        f"construction. {other}"
    )


def by_ranking(book: Notebook) -> str:
    """Why layers differ under one threshold for all."""
    row = book.find("5", "iterative, global")
    assert row is not None
    found = correlations(row["layers"])
    narrow = found["standard deviation"] < 0 and abs(found["standard deviation"]) >= abs(found["kurtosis"])
    verdict = (
        "The width explains it, and not the shape."
        if narrow
        else "Over these layers the ranks do not single out the width."
    )
    return (
        f"At {percent(row['sparsity'])} zeros in all there are {_extremes(row['layers'])}. The reason is the "
        "size of the weights, not the shape of their distribution: there is one threshold for all layers, so "
        "a layer loses what lies below it, and most where the weights are small. Those are the wide late "
        "layers: with more inputs to sum, each weight is smaller (fan-in initialisation, weight decay), and "
        "there are more of them than the task needs. The first layer and the classifier have large weights. "
        f"Over the {len(row['layers'])} layers the rank correlation of the shares of zeros is "
        f"{_correlated(found)}, all of the start's weights. {verdict}"
    )


def structured(book: Notebook) -> str:
    """Whether zeros form kernels and filters."""
    sparsest = max(book.of("2"), key=lambda r: r["sparsity"])
    s = sparsest["structure"]
    ratio = s["empty_kernels"] / s["empty_kernels_if_scattered"] if s["empty_kernels_if_scattered"] else 0.0
    return (
        f"At {percent(sparsest['sparsity'])} zeros ({sparsest['what']}) {s['empty_kernels']:,} of "
        f"{s['kernels']:,} kernels are zero as a whole, {ratio:.1f} times the "
        f"{s['empty_kernels_if_scattered']:,.0f} that zeros scattered independently in each layer would "
        f"give, and {s['empty_filters']} of {s['filters']} filters. {_structure_verdict(s)} Dense hardware "
        "gains nothing from such zeros; a file does."
    )


def _structure_verdict(s: Row) -> str:
    share = s["empty_kernels"] / s["kernels"]
    clustered = s["empty_kernels"] > 1.5 * s["empty_kernels_if_scattered"]
    if share > 0.5:
        return "Most kernels are empty, so there is structure to use."
    if clustered:
        return "Zeros gather in kernels more than by chance, but too few are empty to gain by: unstructured."
    return "That is about what chance gives: the pattern is unstructured."
