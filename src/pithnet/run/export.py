"""A trained network as an ONNX file, in float32 or int8, checked against the model it was made from."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.data import ArrayData, Batches
from pithnet.deploy import (
    Agreement,
    agreement,
    dynamic_int8,
    export_onnx,
    has_int8_instructions,
    operators,
    static_int8,
    with_stored_biases,
)
from pithnet.errors import DataError, PithError
from pithnet.passes import quantize
from pithnet.run.inputs import Images, check_fit, training_images
from pithnet.run.networks import OpenedNetwork, open_network
from pithnet.run.progress import Quiet
from pithnet.run.settings import DataSettings, ExportSettings
from pithnet.tensor import integer_grid

_BATCH, _CHECKED = 64, 128
_CODEBOOK = 256


def export(
    file: Path, to: Path, data: DataSettings, settings: ExportSettings, *, report: Quiet | None = None
) -> dict[str, Any]:
    """Writes `to` and returns what was found: bytes, precision, operators, float_names, max_difference, ...

    Static int8 is calibrated on training images, labels unused; the check runs on others. Raises PithError
    where a file, the data or the model cannot be used, before anything is written where that can be known.
    """
    if settings.int8 and settings.dynamic:
        raise PithError("--int8 calibrates, --dynamic does not: give one of the two")
    if not to.parent.is_dir():
        raise PithError(f"{to.parent} is not a folder; make it first, or choose another --to")
    show, opened = report or Quiet(), open_network(file, settings.model)
    if settings.int8:
        return _static(opened, to, data, settings, show)
    show.note("exporting")
    precision = "int8 dynamic" if settings.dynamic else "float32"
    exported = dynamic_int8(opened.model).model if settings.dynamic else opened.model
    export_onnx(exported, opened.shape, to, opened.facts(precision, opened.normalization(opened.data(data))))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_CHECKED if max(opened.shape) < 100 else 2, *opened.shape, generator=generator)
    return _result(opened, to, precision, opened.model, list(images.split(_BATCH)), ())


def _static(
    opened: OpenedNetwork, to: Path, data: DataSettings, settings: ExportSettings, show: Quiet
) -> dict[str, Any]:
    data = opened.data(data)
    normalization, (seen, unseen) = opened.normalization(data), calibration_images(data, settings)
    check_fit(opened.model, Images(data.name, None, seen), normalization, opened.architecture[0])
    exact, levels = _as_they_are(opened.model)
    show.note(f"calibrating on {len(seen):,} training images")
    simulated, batches = copy.deepcopy(opened.model), Batches(seen, _BATCH, normalization)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        quantize(simulated, 8, activations=8, calibrate=batches, overrides=dict.fromkeys([*exact, *levels]))
    for warning in said:
        show.note(f"warning: {warning.message}")
    show.note("exporting")
    lowered = static_int8(simulated)
    shape = tuple(seen.images.shape[1:])
    export_onnx(lowered.model, shape, to, opened.facts("int8 static", normalization))
    images_left = [x for x, *_ in Batches(unseen, _BATCH, normalization) if x is not None]
    simulated = with_stored_biases(simulated, to)
    found = _result(opened, to, "int8 static", simulated, images_left, lowered.in_float)
    return found | {"calibrated_on": len(seen), "dataset": data.name}


def calibration_images(data: DataSettings, settings: ExportSettings) -> tuple[ArrayData, ArrayData]:
    """Random training images: as many as --calibrate says, and up to 128 others for the check."""
    if settings.calibrate < 1:
        raise DataError(f"--calibrate {settings.calibrate}: static int8 needs at least one image")
    try:
        train, _ = training_images(data)
    except DataError as e:
        raise DataError(f"static int8 is calibrated on training images. {e}") from None
    if settings.calibrate >= len(train):
        raise DataError(
            f"--calibrate {settings.calibrate}: choose 1 to {len(train) - 1} of {len(train)} images"
        )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(settings.seed))
    seen, unseen, _ = order.tensor_split([settings.calibrate, settings.calibrate + _CHECKED])
    return train.take(seen), train.take(unseen)


def _as_they_are(model: nn.Module) -> tuple[list[str], list[str]]:
    """Layers that int8 holds exactly already, and layers of few levels on no grid: none is rounded."""
    exact, levels = [], []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight: Tensor = layer.weight.detach()
            if integer_grid(weight) is not None:
                exact.append(name)
            elif weight.numel() > 2 * _CODEBOOK and weight.unique().numel() <= _CODEBOOK:
                levels.append(name)
    return exact, levels


def _result(
    opened: OpenedNetwork,
    to: Path,
    precision: str,
    model: nn.Module,
    batches: Sequence[Tensor],
    weights_in_float: Sequence[str],
) -> dict[str, Any]:
    found = operators(to)
    return {
        "file": str(to),
        "architecture": opened.architecture[0],
        "precision": precision,
        "bytes": to.stat().st_size,
        "source_bytes": opened.file.stat().st_size,
        "float32_bytes": 4 * sum(p.numel() for p in opened.model.parameters()),
        "operators": found.counts,
        "lines": found.lines() if precision != "float32" else [],
        "int8": {kind: found.int8(kind) for kind in found.float_names},
        "in_float": found.float_names if precision != "float32" else {},
        "codebooks_in_float": list(weights_in_float),
        **agreement_columns(agreement(to, model, batches)),
        "int8_instructions": has_int8_instructions(),
    }


def agreement_columns(found: Agreement) -> dict[str, Any]:
    """What results say of a file's agreement with the model it was made from."""
    return {
        "max_difference": found.max_difference,
        "step": found.step,
        "within_a_step": found.within_a_step,
        "same_class": [found.same, found.n],
    }


def export_lines(found: dict[str, Any]) -> list[str]:
    """For people."""
    sizes = f"{found['bytes']:,} bytes ({found['bytes'] / 2**20:.2f} MiB)"
    smaller = f"{found['float32_bytes'] / found['bytes']:.2f}x smaller than float32"
    same, n = found["same_class"]
    difference = f"{found['max_difference']:.3g}"
    if found["precision"] == "int8 static":
        steps = found["max_difference"] / found["step"]
        difference += f" ({steps:.1f} steps of 8 bits; {100 * found['within_a_step']:.2f} % within one)"
    lines = [f"{found['file']}: {found['precision']}, {sizes}, {smaller}", *found["lines"]]
    if found["codebooks_in_float"]:
        lines.append(
            "kept in float, as int8 cannot hold these weights exactly: "
            + ", ".join(found["codebooks_in_float"])
        )
    lines.append(
        f"ONNX Runtime against PyTorch: largest difference {difference}; same class for {same} of {n} images"
    )
    if found["precision"] != "float32" and found["int8_instructions"] is False:
        lines.append(NO_VNNI)
    return lines


NO_VNNI = (
    "warning: this processor has no int8 multiplication (VNNI): int8 gains little here and sums may saturate"
)
