"""Item 2 of `lab ptq`: float32, static and dynamic int8 as ONNX files, measured, timed, and their sizes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pithnet import zoo
from pithnet.commands.bench import bench, where
from pithnet.commands.export import agreement_columns
from pithnet.commands.onnx_facts import OnnxFacts
from pithnet.commands.settings import BenchSettings
from pithnet.deploy import (
    OnnxNetwork,
    agreement,
    dynamic_int8,
    export_onnx,
    operators,
    static_int8,
    with_stored_biases,
)
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq.lab import PtqLab, linear_columns
from pithnet.labs.ptq.schemes import HOUSE, SOURCE, Scheme
from pithnet.labs.ptq.source import DYNAMIC, FLOAT, STATIC, published_columns
from pithnet.labs.training import accuracy_columns
from pithnet.learn import evaluate
from pithnet.passes import quantize
from pithnet.run.states import save_checkpoint

IMAGENET = "vgg16-imagenet"
_RANDOM_IMAGES = 4
_WORK = {"convolution": "convolutions", "addition": "additions", "linear layer": "linear_layers"}
_TIMES = ("file", "runtime", "precision", "batch", "threads", "ms", "rounds", "share_of_eager")


class Form(NamedTuple):
    """A file: its name in the table, its kind, and the scheme where it is static int8."""

    what: str
    kind: str
    scheme: Scheme | None = None

    @property
    def file(self) -> str:
        """The name of the ONNX file."""
        return self.what.replace(",", "").replace(" ", "-") + ".onnx"

    def write(
        self,
        model: nn.Module,
        images: Tensor,
        path: Path,
        facts: Mapping[str, str],
        simulate: Callable[[Scheme], nn.Module],
    ) -> nn.Module:
        """Writes the file; returns the model that it should answer as."""
        shape, lowered, expected = tuple(images.shape[1:]), model, model
        if self.scheme is not None:
            expected = simulate(self.scheme)
            lowered = static_int8(expected).model
        elif self.kind == DYNAMIC:
            lowered = dynamic_int8(model).model
        export_onnx(lowered, shape, path, facts)
        return with_stored_biases(expected, path) if self.scheme else expected


FORMS = (
    Form(FLOAT, FLOAT),
    Form(f"{STATIC}, per channel", STATIC, HOUSE),
    Form(f"{STATIC}, per tensor", STATIC, SOURCE),
    Form(DYNAMIC, DYNAMIC),
)


def measured(lab: PtqLab) -> None:
    """Measures a row per file; per file, runtime, batch size and threads; and per file of ImageNet's form."""
    _folder(lab).mkdir(exist_ok=True)
    for form in FORMS:
        lab.book.row("2", form.what, partial(_exported, lab, form))
    _timed(lab)
    if lab.settings.imagenet:
        _sized(lab.book)


def _folder(lab: PtqLab) -> Path:
    return lab.book.out / "models"


def _exported(lab: PtqLab, form: Form) -> Row:
    """Size, accuracy in ONNX Runtime, what runs in int8, and how far it is from PyTorch."""
    path = _folder(lab) / form.file
    facts = OnnxFacts((lab.bench.architecture, {}), lab.bench.normalization, form.kind).to_metadata()
    expected = form.write(lab.start, lab.images, path, facts, lambda s: s.apply(lab.folded, lab.images).model)
    found = evaluate(OnnxNetwork(path), lab.bench.test_batches())
    test = [x for x, *_ in lab.bench.test_batches() if x is not None]
    compared = torch.cat(test)[: lab.settings.compared].split(100)
    return {
        "kind": form.kind,
        "network": lab.bench.architecture,
        "file": path.name,
        **_size_columns(path),
        **accuracy_columns(found, lab.float.correct),
        **_operator_columns(path),
        **agreement_columns(agreement(path, expected, compared)),
        **linear_columns(lab.start),
        **published_columns(lab.bench.architecture, form.kind),
    }


def _size_columns(path: Path) -> Row:
    size = path.stat().st_size
    return {"bytes": size, "mib": size / 2**20}


def _operator_columns(path: Path) -> Row:
    """Of each kind of work, how many there are and how many run in int8; the names of those in float."""
    found, row = operators(path), {}
    for kind, name in _WORK.items():
        row[f"int8_{name}"] = found.int8(kind)
        row[name] = found.int8(kind) + len(found.float_names[kind])
    left = [name for names in found.float_names.values() for name in names]
    return {**row, "float_names": left}


def _timed(lab: PtqLab) -> None:
    """A row per file, runtime, size of batch and number of threads; all of them timed in turn."""
    found = lab.book.load("times")
    if found is None:
        found = {"rows": _bench(lab)}
        lab.book.save("times", found)
    for row in found["rows"]:
        low, high = row["ms_middle_half"]
        columns = {key: row[key] for key in (*_TIMES, "share_of_float32")} | {"ms_low": low, "ms_high": high}
        what = f"{row['file']} in {row['runtime']}, {where(row['batch'], row['threads'])}"
        lab.book.row("2", what, partial(dict, columns))


def _bench(lab: PtqLab) -> list[dict[str, Any]]:
    """The rows of `bench` for the files and, as a checkpoint in PyTorch eager, the network itself."""
    checkpoint = _folder(lab) / "float32.pt"
    save_checkpoint(checkpoint, lab.start.state_dict())
    s = lab.settings
    settings = BenchSettings(
        model=lab.bench.architecture, batch=s.batches, threads=s.threads, seconds=s.seconds
    )
    files = [_folder(lab) / form.file for form in FORMS]
    rows: list[dict[str, Any]] = bench([*files, checkpoint], settings, report=lab.book.progress)["rows"]
    return rows


def _sized(book: Notebook) -> None:
    """Sizes of the source's VGG-16, whose weights and images are random here: they do not change its size."""
    for form in (FORMS[0], FORMS[1], FORMS[3]):
        book.row("2", f"{IMAGENET}, {form.kind}", partial(_imagenet_row, form))


def _imagenet_row(form: Form) -> Row:
    torch.manual_seed(0)
    model = zoo.build(IMAGENET).eval().requires_grad_(False)
    images = torch.randn(_RANDOM_IMAGES, *zoo.input_shape(IMAGENET))

    def simulate(scheme: Scheme) -> nn.Module:
        quantize(model, scheme.weights, activations=scheme.activations, calibrate=images, fit="range")
        return model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / form.file
        form.write(model, images, path, {}, simulate)
        row = {"kind": form.kind, "network": IMAGENET, **_size_columns(path)}
    note = "random weights" + (f", calibrated on {_RANDOM_IMAGES} random images" if form.scheme else "")
    return {**row, "note": note, **linear_columns(model), **published_columns(IMAGENET, form.kind)}
