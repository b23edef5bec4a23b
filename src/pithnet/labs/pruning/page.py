"""What `lab pruning` shows: CSV tables, plots and the page with its answers, all from results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from pithnet.labs.columns import ACCURACY, percent_rows
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.page import open_page, write_answers, write_facts, write_tables, write_unmeasured
from pithnet.labs.pictures import Album
from pithnet.labs.pruning.answers import answers
from pithnet.labs.pruning.layer_answers import largest_deviation
from pithnet.report import Page
from pithnet.surgery import weighted_layers

_PICTURED = 4  # layers in a picture of a pattern


_TITLES = {
    "1": "baseline",
    "2": "one-shot, without retraining",
    "3": "retrained",
    "4": "iterative against one-shot",
    "5": "one ranking over all layers",
    "6": "regularised instead of magnitude",
}


def write_results(
    book: Notebook, pictured: Mapping[str, nn.Module], planned: Mapping[str, Sequence[str]]
) -> None:
    """Writes tables, plots and index.html beside results.json.

    pictured: models whose zeros are drawn, with item 2 or, the global one, with item 5; planned: the rows
    of each item when it is complete.
    """
    page = open_page(book, "Pruning")
    album = Album(page, book.out)
    said = answers(book)
    write_unmeasured(book, page, _TITLES, planned)
    _baseline(book, page)
    if book.of("2"):
        _one_shot(book, page, album)
        _patterns(album, {k: m for k, m in pictured.items() if k != _GLOBAL}, 1)
        write_answers(page, said, "2")
    if book.of("3"):
        _retrained(book, page, album)
        write_answers(page, said, "3")
    if book.of("4"):
        _iterative(book, page, album)
        write_answers(page, said, "4")
    if book.of("5"):
        _global(book, page, album)
        _patterns(album, {_GLOBAL: pictured[_GLOBAL]}, 3)
        write_answers(page, said, "5")
    if book.of("6"):
        _regularized(book, page, album)
        write_answers(page, said, "6")
    write_facts(book, page, said)
    page.write(book.out / "index.html")


_GLOBAL = "iterative, global"
_CHANGE = {"difference": "points vs start", "difference_low": "from", "difference_high": "to"}


def _baseline(book: Notebook, page: Page) -> None:
    _section(page, "1")
    columns = {
        "what": "network",
        **ACCURACY,
        "best_over_test_epochs": "best test epoch %",
        "epochs": "epochs",
    }
    write_tables(book, "1", {**columns, "parameters": "parameters"}, page, "95 % Wilson intervals.")


def _section(page: Page, item: str) -> None:
    page.section(f"{item}. {_TITLES[item][0].upper()}{_TITLES[item][1:]}")


def _one_shot(book: Notebook, page: Page, album: Album) -> None:
    _section(page, "2")
    columns = {
        "what": "pruning",
        "sparsity": "zeros %",
        **ACCURACY,
        **_CHANGE,
        "rival_difference": "points vs std",
        "rival_difference_low": "from ",
        "rival_difference_high": "to ",
    }
    caption = "Differences are paired over the same images, with 95 % intervals."
    write_tables(book, "2", columns, page, caption)
    rows = book.of("2")
    names = [layer["name"] for layer in rows[0]["layers"]]
    values = np.array([[layer["sparsity"] for layer in r["layers"]] for r in rows])
    album.grid(
        "sparsity-per-layer", [r["what"] for r in rows], names, values, "Share of zeros in each layer."
    )
    _shapes(largest_deviation(book), page, album)
    if not book.of("3"):
        _accuracy_by_sparsity(book, album)


def _shapes(row: Row, page: Page, album: Album) -> None:
    """Each layer's zeros beside the shape of its distribution."""
    layers = row["layers"]
    album.points(
        "zeros-by-kurtosis",
        [layer["name"] for layer in layers],
        [layer["start_kurtosis"] for layer in layers],
        [100 * layer["sparsity"] for layer in layers],
        "kurtosis of the layer's weights before pruning (3: normal)",
        "zeros, %",
        f"Zeros against kurtosis, a point a layer, {row['what']}.",
    )
    page.table(percent_rows(layers, _LAYER), caption=f"{row['what']}, layer by layer.")


_LAYER = {
    "name": "layer",
    "size": "weights",
    "start_std": "std before",
    "start_kurtosis": "kurtosis before",
    "zeros": "zeros",
    "sparsity": "zeros %",
}


def _patterns(album: Album, models: Mapping[str, nn.Module], first: int) -> None:
    for number, (what, model) in enumerate(models.items(), first):
        layers = list(weighted_layers(model))
        chosen = sorted({round(i) for i in np.linspace(0, len(layers) - 1, _PICTURED)})
        masks = {layers[i][0]: layers[i][1].weight.detach().cpu().numpy() for i in chosen}
        album.patterns(f"pattern-{number}", masks, f"Non-zero weights (dark), {what}.")


def _accuracy_by_sparsity(book: Notebook, album: Album) -> None:
    series = {}
    for item, when in (("2", "one-shot"), ("3", "retrained")):
        for method in ("percentile", "std") if book.of(item) else ():
            rows = sorted((r for r in book.of(item) if r["method"] == method), key=lambda r: r["sparsity"])
            points = [100 * r["sparsity"] for r in rows], [100 * r["accuracy"] for r in rows]
            series[f"{method}, {when}"] = points
    album.lines("accuracy-by-sparsity", series, "zeros, %", "test accuracy, %", "Accuracy against zeros.")


def _retrained(book: Notebook, page: Page, album: Album) -> None:
    _section(page, "3")
    columns = {
        "what": "pruning",
        "sparsity": "zeros %",
        "accuracy_before": "before %",
        **ACCURACY,
        **_CHANGE,
        "best_over_test_epochs": "best test epoch %",
        "masks_exact": "zeros exact after every epoch",
        "epochs": "epochs",
    }
    caption = "The accuracy is the last epoch's; the best over test epochs is shown beside it."
    write_tables(book, "3", columns, page, caption)
    _accuracy_by_sparsity(book, album)


_SCHEDULES = {
    "what": "schedule",
    "sparsity": "zeros %",
    **ACCURACY,
    **_CHANGE,
    "best_over_test_epochs": "best test epoch %",
    "masks_exact": "zeros exact after every epoch",
}


def _iterative(book: Notebook, page: Page, album: Album) -> None:
    _section(page, "4")
    caption = "The row of a difference compares the two rows above it; all others compare with the start."
    write_tables(book, "4", _SCHEDULES, page, caption)
    if not book.of("5"):
        _accuracy_by_epoch(book, album)


def _global(book: Notebook, page: Page, album: Album) -> None:
    _section(page, "5")
    write_tables(book, "5", _SCHEDULES, page, "The difference is to the iterative row of item 4.")
    _accuracy_by_epoch(book, album)
    runs = [book.find("4", "iterative, per layer"), book.find("5", _GLOBAL)]
    rows = {r["what"]: [100 * layer["sparsity"] for layer in r["layers"]] for r in runs if r}
    ranked = book.of("5")[0]
    names = [layer["name"] for layer in ranked["layers"]]
    album.bars("zeros-per-layer", names, rows, "zeros, % of the layer", "Zeros in each layer.")
    page.table(percent_rows(ranked["layers"], _LAYER), caption=f"{ranked['what']}, layer by layer.")


def _accuracy_by_epoch(book: Notebook, album: Album) -> None:
    runs = [r for r in (*book.of("4"), *book.of("5")) if "accuracy_by_epoch" in r]
    curves = {
        r["what"]: (list(range(1, r["epochs"] + 1)), [100 * a for a in r["accuracy_by_epoch"]]) for r in runs
    }
    album.lines("accuracy-by-epoch", curves, "epoch", "test accuracy, %", "Accuracy after every epoch.")


def _regularized(book: Notebook, page: Page, album: Album) -> None:
    columns = {
        "what": "method",
        "own_sparsity": "zeros by itself %",
        "accuracy_before": "before the mask %",
        "sparsity": "zeros %",
        **ACCURACY,
        **_CHANGE,
        "magnitude_difference": "points vs magnitude",
        "magnitude_difference_low": "from ",
        "magnitude_difference_high": "to ",
        "best_over_test_epochs": "best test epoch %",
        "masks_exact": "zeros exact after every epoch",
    }
    _section(page, "6")
    caption = (
        "Zeros by itself: exact zeros that the training had made when the mask was drawn; after it the "
        "training goes on without the regularizer."
    )
    write_tables(book, "6", columns, page, caption)
    rows = book.of("6")
    weights = rows[0]["weights"]
    curves = {
        r["what"]: (list(range(1, r["epochs"] + 1)), [100 * z / weights for z in r["zeros_by_epoch"]])
        for r in rows
    }
    album.lines("zeros-by-epoch", curves, "epoch", "exact zeros, %", "Exact zeros after every epoch.")
