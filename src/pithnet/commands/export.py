"""A trained network as an ONNX file, in float32 or int8, checked against the model it was made from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pithnet.commands.inputs import Images, check_fit, training_images
from pithnet.commands.loaders import OwnLoaders, own_loaders
from pithnet.commands.networks import OpenedNetwork, open_network
from pithnet.commands.settings import DataSettings, ExportSettings
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.deploy import (
    NO_VNNI,
    Agreement,
    CalibrationImages,
    Operators,
    agreement,
    dynamic_int8,
    export_onnx,
    has_int8_instructions,
    operators,
    write_int8,
)
from pithnet.deploy.calibration_images import calibration_images
from pithnet.errors import DataError, PithError
from pithnet.run.progress import Quiet

_BATCH, _CHECKED = 64, 128


def export(
    file: Path, to: Path, data: DataSettings, settings: ExportSettings, *, report: Quiet | None = None
) -> dict[str, Any]:
    """Writes the network as an ONNX file, and checks that against the network.

    Static int8 is calibrated on training images, labels unused; the check runs on others.

    Args:
        file: A .pith, or a checkpoint of the architecture `settings.model`.
        to: The file to write.
        data: The images for static int8, or loaders of the user's own.
        settings: What to write.
        report: Shows what happens; nothing where None.

    Returns:
        bytes, precision, operators, float_names, max_difference and more.

    Raises:
        PithError: A file, the data or the model cannot be used; it is said before anything is written where
            that can be known.
    """
    if settings.int8 and settings.dynamic:
        raise PithError("--int8 calibrates, --dynamic does not: give one of the two")
    if to.is_dir():
        raise PithError(f"{to} is a folder; give the file to write, such as {to / 'model.onnx'}")
    if not to.parent.is_dir():
        raise PithError(f"{to.parent} is not a folder; make it first, or choose another --to")
    show, opened = report or Quiet(), open_network(file, settings.model)
    loaders = own_loaders(data) if data.own else None
    if not settings.int8:
        return _float_or_dynamic(opened, to, data, settings, loaders, show)
    if loaders is not None:
        return _static_on_loaders(opened, to, loaders, settings, show)
    return _static(opened, to, data, settings, show)


def _float_or_dynamic(
    opened: OpenedNetwork,
    to: Path,
    data: DataSettings,
    settings: ExportSettings,
    loaders: OwnLoaders | None,
    show: Quiet,
) -> dict[str, Any]:
    example: Any
    if loaders is not None and settings.example is None:
        example = loaders.first().inputs
        images: Sequence[Any] = [example]
        normalization = None
    else:
        example = opened.shape(settings.example)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(_CHECKED if max(example) < 100 else 2, *example, generator=generator).split(
            _BATCH
        )
        normalization = _stated(opened, data)
    show.note("exporting")
    precision = "int8 dynamic" if settings.dynamic else "float32"
    exported = dynamic_int8(opened.model).model if settings.dynamic else opened.model
    export_onnx(exported, example, to, opened.facts(precision, normalization))
    return _result(opened, operators(to), to, precision, agreement(to, opened.model, images))


def _stated(opened: OpenedNetwork, data: DataSettings) -> Normalization | None:
    """How images are normalised, None where nothing says it of a network of the user's own."""
    said = opened.metadata.normalization or opened.architecture or data.normalize or data.data
    return None if data.own or not said else opened.normalization(opened.data(data))


def _static(
    opened: OpenedNetwork, to: Path, data: DataSettings, settings: ExportSettings, show: Quiet
) -> dict[str, Any]:
    data = opened.data(data)
    normalization, (seen, unseen) = opened.normalization(data), calibration_split(data, settings)
    check_fit(opened.model, Images(data.name, None, seen), normalization, opened.name)
    calibrate, check = (
        [x for x, *_ in Batches(images, _BATCH, normalization) if x is not None] for images in (seen, unseen)
    )
    images = CalibrationImages(opened.model, calibrate, torch.cat(check), unseen=True)
    return _calibrated(opened, to, images, data.name, normalization, show)


def _static_on_loaders(
    opened: OpenedNetwork, to: Path, loaders: OwnLoaders, settings: ExportSettings, show: Quiet
) -> dict[str, Any]:
    if settings.calibrate != ExportSettings.calibrate:
        raise DataError(
            f"--calibrate {settings.calibrate} is for the data sets that pithnet reads; of "
            f"--data {loaders.name} 512 images are taken, or as many as there are"
        )
    train = loaders.wanted("train", "and static int8 is calibrated on it")
    return _calibrated(opened, to, calibration_images(opened.model, train), loaders.name, None, show)


def _calibrated(
    opened: OpenedNetwork,
    to: Path,
    images: CalibrationImages,
    dataset: str,
    normalization: Normalization | None,
    show: Quiet,
) -> dict[str, Any]:
    count = sum(map(len, images.calibrate))
    show.note(f"calibrating on {count:,} training images")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        written = write_int8(images, to, opened.facts("int8 static", normalization))
    for warning in said:
        show.note(f"warning: {warning.message}")
    found = _result(opened, written.operators, to, "int8 static", written.simulation)
    return found | {
        "layers_in_float": list(written.layers_in_float),
        "norms_in_float": list(written.norms_in_float),
        "against_float": agreement_columns(written.agreement),
        "calibrated_on": count,
        "dataset": dataset,
    }


def calibration_split(data: DataSettings, settings: ExportSettings) -> tuple[ArrayData, ArrayData]:
    """Chooses random training images: as many as --calibrate says, and up to 128 others for the check.

    Raises:
        DataError: There are no training images, or not as many.
    """
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


def _result(
    opened: OpenedNetwork, found: Operators, to: Path, precision: str, answers: Agreement
) -> dict[str, Any]:
    return {
        "file": str(to),
        "architecture": opened.name,
        "precision": precision,
        "bytes": to.stat().st_size,
        "source_bytes": opened.file.stat().st_size,
        "float32_bytes": 4 * sum(p.numel() for p in opened.model.parameters()),
        "operators": found.counts,
        "lines": found.lines() if precision != "float32" else [],
        "int8": {kind: found.int8(kind) for kind in found.float_names},
        "in_float": found.float_names if precision != "float32" else {},
        "float_operators": found.in_float,
        "layers_in_float": [],
        "norms_in_float": [],
        **agreement_columns(answers),
        "int8_instructions": has_int8_instructions(),
    }


def agreement_columns(found: Agreement) -> dict[str, Any]:
    """Returns what results say of a file's agreement with a model."""
    return {
        "max_difference": found.max_difference,
        "relative_error": found.relative_error,
        "step": found.step,
        "within_a_step": found.within_a_step,
        "same_class": [found.same, found.n],
    }


def export_lines(found: dict[str, Any]) -> list[str]:
    """Describes what `export` found in lines for people."""
    sizes = f"{found['bytes']:,} bytes ({found['bytes'] / 2**20:.2f} MiB)"
    smaller = f"{found['float32_bytes'] / found['bytes']:.2f}x smaller than float32"
    lines = [f"{found['file']}: {found['precision']}, {sizes}, {smaller}", *found["lines"]]
    for what, names in (
        ("kept in float, as int8 cannot hold these weights exactly", found["layers_in_float"]),
        ("BatchNorm that could not be folded", found["norms_in_float"]),
    ):
        if names:
            lines.append(f"{what}: {', '.join(names)}")
    lines += _agreement_lines(found)
    if found["precision"] != "float32" and found["int8_instructions"] is False:
        lines.append(NO_VNNI)
    return lines


def _agreement_lines(found: dict[str, Any]) -> list[str]:
    same = _same_class(found)
    difference = f"{found['max_difference']:.3g}"
    if found["precision"] != "int8 static":
        return [f"ONNX Runtime against PyTorch: largest difference {difference}{same}"]
    steps = found["max_difference"] / found["step"]
    steps_said = f"{steps:.1f} steps of 8 bits; {100 * found['within_a_step']:.2f} % within one"
    exact = found["against_float"]
    return [
        f"ONNX Runtime against the same in PyTorch: largest difference {difference} ({steps_said}){same}",
        f"ONNX Runtime against the float model: relative error {exact['relative_error']:.2g}"
        f"{_same_class(exact)}",
    ]


def _same_class(found: dict[str, Any]) -> str:
    """For how many the class is the same; nothing where the outputs are no classes."""
    same, n = found["same_class"]
    return "" if same is None else f"; same class for {same} of {n} images"
