"""Every number on the page of a real run is one of the run's files, or follows from them by a stated rule."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pithnet import artifact, zoo
from pithnet.report import publish
from pithnet.run.measurements import measurements

from .reader import Reader

RECORDS = Path(__file__).parents[2] / "records"
RUN = "resnet20-public-28x"
# 95 % intervals, a limit of one point, bytes and bits of a float32.
SAID = (95, 1, -1, 0, 4, 32)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?=x?(?!\.?\w))")
AMOUNT = re.compile(r"([\d,]{4,})(?: \([+-][\d,]+\))?")
PARTS = ("positions", "symbols", "codebook", "other")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record with measurements of its file against fresh weights, a plan, and logged zeros."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(RECORDS / RUN / "recipe.yaml", folder)
    results = json.loads((RECORDS / RUN / "results.json").read_text())
    vectors = [t for t in results["tensors"] if len(t["shape"]) < 2]
    left_out = [{"name": t["name"], "parameters": t["shape"][0], "why": "bias and norm"} for t in vectors]
    (folder / "results.json").write_text(json.dumps({**results, "coverage": 0.98765, "left_out": left_out}))
    shutil.copy(RECORDS / f"{RUN}.pith", folder / "model.pith")
    measured = measurements(zoo.build("resnet20"), artifact.load(folder / "model.pith"))
    (folder / "measurements.json").write_text(json.dumps(measured))
    events = [json.loads(line) for line in (RECORDS / RUN / "events.jsonl").read_text().splitlines()]
    for i, event in enumerate(events):
        if event["event"] == "epoch":
            event["sparsity"] = 0.8123 * math.tanh(i / 7)
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    plan = {"bytes": 36192, "layers": [{"name": "conv1", "bytes": 143}, {"name": "linear", "bytes": 231}]}
    (folder / "plan.json").write_text(json.dumps(plan))
    publish(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Reader:
    return Reader((run / "report.html").read_text("utf-8"))


def _json(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def _events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (leaf for v in value.values() for leaf in _leaves(v))
    elif isinstance(value, list):
        yield from (leaf for v in value for leaf in _leaves(v))
    else:
        yield value


def _sizes(r: dict[str, Any]) -> Iterator[float]:
    """Ratios and percentages of the file, its parts and its layers."""
    yield r["float_bytes"] / r["bytes"]
    for rival in r["rivals"].values():
        yield from (r["float_bytes"] / rival["bytes"], rival["bytes"] / r["bytes"])
    yield from (100 * size / r["bytes"] for size in r["parts"].values())
    weights, vectors = _weights(r), [t for t in r["tensors"] if len(t["shape"]) < 2]
    for t in weights:
        yield from (_spent(t), 100 * t["zeros"] / math.prod(t["shape"]), t["bits"])
    yield from (len(vectors), sum(map(_spent, vectors)))


def _weights(r: dict[str, Any]) -> list[dict[str, Any]]:
    return [t for t in r["tensors"] if len(t["shape"]) > 1]


def _spent(t: dict[str, Any]) -> int:
    return sum(t["bytes"].values())


def _stage_sizes(r: dict[str, Any]) -> list[int]:
    """The six stages, from their definitions alone."""
    weights = _weights(r)
    sizes = [(math.prod(t["shape"]), t["zeros"], t["levels"]) for t in weights]
    rest = r["float_bytes"] - 4 * sum(n for n, _, _ in sizes)
    bitmaps = sum(math.ceil(n / 8) for n, _, _ in sizes)
    indices = sum(math.ceil((n - z) * math.ceil(math.log2(k)) / 8) + 4 * k for n, z, k in sizes)
    coded = sum(map(_spent, weights))
    frame = r["parts"]["header"] + r["parts"]["checksums"]
    pruned = 4 * sum(n - z for n, z, _ in sizes) + bitmaps + rest
    return [r["float_bytes"], pruned, indices + bitmaps + rest, coded + rest, r["bytes"] - frame, r["bytes"]]


def _stage_parts(r: dict[str, Any]) -> Iterator[int]:
    """What the stages consist of, from the same definitions: values, places, levels, vectors, frame."""
    weights = _weights(r)
    sizes = [(math.prod(t["shape"]), t["zeros"], t["levels"]) for t in weights]
    rest = r["float_bytes"] - 4 * sum(n for n, _, _ in sizes)
    yield from (4 * sum(n for n, _, _ in sizes), rest, 4 * sum(n - z for n, z, _ in sizes))
    yield sum(math.ceil(n / 8) for n, _, _ in sizes)
    yield sum(math.ceil((n - z) * math.ceil(math.log2(k)) / 8) for n, z, k in sizes)
    yield 4 * sum(k for _, _, k in sizes)
    sums = {part: sum(t["bytes"][part] for t in weights) for part in PARTS}
    frame = r["parts"]["header"] + r["parts"]["checksums"]
    yield from (*sums.values(), frame, sums["other"] + frame)
    yield r["bytes"] - frame - sum(map(_spent, weights))
    yield from (t["bytes"][part] for t in weights for part in PARTS)


def _of_epochs(epochs: list[dict[str, Any]]) -> Iterator[float]:
    """What the points of the curves say."""
    yield from range(1, len(epochs) + 1)
    for e in epochs:
        yield from (e["loss"], 100 * e["accuracy"], e["lr"], 100 * e["sparsity"])


def _known(run: Path) -> list[float]:
    """All numbers that may stand outside the tables."""
    r, epochs = _json(run, "results.json"), _events(run, "epoch")
    leaves = _leaves([{k: v for k, v in r.items() if k != "tensors"}, _json(run, "plan.json")["bytes"]])
    known = [v for v in leaves if isinstance(v, int | float)]
    known.append(100 * r["coverage"])
    known += [100 * v for key in ("before", "after") for v in _leaves(r[key]) if isinstance(v, float)]
    seconds = sum(e["seconds"] for e in epochs)
    known += [len(epochs), seconds, sum(e["images"] for e in epochs) / seconds, *_sizes(r)]
    known += [e["number"] + 1 for e in epochs] + [*_from_measurements(run)]
    stages = _stage_sizes(r)
    changes = [b - a for a, b in pairwise(stages)]
    known += [*stages, *changes, *map(abs, changes), stages[0] / stages[2], len(stages[2:])]
    passes = _events(run, "pass")
    shares = [[sum(x[k] for x in e["layers"]) for k in ("zeros", "size")] for e in passes]
    seconds = [sum(e["seconds"] for e in epochs if e["number"] == n) for n in {e["number"] for e in epochs}]
    counts = [sum(e["number"] == n for e in epochs) for n in {e["number"] for e in epochs}]
    known += [*(100 * zeros / size for zeros, size in shares if size), *seconds, *counts]
    return [*known, *_stage_parts(r), *_of_epochs(epochs), *SAID]


def _from_measurements(run: Path) -> Iterator[float]:
    for layer in _json(run, "measurements.json")["layers"]:
        size, kept = math.prod(layer["shape"]), sum(layer["after"])
        yield from (size, kept, 100 * (size - kept) / size, len(layer["levels"]))
        yield from (layer["low"], layer["high"], *layer["empty"].values())
        yield from (*layer["shape"][:2], math.prod(layer["shape"][:2]))
        yield from (*layer["before"], *layer["after"], *_leaves(layer["levels"]), *_edges(layer))


def _edges(layer: dict[str, Any]) -> list[float]:
    """Where the bins of a layer's histogram begin and end."""
    bins, wide = len(layer["before"]), layer["high"] - layer["low"]
    return [layer["low"] + wide * i / bins for i in range(bins + 1)]


def _words(run: Path) -> str:
    """The page's text but for tables, tested apart, quoted files, and names, whose digits are no results."""
    html = (run / "report.html").read_text("utf-8")
    read = Reader(re.sub(r"<table.*?</table>", "", html, flags=re.DOTALL))
    text = " ".join(t for tag, t in read.texts if tag not in ("script", "style", "pre", "text"))
    r = _json(run, "results.json")
    names = {v for v in _leaves([r, *_events(run, "epoch"), *_events(run, "pass")]) if isinstance(v, str)}
    names |= {n.removesuffix(".weight") for n in names} | {*r["rivals"]}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    return text


def _is_known(token: str, known: list[float]) -> bool:
    value = float(token.replace(",", ""))
    digits = token.partition("e")[0].partition(".")[2]
    half = 0.5 * 10.0 ** -len(digits) if "e" not in token else 0.05 * abs(value)
    return any(abs(k - value) <= half * (1 + 1e-9) for k in known)


def test_no_number_on_the_page_is_unexplained(run: Path) -> None:
    known = _known(run)
    tokens = NUMBER.findall(_words(run))
    assert len(tokens) > 300
    assert [t for t in tokens if not _is_known(t, known)] == []


def test_the_layer_tables_are_the_file(run: Path, page: Reader) -> None:
    r = _json(run, "results.json")
    weights, vectors = (t for t in page.tables if t[0][0] == "tensor")
    short = [t for t in r["tensors"] if len(t["shape"]) < 2]
    for table, tensors in ((weights[:-1], _weights(r)), (vectors, short)):
        for t, row in zip(tensors, _rows(table), strict=True):
            assert row["tensor"] == t["name"].removesuffix(".weight")
            assert row["shape"] == "×".join(map(str, t["shape"]))
            spent = [t["bytes"][part] for part in PARTS]
            exact = [math.prod(t["shape"]), t["zeros"], t["levels"], sum(spent), *spent]
            assert [_int(row[c]) for c in ("values", "zeros", "levels", "bytes", *PARTS)] == exact
            assert _is_known(row["zeros (%)"], [100 * t["zeros"] / math.prod(t["shape"])])
            assert _is_known(row["bits"], [t["bits"]])
            assert _is_known(row["share (%)"], [100 * sum(spent) / r["bytes"]])
    total = _rows([weights[0], weights[-1]])[0]
    for part in PARTS:
        assert _int(total[part]) == sum(t["bytes"][part] for t in _weights(r))
    assert _int(total["bytes"]) == sum(map(_spent, _weights(r)))
    assert _int(total["zeros"]) == sum(t["zeros"] for t in _weights(r))
    planned = {x["name"]: x["bytes"] for x in _json(run, "plan.json")["layers"]}
    assert {row["tensor"]: _int(row["planned"]) for row in _rows(weights) if row["planned"] != "–"} == planned


def test_the_other_tables_are_results_and_events(run: Path, page: Reader) -> None:
    r = _json(run, "results.json")
    scores, left_out, done, origin = (t for t in page.tables if t[0][0] != "tensor")
    for row, part in zip(_rows(left_out), r["left_out"], strict=True):
        assert (row["left out"], _int(row["parameters"]), row["why"]) == tuple(part.values())
    for row, a in zip(_rows(scores), (r["before"], r["after"]), strict=True):
        assert _is_known(row["accuracy (%)"], [100 * a["accuracy"]])
        assert _is_known(row["loss"], [a["loss"]])
        low, high = row["95 % interval"].split(" to ")
        assert _is_known(low, [100 * a["interval"][0]])
        assert _is_known(high, [100 * a["interval"][1]])
    trained = [row for row in _rows(done) if row["what"].startswith("train")]
    for number, row in enumerate(trained):
        some = [e for e in _events(run, "epoch") if e["number"] == number]
        assert (_int(row["step"]), _int(row["epochs"])) == (number + 1, len(some))
        assert _is_known(row["seconds"], [sum(e["seconds"] for e in some)])
        assert _is_known(row["first loss"], [some[0]["loss"]])
        assert _is_known(row["last loss"], [some[-1]["loss"]])
    passes = [row for row in _rows(done) if row not in trained]
    for row, event in zip(passes, _events(run, "pass"), strict=True):
        size, zeros = (sum(x[k] for x in event["layers"]) for k in ("size", "zeros"))
        assert (row["what"], _int(row["weights"]), _int(row["zeros"])) == (event["what"], size, zeros)
    facts = {row["what"]: row["value"] for row in _rows(origin)}
    assert (facts["seed"], facts["data"]) == ("0", "cifar10")
    assert _int(facts["epochs"]) == len(_events(run, "epoch"))
    assert _is_known(facts["seconds of training"], [r["train_seconds"]])
    assert {k: str(v) for k, v in r["hardware"].items()}.items() <= facts.items()


def _rows(table: list[list[str]]) -> list[dict[str, str]]:
    return [dict(zip(table[0], cells, strict=True)) for cells in table[1:]]


def _int(text: str) -> int:
    return int(text.replace(",", ""))


def test_bars_of_the_stages_add_up_to_the_file(run: Path) -> None:
    html = (run / "report.html").read_text("utf-8")
    start = html.index('<svg aria-label="From float32 to the file"')
    read = Reader(html[start : html.index("</svg>", start) + 6])
    stages = _stage_sizes(_json(run, "results.json"))
    amounts = [int(m[1].replace(",", "")) for t in read.all_of("text") if (m := AMOUNT.fullmatch(t))]
    assert amounts == [*stages, *stages[2:]], "all of them, and the late ones enlarged"
    parts = [int(m[1].replace(",", "")) for t in read.tips if (m := re.fullmatch(r".*: ([\d,]+)", t))]
    assert sum(parts) == sum(amounts)


def test_histograms_are_the_measurements(run: Path) -> None:
    html = (run / "report.html").read_text("utf-8")
    start = html.index('<svg aria-label="How the weights of each layer are spread"')
    tips = iter(Reader(html[start : html.index("</svg>", start) + 6]).tips)
    layers = _json(run, "measurements.json")["layers"]
    assert len(layers) == 20
    for layer in layers:
        before, after = layer["before"], layer["after"]
        for (low, high), counts in zip(pairwise(_edges(layer)), zip(before, after, strict=True), strict=True):
            if counts[0]:
                edges, said = next(tips).split(": ")
                assert said == f"{counts[0]:,} before, {counts[1]:,} after"
                assert all(_is_known(e, [v]) for e, v in zip(edges.split(" to "), (low, high), strict=True))
    for layer in layers:  # levels are drawn over all bins
        for value, count in layer["levels"]:
            level, weights = next(tips).removeprefix("level ").split(": ")
            assert _is_known(level, [value])
            assert weights == f"{count:,} weights"
    assert next(tips, None) is None


def test_curves_have_a_point_per_epoch_with_its_value(run: Path, page: Reader) -> None:
    epochs = _events(run, "epoch")
    values = [e["loss"] for e in epochs] + [100 * e["accuracy"] for e in epochs]
    values += [e["lr"] for e in epochs] + [100 * e["sparsity"] for e in epochs]
    points = [re.fullmatch(r".*, epoch (\d+): (.*)", tip) for tip in page.tips]
    found = [(int(m[1]), m[2]) for m in points if m]
    assert [n for n, _ in found] == 4 * [*range(1, len(epochs) + 1)]
    wrong = [(t, v) for (_, t), v in zip(found, values, strict=True) if not _is_known(t, [v])]
    assert wrong == []
