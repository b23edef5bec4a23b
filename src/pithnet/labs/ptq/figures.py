"""The figures of `lab ptq`: times as shares of PyTorch eager's, and points lost against float."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pictures import Album
from pithnet.labs.ptq.rows import group, layers, times
from pithnet.labs.ptq.schemes import LINEAR

_POINTS = "points against float"
_CAPTIONS = {
    "granularity": "A step per tensor or per channel (W8A8: bits of weights, activations).",
    "symmetry": "Symmetric or asymmetric weights (W8A8: bits of weights, activations).",
    "observers": "Observers of activations, weights of 8 bits: accuracy without training.",
    "levels": "Kinds of levels, weights of 4 bits: accuracy without training.",
    "mixed": "As many bits everywhere or mixed: accuracy without training.",
    "activations": "Activations of 8 and 4 bits, or float (W8: weights of 8 bits).",
    "repairs": "Repairs, weights of 4 bits: accuracy without training.",
}


def draw_times(book: Notebook, album: Album) -> None:
    """Bars for each file, by size of batch and number of threads."""
    rows = times(book)
    cells = list(dict.fromkeys((r["batch"], r["threads"]) for r in rows))
    named = list(dict.fromkeys((r["file"], r["runtime"]) for r in rows))
    shares = {(r["file"], r["batch"], r["threads"]): 100 * r["share_of_eager"] for r in rows}
    series = {
        file.rpartition(".")[0].replace("-", " ") + (f" ({runtime})" if file.startswith("float32") else ""): [
            shares[file, *cell] for cell in cells
        ]
        for file, runtime in named
    }
    groups = [f"batch {batch}, {threads} thread{'s' * (threads > 1)}" for batch, threads in cells]
    album.bars("times", groups, series, "% of PyTorch eager's time", "Time of a batch: less is better.")


def draw_group(book: Notebook, name: str, album: Album) -> None:
    """The figure of one comparison of item 3."""
    if name == "sparsity":
        found = [layer for layer in layers(book) if layer["zero_share"] is not None]
        shares = {"zeros": [100 * layer["zero_share"] for layer in found]}
        album.bars(
            "zeros-by-layer", [r["name"] for r in found], shares, "%", "Zeros after each layer's ReLU."
        )
        spreads = {"range": [layer["spread"] for layer in layers(book)]}
        caption = "Range of a layer's widest channel over its median channel's."
        album.bars("range-by-layer", [r["name"] for r in layers(book)], spreads, "times", caption)
        return
    rows = group(book, name)
    if name == "mixed":
        mixed = {f"{r['weights']} on average": [x["bits"] for x in r["layers"]] for r in rows if r["mixed"]}
        names = [layer["name"] for layer in next(r["layers"] for r in rows if r["mixed"])]
        album.bars("bits-by-layer", names, mixed, "bits", "The bits that each layer gets.")
    _bars(f"points-{name}", rows, name, album)


def _bars(name: str, rows: Sequence[Row], by: str, album: Album) -> None:
    """Points against float: a group for what is alike, a bar for what is compared."""
    groups = list(dict.fromkeys(_alike(r, by) for r in rows))
    labels = list(dict.fromkeys(_label(r, by) for r in rows))
    found = {(_alike(r, by), _label(r, by)): r["difference"] for r in rows}
    series = {label: [found.get((g, label), float("nan")) for g in groups] for label in labels}
    album.bars(name, groups, series, _POINTS, _CAPTIONS[by])


def _alike(row: Row, by: str) -> str:
    if by == "observers":
        return f"{row['activations']}-bit activations"
    if by == "levels":
        return f"per {row['granularity']}"
    if by == "mixed":
        return f"{row['weights']} bits"
    if by == "repairs":
        return f"per {row['granularity']}"
    weights = f"W{row['weights']}" if row["weights"] else "W float"
    if by == "activations":
        return weights
    bits = weights + (f"A{row['activations']}" if row["activations"] else "")
    other = row["granularity"] if by == "symmetry" else _sign(row)
    return f"{bits}, {other}"


def _label(row: Row, by: str) -> str:
    if by == "levels":
        linear = "linear, least error" if row["fit"] == "mse" else "linear, range"
        return linear if row["levels"] == LINEAR else str(row["levels"])
    if by == "activations":
        return f"{row['activations']}-bit activations" if row["activations"] else "float activations"
    labels = {
        "observers": str(row["observer"]),
        "mixed": "mixed" if row["mixed"] else "uniform",
        "repairs": row["repair"] or "as rounded",
        "symmetry": _sign(row),
        "granularity": f"per {row['granularity']}",
    }
    return labels[by]


def _sign(row: Row) -> str:
    return "symmetric" if row["symmetric"] else "asymmetric"
