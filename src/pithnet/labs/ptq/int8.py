"""Item 2 of `lab ptq`: int8 files, measured in ONNX Runtime, timed, and compared with their simulation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from pithnet.commands.bench import bench, where
from pithnet.commands.export import agreement_columns
from pithnet.commands.onnx_facts import OnnxFacts
from pithnet.commands.settings import BenchSettings
from pithnet.commands.train import save_checkpoint
from pithnet.deploy import OnnxNetwork, agreement, operators
from pithnet.labs.notebook import Row
from pithnet.labs.ptq.files import FORMS, Form, size_columns, write
from pithnet.labs.ptq.items import PtqLab, linear_columns
from pithnet.labs.ptq.source import published_columns
from pithnet.labs.training import accuracy_columns
from pithnet.learn import evaluate

_WORK = {"convolution": "convolutions", "addition": "additions", "linear layer": "linear_layers"}


def exported(lab: PtqLab) -> None:
    """A row per file: size, accuracy in ONNX Runtime, what runs in int8, and how far it is from PyTorch."""
    _folder(lab).mkdir(exist_ok=True)
    for form in FORMS:
        lab.book.row("2", form.what, partial(_exported, lab, form))


def timed(lab: PtqLab) -> None:
    """A row per file, runtime, size of batch and number of threads; all of them timed in turn."""
    found = lab.book.load("times")
    if found is None:
        found = {"rows": _bench(lab)}
        lab.book.save("times", found)
    for row in found["rows"]:
        what = f"{row['file']} in {row['runtime']}, {where(row['batch'], row['threads'])}"
        lab.book.row("2", what, partial(_time_columns, row))


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


def _folder(lab: PtqLab) -> Path:
    return lab.book.out / "models"


def _exported(lab: PtqLab, form: Form) -> Row:
    path = _folder(lab) / form.file
    facts = OnnxFacts((lab.bench.architecture, {}), lab.bench.normalization, form.kind).to_metadata()
    expected = write(
        form, lab.start, lab.images, path, facts, lambda s: s.apply(lab.folded, lab.images).model
    )
    measured = evaluate(OnnxNetwork(path), lab.bench.test_batches())
    test = [x for x, *_ in lab.bench.test_batches() if x is not None]
    compared = torch.cat(test)[: lab.settings.compared].split(100)
    return {
        "kind": form.kind,
        "network": lab.bench.architecture,
        "file": path.name,
        **size_columns(path),
        **accuracy_columns(measured, lab.float_correct),
        **_operator_columns(path),
        **agreement_columns(agreement(path, expected, compared)),
        **linear_columns(lab.start),
        **published_columns(lab.bench.architecture, form.kind),
    }


def _operator_columns(path: Path) -> Row:
    """Of each kind of work, how many there are and how many run in int8; the names of those in float."""
    found, row = operators(path), {}
    for kind, name in _WORK.items():
        row[f"int8_{name}"] = found.int8(kind)
        row[name] = found.int8(kind) + len(found.float_names[kind])
    left = [name for names in found.float_names.values() for name in names]
    return {**row, "float_names": left}


def _time_columns(row: dict[str, Any]) -> Row:
    low, high = row["ms_middle_half"]
    kept = ("file", "runtime", "precision", "batch", "threads", "ms", "rounds", "share_of_eager")
    return {key: row[key] for key in (*kept, "share_of_float32")} | {"ms_low": low, "ms_high": high}
