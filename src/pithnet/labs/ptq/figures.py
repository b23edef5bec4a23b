"""The figures of `lab ptq`: accuracy by share pruned, shares of PyTorch eager's time, points lost."""

from __future__ import annotations

from matplotlib.figure import Figure

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq.numbers import group, layers, times
from pithnet.labs.ptq.pruned import EACH, GLOBAL
from pithnet.labs.ptq.schemes import LINEAR
from pithnet.report.plots import Points, grouped_bars, lines


def accuracy_by_share(book: Notebook) -> Figure:
    """Draws lines: accuracy against the share pruned, in each way, tuned or not, and the source's."""
    series: dict[str, Points] = {}
    rows = book.of("1")
    for among in (EACH, GLOBAL):
        mine = [r for r in rows if r["among"] in (among, None)]
        series[f"{among}, untuned"] = _curve(mine, "untuned")
        tuned = [r for r in mine if "epochs" in r]
        if tuned:
            series[f"{among}, fine-tuned"] = _curve(tuned, "accuracy")
    published = [r for r in rows if r.get("source") is not None]
    if published:
        series["the source"] = _curve(published, "source")
    return lines(series, "", "weights pruned, %", "test accuracy, %")


def _curve(rows: list[Row], key: str) -> Points:
    return [100 * r["share"] for r in rows], [100 * r[key] for r in rows]


def share_of_time(book: Notebook) -> Figure:
    """Draws bars for each file, by size of batch and number of threads."""
    rows = times(book)
    cells = list(dict.fromkeys((r["batch"], r["threads"]) for r in rows))
    shares: dict[str, dict[tuple[int, int], float]] = {}
    for r in rows:
        runtime = f" ({r['runtime']})" if r["file"].startswith("float32") else ""
        name = r["file"].rpartition(".")[0].replace("-", " ") + runtime
        shares.setdefault(name, {})[r["batch"], r["threads"]] = 100 * r["share_of_eager"]
    series = {name: [found[cell] for cell in cells] for name, found in shares.items()}
    groups = [f"batch {batch}, {threads} thread{'s' * (threads > 1)}" for batch, threads in cells]
    return grouped_bars(groups, series, "", "% of PyTorch eager's time")


def zeros_by_layer(book: Notebook) -> Figure:
    """Draws the share of zeros after each layer's ReLU."""
    found = [layer for layer in layers(book) if layer["zero_share"] is not None]
    return grouped_bars(
        [r["name"] for r in found], {"zeros": [100 * r["zero_share"] for r in found]}, "", "%"
    )


def range_by_layer(book: Notebook) -> Figure:
    """Draws how many times as wide a layer's widest channel is as its median channel."""
    found = layers(book)
    return grouped_bars([r["name"] for r in found], {"range": [r["spread"] for r in found]}, "", "times")


def bits_by_layer(book: Notebook) -> Figure:
    """Draws the bits that mixed precision gives to each layer."""
    mixed = [r for r in group("mixed", book) if r["mixed"]]
    names = [layer["name"] for layer in mixed[0]["layers"]]
    bits = {f"{r['weights']} on average": [x["bits"] for x in r["layers"]] for r in mixed}
    return grouped_bars(names, bits, "", "bits")


# What a group of bars has in common, and what a bar of it is.
_BARS = {
    "granularity": ("{both}, {sign}", "per {granularity}"),
    "symmetry": ("{both}, {granularity}", "{sign}"),
    "observers": ("{activations}-bit activations", "{observer}"),
    "levels": ("per {granularity}", "{kind}"),
    "mixed": ("{weights} bits", "{spread}"),
    "activations": ("{alone}", "{inputs} activations"),
    "repairs": ("per {granularity}", "{repaired}"),
}


def points(by: str, book: Notebook) -> Figure:
    """Draws points against float: a group of bars for what is alike, a bar for what is compared."""
    found = {
        tuple(form.format(**r | _words(r)) for form in _BARS[by]): r["difference"] for r in group(by, book)
    }
    groups, labels = (list(dict.fromkeys(pair[i] for pair in found)) for i in (0, 1))
    series = {label: [found.get((g, label), float("nan")) for g in groups] for label in labels}
    return grouped_bars(groups, series, "", "points against float")


def _words(row: Row) -> dict[str, str]:
    """What the labels of bars say of a scheme beside its columns."""
    alone = f"W{row['weights']}" if row["weights"] else "W float"
    linear = "linear, least error" if row["fit"] == "mse" else "linear, range"
    return {
        "alone": alone,
        "both": alone + (f"A{row['activations']}" if row["activations"] else ""),
        "inputs": f"{row['activations']}-bit" if row["activations"] else "float",
        "sign": "symmetric" if row["symmetric"] else "asymmetric",
        "kind": linear if row["levels"] == LINEAR else row["levels"],
        "spread": "mixed" if row["mixed"] else "uniform",
        "repaired": row["repair"] or "as rounded",
    }
