"""A figure for every statement, from the numbers in its row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pithnet.labs.notebook import Notebook
from pithnet.report.plots import bars, grouped_bars, histograms, lines

Draw = Callable[[str, Notebook], Figure]


def _numbers(number: str, book: Notebook) -> Any:
    row = book.find(number, "statement")
    assert row is not None
    return row["numbers"]


def interference(number: str, book: Notebook) -> Figure:
    """Draws bars: the sum of both damages, and the damage of both."""
    rows = _numbers(number, book)["rows"]
    groups = [f"{100 * r['zeros']:.0f} % zeros, {r['bits']} bits" for r in rows]
    series = {
        "sum of each alone": [r["pruned"] + r["quantized"] for r in rows],
        "both together": [r["both"] for r in rows],
    }
    return grouped_bars(groups, series, "", "KL to the float network, nats")


def milliseconds(number: str, book: Notebook) -> Figure:
    """Draws bars of times."""
    return bars(_numbers(number, book)["milliseconds"], "", "ms")


def bits_per_weight(number: str, book: Notebook) -> Figure:
    """Draws bars: raw floats, a Huffman code of values and of bytes, and of 16 shared values."""
    n = _numbers(number, book)
    sizes = {
        "float32 as it is": 32.0,
        "Huffman of values, with its code book": n["bits_with_the_book"],
        "Huffman of bytes": n["bits_by_bytes"],
        "16 shared values a layer, with the code books": n["bits_after_sharing"],
    }
    return bars(sizes, "", "bits per weight that is left")


def exact_zeros(number: str, book: Notebook) -> Figure:
    """Draws bars: exact zeros and weights near zero, by method."""
    rows = _numbers(number, book)["rows"]
    series = {
        "exactly zero": [100 * r["exact_zeros"] / r["weights"] for r in rows],
        "below 0.001": [100 * r["below_a_thousandth"] / r["weights"] for r in rows],
    }
    return grouped_bars([r["method"] for r in rows], series, "", "% of the weights")


def shrinkage(number: str, book: Notebook) -> Figure:
    """Draws bars: how much smaller the kept weights are than the true ones."""
    return bars(_numbers(number, book)["shrunk"], "", "|true weight| - |found weight|, mean")


def rows_after_the_prox(number: str, book: Notebook) -> Figure:
    """Draws bars: both rows before and after group lasso's prox."""
    n = _numbers(number, book)
    series = {"before": [3.0, 4.0, 0.3, 0.4], "after the prox": [*n["large_row"], *n["small_row"]]}
    groups = ["large row, 1", "large row, 2", "small row, 1", "small row, 2"]
    return grouped_bars(groups, series, "", "weight")


def paths(number: str, book: Notebook) -> Figure:
    """Draws lines: a weight that belongs at zero, step by step."""
    curves = _numbers(number, book)["curves"]
    late = {name: (list(range(150, 201)), values[150:201]) for name, values in curves.items()}
    return lines(late, "", "step", "w1, whose true value is 0")


def exits(number: str, book: Notebook) -> Figure:
    """Draws a line: accuracy against the share of the work."""
    rows = _numbers(number, book)["rows"]
    points = ([100 * r["work"] for r in rows], [100 * r["accuracy"] for r in rows])
    n = _numbers(number, book)
    ends = ([100 * w for w in n["share_of_work"]], [100 * a for a in n["accuracies"]])
    series = {"leave when sure": points, "always the same exit": ends}
    return lines(series, "", "% of the multiplications", "test accuracy, %")


def distinct_values(number: str, book: Notebook) -> Figure:
    """Draws bars: distinct values of the quantized weights and of the gradient."""
    n = _numbers(number, book)
    counts = {
        "values of a layer's weights": n["distinct_weights_of_a_layer"],
        "values of the gradient": n["distinct_gradients"],
    }
    drawn = bars(counts, "", "distinct values (logarithmic)")
    drawn.axes[0].set_xscale("log")
    return drawn


def mixed_and_uniform(number: str, book: Notebook) -> Figure:
    """Draws lines: divergence against bits."""
    rows = _numbers(number, book)["rows"]
    series = {name: ([r["bits"] for r in rows], [r[name] for r in rows]) for name in ("uniform", "mixed")}
    drawn = lines(series, "", "bits per weight, average", "KL to the float network, nats")
    drawn.axes[0].set_yscale("log")
    return drawn


def table_and_bits(number: str, book: Notebook) -> Figure:
    """Draws a line: Huffman bits a weight against the share of zeros."""
    rows = _numbers(number, book)["rows"]
    bits = ([100 * r["zeros"] for r in rows], [r["bits"] for r in rows])
    return lines({"Huffman, zero as a symbol": bits}, "", "zeros, %", "bits per weight")


def lengths(number: str, book: Notebook) -> Figure:
    """Draws lines: Huffman's average length and log2 N."""
    rows = _numbers(number, book)["rows"]
    xs = [r["symbols"] for r in rows]
    series = {"Huffman": (xs, [r["length"] for r in rows]), "log2 N": (xs, [r["log2"] for r in rows])}
    drawn = lines(series, "", "symbols N", "bits per symbol")
    drawn.axes[0].set_xscale("log")
    return drawn


def stored_bits(number: str, book: Notebook) -> Figure:
    """Draws bars: bits a weight by what is counted."""
    n = _numbers(number, book)
    names = {
        "indices": "N k",
        "with_books": "with code books",
        "huffman": "Huffman of the indices",
        "in_the_file": "in the file, all of it",
    }
    series = {name: [r[key] / n["weights"] for r in n["rows"]] for key, name in names.items()}
    return grouped_bars([f"k = {r['bits']}" for r in n["rows"]], series, "", "bits per weight")


def magnitudes(number: str, book: Notebook) -> Figure:
    """Draws a histogram of the magnitudes that L1 leaves, as powers of ten."""
    values = np.asarray(_numbers(number, book)["magnitudes"], np.float32)
    sample = np.log10(np.maximum(values, 1e-6)).astype(np.float32)
    return histograms({"weights after training with L1": sample}, "log10 |w|", "weights", bins=60)


def zeros_by_step(number: str, book: Notebook) -> Figure:
    """Draws lines: exact zeros after every step."""
    zeros = _numbers(number, book)["zeros"]
    series = {name: (list(range(1, 61)), counts[:60]) for name, counts in zeros.items()}
    return lines(series, "", "step", "exact zeros of 400 weights")


def hoyer_and_counts(number: str, book: Notebook) -> Figure:
    """Draws lines: Hoyer-square against the number of non-zeros."""
    n = _numbers(number, book)
    names = {
        "equal": "all equal: the minimum's form",
        "noisy": "equal, and 0.001 everywhere else",
        "uneven": "sizes from 1 to 5",
    }
    series = {name: (n["counts"], n[key]) for key, name in names.items()}
    return lines(series, "", "weights that are not zero", "Hoyer-square")


def distances(number: str, book: Notebook) -> Figure:
    """Draws a line: distance to the sparse solution against the strength."""
    rows = _numbers(number, book)["rows"]
    points = ([r["strength"] for r in rows], [max(r["distance"], 1e-16) for r in rows])
    drawn = lines({"trimmed L1": points}, "", "strength", "distance to the sparse solution")
    drawn.axes[0].set(xscale="log", yscale="log")
    return drawn


def microseconds(number: str, book: Notebook) -> Figure:
    """Draws bars: the time of a step, by method."""
    times = _numbers(number, book)["microseconds"]
    named = {"proximal gradient": times["ista"], "ADMM, its factorisation kept": times["admm"]}
    return bars(named, "", "microseconds per step")
