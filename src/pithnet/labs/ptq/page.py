"""What `lab ptq` shows: CSV tables, plots and the page with its answers, from results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pithnet.labs.columns import ACCURACY, percent_rows
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.page import open_page, write_answers, write_facts, write_tables
from pithnet.labs.phrases import Answer
from pithnet.labs.pictures import Album
from pithnet.labs.ptq.answers import answers
from pithnet.labs.ptq.figures import draw_group, draw_times
from pithnet.labs.ptq.rows import files, group, layers, measured_groups, sizes, times
from pithnet.report import Page

_TITLES = {
    "granularity": "3. Per tensor or per channel",
    "symmetry": "3. Symmetric or asymmetric weights",
    "observers": "3. Observers of activations",
    "levels": "3. Linear and other levels",
    "mixed": "3. Mixed precision",
    "activations": "3. Weights only, or activations too",
    "repairs": "3. Repairs without training",
    "sparsity": "3. Zeros of activations",
}
_SIZE = {"mib": "MiB", "bytes": "bytes", "source_mib": "source MiB"}
_POINTS = {"difference": "points vs float", "difference_low": "from", "difference_high": "to"}
_FILES = {"what": "file", **_SIZE, **ACCURACY, **_POINTS, "source_accuracy": "source %"}
_KERNELS = {
    "what": "file",
    "convolutions": "convolutions in int8",
    "additions": "additions in int8",
    "linear_layers": "linear layers in int8",
    "float_names": "left in float",
    "max_difference": "largest difference",
    "step": "step",
    "within_a_step": "within a step %",
    "same_class": "same class, of images",
}
_TIMES = {
    "file": "file",
    "runtime": "runtime",
    "batch": "batch",
    "threads": "threads",
    "ms": "ms",
    "ms_low": "middle half from",
    "ms_high": "to",
    "rounds": "rounds",
    "share_of_eager": "of PyTorch eager %",
    "share_of_float32": "of its float32 %",
}
_SCHEMES = {
    "what": "scheme",
    "average_bits": "bits per weight",
    "weight_error": "weight error",
    **ACCURACY,
    **_POINTS,
    "rival": "beside",
    "rival_difference": "points",
    "rival_difference_low": "low",
    "rival_difference_high": "high",
}
_PAIRED = "Differences are paired over the same test images, with 95 % intervals."


def write_results(book: Notebook) -> None:
    """Writes tables, plots and index.html beside results.json, for the items that have been measured."""
    page = open_page(book, "Post-training quantization")
    album, said = Album(page, book.out), answers(book)
    page.section("0. The float network")
    columns = {"what": "network", "parameters": "parameters", **ACCURACY}
    write_tables(book, "0", columns, page, "95 % Wilson intervals.")
    if book.of("2"):
        _files(book, page, album, said)
    for name in measured_groups(book):
        page.section(_TITLES[name])
        _compared(book, name, page, album)
        write_answers(page, said, f"3 {name}")
    write_facts(book, page, said)
    page.write(book.out / "index.html")


def _files(book: Notebook, page: Page, album: Album, said: Sequence[Answer]) -> None:
    """Item 2: sizes and accuracy, kernels, times, and the sizes of the source's form."""
    page.section("2. Static and dynamic int8")
    write_tables(book, "2", _FILES, page, f"Accuracy in ONNX Runtime. {_PAIRED}", files(book))
    page.table(percent_rows([_kernels(r) for r in files(book)], _KERNELS), caption=_KERNELS_CAPTION)
    write_tables(book, "2-times", _TIMES, page, "Medians of interleaved rounds.", times(book))
    draw_times(book, album)
    if sizes(book):
        columns = {"what": "file", **_SIZE, "note": "measured with"}
        write_tables(book, "2-sizes", columns, page, "The form for ImageNet: sizes only.", sizes(book))
    write_answers(page, said, "2")


_KERNELS_CAPTION = (
    "What ONNX Runtime computes in int8, and how far its answers are from PyTorch's: from the simulation of "
    "static int8, else from the float network."
)


def _kernels(row: Row) -> Row:
    """The row with counts and names as they read best in few columns."""
    counted = {k: f"{row[f'int8_{k}']} of {row[k]}" for k in ("convolutions", "additions", "linear_layers")}
    same = "{:,} of {:,}".format(*row["same_class"])
    return row | counted | {"same_class": same, "float_names": _named(row["float_names"])}


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")


def _compared(book: Notebook, name: str, page: Page, album: Album) -> None:
    """A comparison of item 3: its table and its figure."""
    if name == "sparsity":
        columns = {
            "name": "layer",
            "zero_share": "zeros after its ReLU %",
            "spread": "range, widest to median",
        }
        write_tables(book, "3-layers", columns, page, "BN folded; training images.", layers(book))
    else:
        rows = group(book, name)
        write_tables(book, f"3-{name}", _columns(rows), page, _PAIRED, rows)
    draw_group(book, name, album)


def _columns(rows: Sequence[Row]) -> Mapping[str, str]:
    stepped = any(r["activation_step"] for r in rows)
    return _SCHEMES | ({"activation_step": "activation step"} if stepped else {})
