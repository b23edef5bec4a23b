"""Accuracy and size of a file: a .pith or a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import zoo
from pithnet.artifact import Metadata
from pithnet.commands.devices import get_device
from pithnet.commands.inputs import (
    Images,
    check_architecture,
    check_fit,
    is_artifact,
    load_artifact,
    load_images,
    normalization_of,
)
from pithnet.commands.settings import DataSettings
from pithnet.commands.train import evaluation_json
from pithnet.data import DATASETS, Normalization
from pithnet.errors import ModelError, PithError
from pithnet.learn import evaluate
from pithnet.run.progress import Quiet


def measure(
    file: Path,
    data: DataSettings,
    model: str | None = None,
    *,
    device: str = "cpu",
    report: Quiet | None = None,
) -> dict[str, Any]:
    """Measures accuracy, loss and size of a .pith, an ONNX file, or a checkpoint of `model`.

    Where `data` names no set, a .pith is measured on the one that it names.

    Args:
        file: The file.
        data: The images.
        model: The architecture of a checkpoint.
        device: "cpu" or "cuda".
        report: Shows a download; nothing where None.

    Returns:
        accuracy, in [0, 1], with its 95 % interval, loss, n, bytes, and what was measured on what.

    Raises:
        ModelError: The file or the architecture cannot be used.
        PithError: The data or the device cannot be used.
    """
    place = get_device(device)
    if file.suffix == ".onnx":
        if place.type != "cpu":
            raise PithError(f"{file} runs in ONNX Runtime on the CPU; leave out --device {device}")
        return _measure_onnx(file, data, report or Quiet())
    network = load_artifact(file, model) if is_artifact(file) else None
    meta = getattr(network, "pith", Metadata())
    if data.data is None and meta.dataset in DATASETS:
        data = replace(data, data=meta.dataset)
    images = load_images(data, train=False, progress=(report or Quiet()).download)
    if network is None:
        if model is None:
            raise ModelError(
                f"{file} is a checkpoint, or meant to be one: add --model NAME, such as --model resnet20"
            )
        network = zoo.load(check_architecture(model), file)
        normalization = normalization_of(data, file)
    else:
        normalization = _said(meta, data)
    return _measure(file, network.to(place), images, normalization, meta.architecture or model)


def _measure_onnx(file: Path, data: DataSettings, report: Quiet) -> dict[str, Any]:
    # Only here: no other file needs these runtimes.
    from pithnet.commands.onnx_facts import onnx_facts
    from pithnet.deploy import OnnxNetwork

    network, facts = OnnxNetwork(file), onnx_facts(file)
    images = load_images(data, train=False, progress=report.download)
    normalization = None if data.normalize else facts.normalization
    name = facts.architecture[0] if facts.architecture else None
    return _measure(file, network, images, normalization or normalization_of(data), name)


def _said(meta: Metadata, data: DataSettings) -> Normalization:
    """--normalize, else what the file says, else the data set's."""
    if data.normalize is None and meta.normalization is not None:
        return Normalization(*meta.normalization)
    return normalization_of(data)


def _measure(
    file: Path, network: nn.Module, images: Images, normalization: Normalization, name: str | None
) -> dict[str, Any]:
    check_fit(network, images, normalization, name or str(file))
    found = evaluate(network, images.test_batches(normalization))
    return {
        **evaluation_json(found),
        "bytes": file.stat().st_size,
        "file": str(file),
        "architecture": name,
        "dataset": images.name,
        "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)},
    }
