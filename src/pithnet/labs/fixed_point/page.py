"""What `lab fixed-point` shows: CSV tables, plots and the page with its answers, from results.json."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pithnet.labs.columns import ACCURACY
from pithnet.labs.fixed_point import curves
from pithnet.labs.fixed_point.answers import answers
from pithnet.labs.notebook import Notebook
from pithnet.labs.page import open_page, write_answers, write_facts, write_left_out, write_tables
from pithnet.labs.pictures import Album

_TITLES = {
    "1": "1. Without training",
    "2": "2. Trained",
    "3": "3. After pruning",
    "4": "4. Symmetric levels, trained",
    "5": "5. Mixed precision by stage",
    "6": "6. Mixed precision by search",
    "7": "7. Without labels and without training",
}
_BITS, _SIZE = "bits", "bits per weight, float layers at 32"
_CURVES = {
    "1": ("accuracy-by-bits", curves.untrained, _BITS, "Accuracy without training."),
    "2": ("trained-by-bits", curves.trained, _BITS, "Accuracy before and after training."),
    "3": ("pruned-by-bits", curves.pruned, _BITS, "Accuracy of pruned and unpruned networks, trained."),
    "4": ("symmetric-by-bits", curves.symmetric, _BITS, "Symmetric levels against the source's."),
    "5": ("accuracy-by-size", curves.by_stage, _SIZE, "Accuracy against bits per weight, by stage."),
    "6": ("searched-by-size", curves.searched, _SIZE, "Accuracy against bits per weight, searched."),
    "7": ("repaired-by-bits", curves.repaired, _BITS, "Accuracy without labels and without training."),
}
_PAIRED = "Differences are paired over the same test images, with 95 % intervals."


def write_results(book: Notebook, weights: Mapping[str, Tensor]) -> None:
    """Writes tables, plots and index.html beside results.json, for the items that have been measured.

    weights: of one layer under several levels, drawn with item 1; none where it has not been measured.
    """
    page = open_page(book, "Fixed-point quantization")
    album = Album(page, book.out)
    said = answers(book)
    page.section("0. The float network")
    write_tables(book, "0", {"what": "network", **ACCURACY}, page, "95 % Wilson intervals.")
    for item, title in _TITLES.items():
        if not book.of(item):
            continue
        page.section(title)
        write_tables(book, item, _columns(item), page, _PAIRED)
        _draw(book, item, album)
        if item == "1":
            samples = {what: weight.flatten().cpu().numpy() for what, weight in weights.items()}
            album.histograms("levels", samples, "One layer's weights and their levels, before training.")
        write_answers(page, said, item)
    write_left_out(book, page, _TITLES)
    write_facts(book, page, said)
    page.write(book.out / "index.html")


def _columns(item: str) -> dict[str, str]:
    """The columns of an item's table: key -> title."""
    columns = {"what": "levels, bits, layers", "average_bits": "bits per weight"}
    if item == "7":
        columns["most_levels"] = "most levels in a channel"
        columns["divergence"] = "KL to float, nats"
    elif item != "1":
        columns["accuracy_before"] = "untrained %"
    columns |= ACCURACY
    columns |= {"difference": "points vs float", "difference_low": "from", "difference_high": "to"}
    if item in "13467":
        columns["rival"] = "beside"
        columns |= {"rival_difference": "points", "rival_difference_low": "low"}
        columns["rival_difference_high"] = "high"
    if item == "7":
        columns["seconds"] = "seconds"
    elif item == "1":
        columns["shift"] = "shift of a layer's mean, in its standard deviations"
    else:
        columns["teacher"] = "teacher"
        columns |= {"best_over_test_epochs": "best test epoch %", "epochs": "epochs"}
    if item == "3":
        columns |= {"zeros": "zeros", "masks_exact": "zeros exact after every epoch"}
    return columns


def _draw(book: Notebook, item: str, album: Album) -> None:
    name, curves_of, x, caption = _CURVES[item]
    album.lines(name, curves_of(book), x, "test accuracy, %", caption)
    epochs = curves.by_epoch(book.of(item))
    if any(len(numbers) > 1 for numbers, _ in epochs.values()):
        album.lines(f"epochs-{item}", epochs, "epoch", "test accuracy, %", "Accuracy after every epoch.")
    if item == "6":
        rows = book.of("6")
        layers = [layer["name"] for layer in rows[0]["layers"]]
        bits = {r["what"]: [layer["bits"] for layer in r["layers"]] for r in rows}
        album.bars("bits-by-layer", layers, bits, "bits", "The bits that the search gave to each layer.")
