"""The questions of `lab pruning`, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

import numpy as np

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent
from pithnet.labs.sparsity import rank_correlation


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = [
        ("2", "Percentile or standard deviation?", _threshold, "2"),
        ("2", "Is the pattern of zeros structured?", _structured, "2"),
        ("3", "What does a retraining loop add to a training loop?", _retraining, "3"),
        ("5", "Which layers become sparse, and why?", _layers, "25"),
        ("5", "One-shot, iterative or global?", _schedules, "45"),
        ("6", "Regularisation instead of magnitude?", _regularized, "6"),
        (SETTINGS, "Which settings?", _settings, ""),
    ]
    return [
        Answer(item, question, answer(book))
        for item, question, answer, needed in asked
        if all(book.of(item) for item in needed)
    ]


def _interpolated(book: Notebook, item: str, sparsity: float) -> float | None:
    """The percentile rows' accuracy at that share of zeros; None beyond the sparsest of them."""
    rows = sorted((r["sparsity"], r["accuracy"]) for r in book.of(item) if r["method"] == "percentile")
    xs, ys = zip(*rows, strict=True)
    return float(np.interp(sparsity, xs, ys)) if xs[0] <= sparsity <= xs[-1] else None


def _threshold(book: Notebook) -> str:
    parts, gains = [], []
    for row in book.of("2"):
        after = book.find("3", row["what"])
        if row["method"] != "std" or row["sparsity"] == 0 or after is None:
            continue
        rivals = _interpolated(book, "2", row["sparsity"]), _interpolated(book, "3", row["sparsity"])
        text = f"s = {row['value']:g} gives {percent(row['sparsity'])} zeros and {percent(row['accuracy'])}"
        text += f" ({percent(after['accuracy'])} retrained)"
        if rivals[0] is not None and rivals[1] is not None:
            text += f"; percentiles interpolated to as many zeros {percent(rivals[0])}"
            text += f" ({percent(rivals[1])} retrained)"
            gains.append(row["accuracy"] - rivals[0])
        parts.append(text)
    ahead = sum(g > 0 for g in gains)
    verdict = (
        f"At equal zeros the standard deviation is ahead in {ahead} of {len(gains)} comparisons without "
        f"retraining (mean {100 * float(np.mean(gains)):+.2f} points; one seed, no interval for interpolated "
        "values). "
        if gains
        else ""
    )
    known = (
        "Known beside this run: s times a layer's standard deviation prunes the same share of every layer "
        "whose weights are distributed alike, and more of one with heavier tails, so it follows the layer "
        "where a percentile does not. But its share of zeros is a result, not a setting: a percentile hits "
        "it exactly."
    )
    return f"{'. '.join(parts)}. {verdict}{known}"


def _structured(book: Notebook) -> str:
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


def _extremes(layers: list[Row]) -> str:
    ordered = sorted(layers, key=lambda r: r["sparsity"])
    least, most = ordered[:2], ordered[:-3:-1]

    def names(rows: list[Row]) -> str:
        return ", ".join(f"`{r['name']}` {percent(r['sparsity'])}" for r in rows)

    return f"most {names(most)}; least {names(least)}"


def _layers(book: Notebook) -> str:
    std = max((r for r in book.of("2") if r["method"] == "std"), key=lambda r: r["value"])
    ranked = book.find("5", "iterative, global")
    assert ranked is not None
    layers = ranked["layers"]
    sparsities = [r["sparsity"] for r in layers]
    by_std = rank_correlation([r["start_std"] for r in layers], sparsities)
    by_size = rank_correlation([float(r["size"]) for r in layers], sparsities)
    return (
        f"By {std['what']}: {_extremes(std['layers'])}. By one ranking over all layers at "
        f"{percent(ranked['sparsity'])}: {_extremes(layers)}. Over the {len(layers)} layers the rank "
        f"correlation of sparsity with the standard deviation of the start's weights is {by_std:+.2f}, with "
        f"the layer's size {by_size:+.2f}. Known beside this run: a global ranking takes the smallest "
        "weights wherever they are, and the wide late layers have the smallest (fan-in initialisation, "
        "weight decay) and the most redundancy, the first layer and the classifier the least."
    )


def _retraining(book: Notebook) -> str:
    rows = book.of("3")
    epochs = sum(r["epochs"] for r in rows)
    exact = sum(r["epochs"] for r in rows if r["masks_exact"])
    sparsest = max((r for r in rows if r["method"] == "percentile"), key=lambda r: r["sparsity"])
    control = next((r for r in rows if r["sparsity"] == 0), None)
    text = (
        "The mask. Here it is part of the weight's parametrization: a pruned weight is computed as zero in "
        "every forward pass and gets no gradient, so neither momentum nor weight decay can move it. Every "
        f"zero was compared bit for bit after each epoch: exact in {exact} of {epochs} epochs of {len(rows)} "
        f"trainings. It brings {sparsest['what']} from {percent(sparsest['accuracy_before'])} to "
        f"{percent(sparsest['accuracy'])}."
    )
    if control is not None:
        text += f" The same training with nothing pruned changes the start by {difference(control)}."
    return text


def _schedules(book: Notebook) -> str:
    one_shot, iterative, minus = book.of("4")
    ranked, gain = book.of("5")
    return (
        f"{one_shot['what']}: {percent(one_shot['accuracy'])}; iterative per layer: "
        f"{percent(iterative['accuracy'])}, {difference(minus)} against one-shot; iterative global: "
        f"{percent(ranked['accuracy'])}, {difference(gain)} against per layer. Against the start: "
        f"{difference(one_shot)}, {difference(iterative)} and {difference(ranked)}. One seed each: the "
        "intervals are over images, not over trainings."
    )


def _regularized(book: Notebook) -> str:
    magnitude, *rest = book.of("6")
    by_kind = {r["what"]: r for r in rest}
    by_sgd = by_kind["L1 in the loss, SGD"]
    group = next(r for r in rest if r["kind"] == "group-lasso")
    verdict = "no exact zero" if by_sgd["own_sparsity"] == 0 else percent(by_sgd["own_sparsity"]) + " zeros"
    own = ", ".join(f"{r['what']} {percent(r['own_sparsity'])}" for r in rest if r is not by_sgd)
    ranked = sorted(rest, key=lambda r: -float(r["accuracy"]))
    ends = "; ".join(f"{r['what']} {percent(r['accuracy'])}, {_versus(r)} against magnitude" for r in ranked)
    empty, filters = (group["structure"][key] for key in ("empty_filters", "filters"))
    return (
        f"L1 as a term of the loss made {verdict} by itself: its step is as long beside zero as far from "
        "it, so a weight jumps over zero and back, and the mask has to cut. By themselves: "
        f"{own}. After the mask and the epochs without the regularizer, beside "
        f"{percent(magnitude['accuracy'])} of {magnitude['what']}: {ends}. {_proximal(book)} Group lasso "
        f"leaves {empty} of {filters} filters empty. Known beside this run: empty filters make a network "
        "smaller without a sparse format, and cost more accuracy, for a filter takes its good weights along; "
        "L1 shrinks what it keeps, which the epochs after the mask undo, and trimmed L1 leaves what is to "
        "stay alone."
    )


def _proximal(book: Notebook) -> str:
    """The better of the two proximal L1s against magnitude, and where it stood when the mask was drawn."""
    magnitude, *rest = book.of("6")
    both = [r for r in rest if r["what"] in ("L1, proximal", "trimmed L1, proximal")]
    best = max(both, key=lambda r: float(r["accuracy"]))
    cut = round(book.facts["settings"]["penalties"]["until"] * best["epochs"]) - 1
    points = best["magnitude_difference"]
    verdict = "within half a point of" if points >= -0.5 else f"{-points:.2f} points below"
    return (
        f"Of the two proximal methods the better, {best['what']}, ends {verdict} magnitude; when its mask "
        f"was drawn it was at {percent(best['accuracy_before'])}, magnitude after the same epoch at "
        f"{percent(magnitude['accuracy_by_epoch'][cut])}."
    )


def _versus(row: Row) -> str:
    return difference({k.removeprefix("magnitude_"): v for k, v in row.items() if k.startswith("magnitude_")})


def _settings(book: Notebook) -> str:
    s, epochs = book.facts["settings"], book.facts["epochs"]
    r = s["retrain"]
    return (
        f"Every retraining: {epochs['retraining']} epochs of SGD, {r['schedule']} learning rate up to "
        f"{r['lr']}, momentum {r['momentum']}, weight decay {r['weight_decay']}, batches of "
        f"{s['batch_size']}. Iterative: before each of the first {epochs['prunings']} epochs the share of "
        f"zeros rises by {100 * s['target'] / epochs['prunings']:g} %, to {100 * s['target']:g} %; a pruned "
        "weight may come back until the last of these. Item 6: "
        f"{epochs['regularized']} epochs each, the regularizer (or gradual pruning) in the first "
        f"{percent(s['penalties']['until'])} of them."
    )
