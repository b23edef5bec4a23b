"""The questions of `lab ptq` on item 2, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Mapping

from pithnet.commands.bench import HELPS, where
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent
from pithnet.labs.ptq.rows import files, float_file, sizes, static_file, times
from pithnet.labs.ptq.scheme_answers import scheme_answers
from pithnet.labs.ptq.source import (
    DYNAMIC,
    FLOAT,
    LOSSES_IN_TABLES,
    LOSSES_IN_TEXT,
    RESNET,
    STATIC,
    VGG,
    Published,
)


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = (
        ("What does int8 cost, and what does it gain?", _static),
        ("Static or dynamic, and why does dynamic hardly help?", _dynamic),
        ("Where does the source contradict its own tables?", _contradictions),
    )
    found = [Answer("2", question, answer(book)) for question, answer in asked if book.of("2")]
    return [*found, *scheme_answers(book), Answer(SETTINGS, "Which settings?", _settings(book))]


def _static(book: Notebook) -> str:
    base, parts = float_file(book), []
    for row in [r for r in files(book) if r["kind"] == STATIC]:
        parts.append(
            f"{row['what'].capitalize()}: {row['mib']:.2f} MiB of {base['mib']:.2f}, "
            f"{base['bytes'] / row['bytes']:.2f} times smaller; {percent(row['accuracy'])}, "
            f"{difference(row)} against float{_times(book, row) if row is static_file(book) else ''}"
        )
    parts += [_kernels(static_file(book)) + _verdict(book) + _published(book, STATIC)]
    return ". ".join(parts)


def _times(book: Notebook, row: Row) -> str:
    """'; 20.1 / 25.0 % of PyTorch eager's time and ... (batches of 1, 1 thread / batches of 64, 1 thread)'"""
    mine = [t for t in times(book) if t["file"] == row["file"]]
    if not mine:
        return ""
    eager, runtime = (
        " / ".join(f"{100 * t[key]:.1f}" for t in mine) for key in ("share_of_eager", "share_of_float32")
    )
    cells = " / ".join(where(t["batch"], t["threads"]) for t in mine)
    return f"; {eager} % of PyTorch eager's time and {runtime} % of ONNX Runtime's float32 ({cells})"


def _kernels(row: Row) -> str:
    """What runs in int8, and how close the file is to the network simulated in PyTorch."""
    kinds = ("convolutions", "additions", "linear_layers")
    counted = [f"{row[f'int8_{k}']} of {row[k]} {k.replace('_', ' ')}" for k in kinds if row[k]]
    left = f"; left in float: {', '.join(row['float_names'])}" if row["float_names"] else ""
    same, n = row["same_class"]
    return (
        f"In int8 run {', '.join(counted)}{left}. The file's answers differ from the simulation's by at most "
        f"{row['max_difference'] / row['step']:.2f} steps of 8 bits over the logits' range, "
        f"{100 * row['within_a_step']:.2f} % by no more than one, and name the same class for {same:,} of "
        f"{n:,} test images."
    )


def _verdict(book: Notebook) -> str:
    """Where static int8 did not help."""
    mine = [t for t in times(book) if t["file"] == static_file(book)["file"]]
    slow = [where(t["batch"], t["threads"]) for t in mine if t["share_of_float32"] >= HELPS]
    return f" It did not help against the same runtime's float32 with {', '.join(slow)}." if slow else ""


def _published(book: Notebook, kind: str) -> str:
    """The source's numbers for the same network, beside its sizes in the form for ImageNet."""
    row, text = next(r for r in files(book) if r["kind"] == kind), ""
    if "source_accuracy" in row:
        source = float_file(book)["source_accuracy"]
        text = (
            f" The source has {percent(source)} -> {percent(row['source_accuracy'])} and "
            f"{100 * row['source_time']:.1f} % of the time."
        )
    listed = [f"{r['kind']} {r['mib']:.2f} (source {r['source_mib']:.2f})" for r in sizes(book)]
    if listed and kind == STATIC:
        text += f" VGG-16 in the form for ImageNet, in MiB: {', '.join(listed)}."
    return text


def _dynamic(book: Notebook) -> str:
    base, row = float_file(book), next(r for r in files(book) if r["kind"] == DYNAMIC)
    same, n = row["same_class"]
    text = (
        f"Dynamic int8: {row['mib']:.2f} MiB of {base['mib']:.2f}, {difference(row)} against float, the same "
        f"class for {same:,} of {n:,} test images{_times(book, row)}. Only linear layers take part, "
        f"{row['int8_linear_layers']} here with {percent(row['linear_share'])} of the weights; all "
        f"{row['convolutions']} convolutions stay in float, in the file and at work. "
    )
    large = next((r for r in sizes(book) if r["kind"] == DYNAMIC), None)
    if large is not None:
        whole = next(r for r in sizes(book) if r["kind"] == FLOAT)
        text += (
            f"In the form for ImageNet linear layers hold {percent(large['linear_share'])} of the weights, "
            f"and the file shrinks from {whole['mib']:.2f} to {large['mib']:.2f} MiB. "
        )
    return (
        f"{text.rstrip()}{_published(book, DYNAMIC)} Known beside this run: a convolution uses each weight "
        "at every pixel, so convolutions do nearly all multiplications even where linear layers hold most "
        "weights; and a range that is looked for in every batch costs a pass over the activations, which "
        "calibrating once saves."
    )


def _contradictions(book: Notebook) -> str:
    text, tables = (" and ".join(f"{v:.2f}" for v in values) for values in (LOSSES_IN_TEXT, LOSSES_IN_TABLES))
    row = next(r for r in files(book) if r["kind"] == DYNAMIC)
    shares = [t["share_of_float32"] for t in times(book) if t["file"] == row["file"]]
    took = (
        f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % of its float32 time" if shares else "no time"
    )
    return (
        f"Its text speaks of losses of {text} points, its tables hold {tables}: for VGG-16 static int8 goes "
        f"from {percent(VGG[FLOAT].accuracy)} to {percent(VGG[STATIC].accuracy)}. Its tables let dynamic "
        f"int8 gain {_gain(RESNET):.2f} points and {100 * (1 - RESNET[DYNAMIC].time):.1f} % of the time of a "
        "ResNet-18 of which one linear layer of 512 x 10 weights is quantized, in a file that grows from "
        f"{RESNET[FLOAT].mib:.2f} to {RESNET[DYNAMIC].mib:.2f} MiB. Neither can come from that layer: here "
        f"dynamic int8 changes {row['difference']:+.2f} points (95 % interval {row['difference_low']:+.2f} "
        f"to {row['difference_high']:+.2f}) and takes {took}."
    )


def _gain(published: Mapping[str, Published]) -> float:
    """Points that dynamic int8 gains over float."""
    return 100 * (published[DYNAMIC].accuracy - published[FLOAT].accuracy)


def _settings(book: Notebook) -> str:
    s = book.facts["settings"]
    return (
        f"Nothing is trained after the float network. Ranges and repairs come from {s['calibration']:,} "
        f"random training images, bits of mixed precision from {s['sensitivity']:,} of them, without their "
        "labels; no choice is made on test images. BN is multiplied into the layers before it in every row "
        "of item 3, as int8 runtimes compute. Weights span the range from the smallest to the largest "
        "unless a row says `of least error`; the house's observer is `mse`, a histogram whose range has the "
        "least squared error, which is the source's too. Times are medians of interleaved rounds."
    )
