"""What `lab pruning` shows: CSV tables, plots and the page with its answers, all from results.json."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from pithnet.labs.notebook import Notebook
from pithnet.labs.page import ACCURACY, open_page, percent_rows, write_answers, write_facts, write_tables
from pithnet.labs.pictures import Album
from pithnet.labs.pruning_answers import answers
from pithnet.report import Page
from pithnet.surgery import weighted_layers

_PICTURED = 4  # layers in a picture of a pattern


def write_results(book: Notebook, pictured: Mapping[str, nn.Module]) -> None:
    """Writes tables, plots and index.html beside results.json. pictured: models whose zeros are drawn."""
    page = open_page(book, "Pruning")
    album = Album(page, book.out)
    said = answers(book)
    if book.of("1"):
        _baseline(book, page)
    if book.of("2"):
        _one_shot(book, page, album, pictured)
        write_answers(page, said, "2")
    if book.of("3"):
        _retrained(book, page, album)
        write_answers(page, said, "3")
    if book.of("5"):
        _iterative(book, page, album)
        write_answers(page, said, "5")
    if book.of("6"):
        _regularized(book, page, album)
        write_answers(page, said, "6")
    write_facts(book, page, said)
    page.write(book.out / "index.html")


_CHANGE = {"difference": "points vs start", "difference_low": "from", "difference_high": "to"}


def _baseline(book: Notebook, page: Page) -> None:
    page.section("1. Baseline")
    columns = {
        "what": "network",
        **ACCURACY,
        "best_over_test_epochs": "best test epoch %",
        "epochs": "epochs",
    }
    write_tables(book, "1", {**columns, "parameters": "parameters"}, page, "95 % Wilson intervals.")


def _one_shot(book: Notebook, page: Page, album: Album, pictured: Mapping[str, nn.Module]) -> None:
    page.section("2. One-shot, without retraining")
    columns = {"what": "pruning", "sparsity": "zeros %", **ACCURACY, **_CHANGE}
    write_tables(
        book, "2", columns, page, "Differences are paired over the same images, with 95 % intervals."
    )
    rows = book.of("2")
    names = [layer["name"] for layer in rows[0]["layers"]]
    values = np.array([[layer["sparsity"] for layer in r["layers"]] for r in rows])
    album.grid(
        "sparsity-per-layer", [r["what"] for r in rows], names, values, "Share of zeros in each layer."
    )
    for number, (what, model) in enumerate(pictured.items(), 1):
        layers = list(weighted_layers(model))
        chosen = sorted({round(i) for i in np.linspace(0, len(layers) - 1, _PICTURED)})
        masks = {layers[i][0]: layers[i][1].weight.detach().cpu().numpy() for i in chosen}
        album.patterns(f"pattern-{number}", masks, f"Non-zero weights (dark), {what}.")


def _retrained(book: Notebook, page: Page, album: Album) -> None:
    page.section("3. Retrained")
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
    write_tables(
        book,
        "3",
        columns,
        page,
        "The accuracy is the last epoch's; the best over test epochs is shown beside it.",
    )
    series = {}
    for item, when in (("2", "one-shot"), ("3", "retrained")):
        for method in ("percentile", "std"):
            rows = [r for r in book.of(item) if r["method"] == method]
            points = [100 * r["sparsity"] for r in rows], [100 * r["accuracy"] for r in rows]
            series[f"{method}, {when}"] = points
    album.lines("accuracy-by-sparsity", series, "zeros, %", "test accuracy, %", "Accuracy against zeros.")


def _iterative(book: Notebook, page: Page, album: Album) -> None:
    columns = {
        "what": "schedule",
        "sparsity": "zeros %",
        **ACCURACY,
        **_CHANGE,
        "best_over_test_epochs": "best test epoch %",
        "masks_exact": "zeros exact after every epoch",
    }
    page.section("4. Iterative against one-shot")
    caption = "The row of a difference compares the two rows above it; all others compare with the start."
    write_tables(book, "4", columns, page, caption)
    page.section("5. One ranking over all layers")
    write_tables(book, "5", columns, page, "The difference is to the iterative row of item 4.")
    runs = [r for r in (*book.of("4"), *book.of("5")) if "accuracy_by_epoch" in r]
    curves = {
        r["what"]: (list(range(1, r["epochs"] + 1)), [100 * a for a in r["accuracy_by_epoch"]]) for r in runs
    }
    album.lines("accuracy-by-epoch", curves, "epoch", "test accuracy, %", "Accuracy after every epoch.")
    rows = {r["what"]: [layer["zeros"] for layer in r["layers"]] for r in runs[-2:]}
    names = [layer["name"] for layer in runs[-1]["layers"]]
    album.bars("zeros-per-layer", names, rows, "zeros", "Zeros in each layer.")
    shares = {
        "start_std": "std of the start's weights",
        "size": "weights",
        "zeros": "zeros",
        "sparsity": "zeros %",
    }
    page.table(
        percent_rows(runs[-1]["layers"], {"name": "layer", **shares}),
        caption=f"{runs[-1]['what']}, layer by layer.",
    )


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
    page.section("6. Regularised instead of magnitude")
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
