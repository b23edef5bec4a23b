"""The figures of `lab deep-compression`, from its rows and from the weights that the lab keeps."""

from __future__ import annotations

from matplotlib.figure import Figure

from pithnet.labs.deep_compression.lab import WEIGHTS
from pithnet.labs.experiment import having
from pithnet.labs.notebook import Notebook
from pithnet.report.plots import bars, grouped_bars, histograms, lines


def weights(book: Notebook) -> Figure:
    """Histograms: the largest layer's non-zero weights, before sharing and after."""
    kept = book.load(WEIGHTS)
    assert kept is not None
    samples = {what: values.numpy() for what, values in kept["weights"].items()}
    return histograms(samples, "weight", "weights in a bin")


def accuracy_by_bytes(book: Notebook) -> Figure:
    """Draws a line: accuracy against the bytes of the file."""
    rows = having("1", "accuracy")(book)
    points = ([r["file_bytes"] for r in rows], [100 * r["accuracy"] for r in rows])
    return lines({"test accuracy": points}, "", "bytes of the file", "test accuracy, %")


def codebook_tuning(book: Notebook) -> Figure:
    """Draws bars: accuracy before and after codebooks are trained, by initialisation."""
    rows, keys = book.of("2"), {"accuracy_before": "before fine-tuning", "accuracy": "after"}
    series = {title: [100 * r[key] for r in rows] for key, title in keys.items()}
    return grouped_bars([r["what"] for r in rows], series, "", "test accuracy, %")


def code_length(book: Notebook) -> Figure:
    """Draws bars: each layer's Huffman length, beside its entropy and the fixed width."""
    kinds = {"huffman_bits": "Huffman", "entropy_bits": "entropy", "fixed_bits": "fixed width"}
    rows = having("3", "positions_chosen")(book)
    series = {title: [r[key] for r in rows] for key, title in kinds.items()}
    return grouped_bars([r["what"] for r in rows], series, "", "bits per non-zero weight")


def file_bytes(book: Notebook) -> Figure:
    """Draws bars: model.pith beside the trivial ways to store the same networks."""
    whole, *others = book.of("4")
    sizes = {"model.pith": whole["bytes"]} | {r["what"]: r["bytes"] for r in others if "ratio" in r}
    return bars(sizes, "", "bytes")
