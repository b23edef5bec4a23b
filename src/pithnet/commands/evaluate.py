"""Accuracy and size of a file: a .pith, an ONNX file or a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pithnet.commands.devices import get_device
from pithnet.commands.inputs import check_fit, load_images, normalization_of
from pithnet.commands.loaders import own_loaders
from pithnet.commands.networks import open_network
from pithnet.commands.settings import DataSettings
from pithnet.data import Normalization
from pithnet.errors import PithError
from pithnet.learn import evaluate_together, try_measuring
from pithnet.run.progress import Quiet
from pithnet.run.result import measured_json


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
    if file.suffix == ".onnx":
        network, name, normalization = _onnx(file)
    else:
        opened = open_network(file, model)
        # Results name the network as the .pith does, or as the user did.
        network, name = opened.model, opened.metadata.architecture or model
        data, normalization = opened.data(data), opened.normalization
    network.to(place)
    if data.own:
        found = _on_loaders(network, data)
    else:
        found = _on_images(network, name or str(file), data, normalization, report or Quiet())
    return {**found, "bytes": file.stat().st_size, "file": str(file), "architecture": name}


def _onnx(file: Path) -> tuple[nn.Module, str | None, Callable[[DataSettings], Normalization]]:
    """The network, what it is called where the file says so, and how images are normalised for it."""
    # Only here: no other file needs these runtimes.
    from pithnet.commands.onnx_facts import onnx_facts
    from pithnet.deploy import OnnxNetwork

    network, facts = OnnxNetwork(file), onnx_facts(file)

    def normalization(data: DataSettings) -> Normalization:
        return (facts.normalization if data.normalize is None else None) or normalization_of(data)

    return network, facts.architecture[0] if facts.architecture else None, normalization


def _on_loaders(model: nn.Module, data: DataSettings) -> dict[str, Any]:
    loaders = own_loaders(data)
    val = loaders.wanted("val", "and there is nothing to measure on")
    measurable = try_measuring(model, val, loaders.loss, loaders.metric)
    loss = loaders.loss if measurable else None
    measured = evaluate_together([model], val, loss=loss, metric=loaders.metric)[0]
    on = {"dataset": loaders.name, "measured_on": f"samples of {loaders.name}", "normalization": None}
    return {**(measured_json(measured) or {}), **on}


def _on_images(
    model: nn.Module,
    name: str,
    data: DataSettings,
    normalization: Callable[[DataSettings], Normalization],
    report: Quiet,
) -> dict[str, Any]:
    images = load_images(data, train=False, progress=report.download)
    n = normalization(data)
    check_fit(model, images, n, name)
    measured = evaluate_together([model], images.test_batches(n))[0]
    on = {"dataset": images.name, "measured_on": f"images of {images.name}"}
    said = {"mean": list(n.mean), "std": list(n.std)}
    return {**(measured_json(measured) or {}), **on, "normalization": said}
