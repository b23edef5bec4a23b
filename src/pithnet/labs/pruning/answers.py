"""The questions of `lab pruning`, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent, taught_by
from pithnet.labs.pruning import layer_answers as layers
from pithnet.labs.pruning import threshold_answers as thresholds

ITERATIVE = "iterative minus one-shot"


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = [
        ("2", "Percentile or standard deviation?", thresholds.untrained),
        ("2", "Which layers become sparse under the standard deviation, and why?", layers.by_deviation),
        ("2", "Is the pattern of zeros structured?", layers.structured),
        ("3", "What does a retraining loop add to a training loop?", _retraining),
        ("3", "Percentile or standard deviation, retrained?", thresholds.retrained),
        ("4", "One-shot or iterative?", _iterative),
        ("5", "Which layers become sparse under one ranking, and why?", layers.by_ranking),
        ("5", "Per layer or global?", _global),
        ("6", "Regularisation instead of magnitude?", _regularized),
    ]
    said = [Answer(item, question, answer(book)) for item, question, answer in asked if _has(book, item)]
    return [*said, Answer(SETTINGS, "Which settings?", _settings(book))]


def _has(book: Notebook, item: str) -> bool:
    """Whether the item itself was measured, and not only a row of it that another item needs."""
    return bool(book.find("4", ITERATIVE) if item == "4" else book.of(item))


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


_IMAGES_ONLY = "One seed each: the intervals are over images, not over trainings."


def _iterative(book: Notebook) -> str:
    found = {r["what"]: r for r in book.of("4")}
    minus = found.pop(ITERATIVE)
    iterative = found.pop("iterative, per layer")
    (one_shot,) = found.values()
    return (
        f"{one_shot['what']}: {percent(one_shot['accuracy'])}, {difference(one_shot)} against the start; "
        f"iterative per layer: {percent(iterative['accuracy'])}, {difference(iterative)}. Iterative minus "
        f"one-shot: {difference(minus)}. Iterative pruning asks again, before each of its steps, which "
        "weights are small in a network that has already adapted to losing some, and lets a weight come back "
        "that was pruned too early; one-shot pruning decides everything on weights that had each other. It "
        f"also keeps more of the network in the first epochs, while the learning rate is high. {_IMAGES_ONLY}"
    )


def _global(book: Notebook) -> str:
    ranked, gain = book.find("5", "iterative, global"), book.find("5", "global minus per layer")
    assert ranked is not None
    assert gain is not None
    return (
        f"iterative global: {percent(ranked['accuracy'])}, {difference(ranked)} against the start; "
        f"{difference(gain)} against iterative per layer. One ranking takes the smallest weights wherever "
        "they are, so the large layers that have most of them to spare give most, and the small first and "
        "last layers are kept; the same share of every layer takes from those too. "
        f"{_IMAGES_ONLY}"
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
    taught = taught_by(book.facts["teacher"])
    return (
        f"Every retraining: {epochs['retraining']} epochs of SGD, {r['schedule']} learning rate up to "
        f"{r['lr']}, momentum {r['momentum']}, weight decay {r['weight_decay']}, batches of "
        f"{s['batch_size']}, {taught}. Iterative: before each of the first "
        f"{epochs['prunings']} epochs the share of "
        f"zeros rises by {100 * s['target'] / epochs['prunings']:g} %, to {100 * s['target']:g} %; a pruned "
        "weight may come back until the last of these. Item 6: "
        f"{epochs['regularized']} epochs each, the regularizer (or gradual pruning) in the first "
        f"{percent(s['penalties']['until'])} of them."
    )
