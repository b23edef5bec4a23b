"""Accuracy and size of a file: a .pith, an ONNX file or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet.artifact import Metadata
from pithnet.commands.devices import get_device
from pithnet.commands.inputs import check_fit, load_images, normalization_of
from pithnet.commands.loaders import own_loaders
from pithnet.commands.models import is_artifact, load_artifact, load_checkpoint, require_checkpoint_name
from pithnet.commands.settings import DataSettings
from pithnet.data import DATASETS, Normalization
from pithnet.errors import PithError
from pithnet.learn import evaluate_together, try_measuring
from pithnet.run.progress import Quiet
from pithnet.run.result import measured_json


@dataclass(frozen=True, eq=False)
class _Opened:
    """A network from its file.

    Attributes:
        model: The network in eval mode, on its device.
        name: Its architecture, or package.module:function; None where nothing names it.
        normalization: How the file says that images are normalised, None where it does not say.
        dataset: The data set that the file names, if any.
        checkpoint: The file, where it is a checkpoint: its keys say how images are normalised.
    """

    model: nn.Module
    name: str | None
    normalization: Normalization | None = None
    dataset: str | None = None
    checkpoint: Path | None = None


def measure(
    file: Path,
    data: DataSettings,
    model: str | None = None,
    *,
    device: str = "cpu",
    report: Quiet | None = None,
) -> dict[str, Any]:
    """Measures a .pith, an ONNX file, or a checkpoint.

    Args:
        file: What to measure.
        data: The images, or loaders of the user's own. Where it names no set, a .pith is measured on the one
            that it names.
        model: The architecture of a checkpoint; package.module:function for a network of the user's own.
        device: "cpu" or "cuda".
        report: Shows what happens; nothing where None.

    Returns:
        accuracy (0 to 1, or the mean of the user's own metric), its interval, metric, share, loss, n, bytes
        and what was measured on what.

    Raises:
        PithError: A file, an architecture, data or a device cannot be used.
    """
    place = get_device(device)
    if file.suffix == ".onnx" and place.type != "cpu":
        raise PithError(f"{file} runs in ONNX Runtime on the CPU; leave out --device {device}")
    opened = _onnx(file) if file.suffix == ".onnx" else _network(file, model)
    opened.model.to(place)
    if data.own:
        found = _on_loaders(opened.model, data)
    else:
        found = _on_images(opened, data, str(file), report or Quiet())
    return {**found, "bytes": file.stat().st_size, "file": str(file), "architecture": opened.name}


def _network(file: Path, model: str | None) -> _Opened:
    if not is_artifact(file):
        name = require_checkpoint_name(model, file)
        return _Opened(load_checkpoint(name, file), name, checkpoint=file)
    network = load_artifact(file, model)
    meta = getattr(network, "pith", Metadata())
    normalization = None if meta.normalization is None else Normalization(*meta.normalization)
    return _Opened(network, meta.architecture or model, normalization, meta.dataset)


def _onnx(file: Path) -> _Opened:
    # Only here: no other file needs these runtimes.
    from pithnet.commands.onnx_facts import onnx_facts
    from pithnet.deploy import OnnxNetwork

    network, facts = OnnxNetwork(file), onnx_facts(file)
    name = facts.architecture[0] if facts.architecture else None
    return _Opened(network, name, facts.normalization)


def _on_loaders(model: nn.Module, data: DataSettings) -> dict[str, Any]:
    loaders = own_loaders(data)
    val = loaders.wanted("val", "and there is nothing to measure on")
    measurable = try_measuring(model, val, loaders.loss, loaders.metric)
    loss = loaders.loss if measurable else None
    measured = evaluate_together([model], val, loss=loss, metric=loaders.metric)[0]
    on = {"dataset": loaders.name, "measured_on": f"samples of {loaders.name}", "normalization": None}
    return {**(measured_json(measured) or {}), **on}


def _on_images(opened: _Opened, data: DataSettings, file: str, report: Quiet) -> dict[str, Any]:
    if data.data is None and opened.dataset in DATASETS:
        data = replace(data, data=opened.dataset)
    images = load_images(data, train=False, progress=report.download)
    said = opened.normalization if data.normalize is None else None
    n = said or normalization_of(data, opened.checkpoint)
    check_fit(opened.model, images, n, opened.name or file)
    measured = evaluate_together([opened.model], images.test_batches(n))[0]
    on = {"dataset": images.name, "measured_on": f"images of {images.name}"}
    normalization = {"mean": list(n.mean), "std": list(n.std)}
    return {**(measured_json(measured) or {}), **on, "normalization": normalization}
