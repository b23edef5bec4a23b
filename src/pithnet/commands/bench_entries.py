"""Who takes part in a bench: files in runtimes, and the references they are compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from pithnet.commands.models import build_network, check_architecture
from pithnet.commands.networks import open_network
from pithnet.commands.onnx_facts import onnx_facts
from pithnet.commands.settings import BenchSettings
from pithnet.deploy import (
    Contender,
    OnnxSession,
    Runner,
    export_onnx,
    openvino_runner,
    operators,
    torch_runner,
)

EAGER, ONNX, OPENVINO = "PyTorch eager", "ONNX Runtime", "OpenVINO"
FLOAT, INT8 = "float32", "int8"


@dataclass(frozen=True)
class Entry:
    """A row to be: a file in a runtime. Rows of one `network` are compared."""

    network: str
    name: str
    runtime: str
    precision: str
    bytes: int | None
    contender: Contender


@dataclass
class _Field:
    """All that runs in one bench, and the temporary folder for what is exported for it."""

    folder: Path
    openvino: bool
    entries: list[Entry] = field(default_factory=list)

    def has(self, network: str, runtime: str) -> bool:
        """Whether a float32 reference of that network runs in that runtime already."""
        return any((e.network, e.runtime, e.precision) == (network, runtime, FLOAT) for e in self.entries)

    def shape_of(self, network: str) -> Any:
        """What the network's first file takes."""
        return next(e.contender.shape for e in self.entries if e.network == network)

    def add_torch(self, network: str, name: str, size: int | None, model: nn.Module, shape: Any) -> None:
        """A model in PyTorch, and as float32 ONNX in the other runtimes where they have none of it yet."""
        contender = Contender(name, shape, partial(torch_runner, model))
        self.entries.append(Entry(network, name, EAGER, FLOAT, size, contender))
        if not self.has(network, ONNX):
            path = self.folder / f"{len(self.entries)}.onnx"
            export_onnx(model, shape, path)
            self.add_onnx(network, f"{name}, exported", path, FLOAT)

    def add_onnx(self, network: str, name: str, path: Path, precision: str) -> None:
        shape = OnnxSession(path, threads=1).shape
        runners: dict[str, Callable[[int], Runner]] = {ONNX: partial(OnnxSession, path)}
        if self.openvino:
            runners[OPENVINO] = partial(openvino_runner, path)
        for runtime, runner in runners.items():
            contender = Contender(name, shape, runner)
            self.entries.append(Entry(network, name, runtime, precision, path.stat().st_size, contender))


def bench_entries(files: Sequence[Path], settings: BenchSettings, folder: Path) -> list[Entry]:
    """Lists the files in their runtimes, with PyTorch and float32 ONNX references of every known network.

    Args:
        files: ONNX files, .pith files and checkpoints.
        settings: The architecture of checkpoints, and whether OpenVINO runs too.
        folder: The folder for what is exported on the way.

    Raises:
        PithError: A file cannot be used.
    """
    found = _Field(folder, settings.openvino)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    # ONNX files first: what they hold in float32 need not be exported again.
    for path in sorted(files, key=lambda p: p.suffix != ".onnx"):
        if path.suffix == ".onnx":
            facts = onnx_facts(path)
            known = facts.architecture or (
                (check_architecture(settings.model), {}) if settings.model else None
            )
            network = json.dumps(known) if known else str(path)
            if known:
                wanted[network] = known
            found.add_onnx(network, path.name, path, _precision(path))
        else:
            opened = open_network(path, settings.model)
            network = json.dumps(opened.architecture or (opened.name, {}))
            shape = opened.shape(settings.example)
            found.add_torch(network, path.name, path.stat().st_size, opened.model, shape)
    for network, (name, arguments) in wanted.items():
        if not found.has(network, EAGER):
            model = build_network(name, **arguments).eval()
            found.add_torch(network, f"{name}, random weights", None, model, found.shape_of(network))
    return found.entries


def _precision(path: Path) -> str:
    counted = operators(path)
    return INT8 if sum(counted.int8(kind) for kind in counted.float_names) else FLOAT
