"""An int8 file from a trained network in one call, checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.atomic import write_atomic
from pithnet.deploy.biases import with_stored_biases
from pithnet.deploy.calibration_images import CalibrationImages, calibration_images
from pithnet.deploy.exporting import export_onnx, float32_copy
from pithnet.deploy.graph import Operators, operators
from pithnet.deploy.int8 import static_int8
from pithnet.deploy.runtimes import has_int8_instructions
from pithnet.deploy.signature import Call
from pithnet.deploy.verification import Agreement, agreement
from pithnet.errors import ModelError, PithError
from pithnet.passes import quantize
from pithnet.surgery import activation_quantizers, check_usable, refusals, weighted_layers
from pithnet.tensor import integer_grid

NO_VNNI = (
    "warning: this processor has no int8 multiplication (VNNI): int8 gains little here and sums may saturate"
)
_CODEBOOK = 256


@dataclass(frozen=True, eq=False)
class Int8Export:
    """An int8 ONNX file and what was found out about it; `print` shows it.

    Attributes:
        path: The file.
        bytes: Its size.
        float32_bytes: The size of the model's parameters in float32.
        agreement: How near the file's answers are to the float model's, in ONNX Runtime.
        simulation: How near they are to the quantized model's in PyTorch; these differ only where a number
            falls in the middle between two integers.
        operators: What ONNX Runtime runs in int8 and in float.
        layers_in_float: Layers whose weights int8 does not hold exactly, or that another module computes
            with.
        norms_in_float: BatchNorms that were not folded.
        calibrated_on: Number of images that the ranges were found on.
        checked_on: Number of images that the file was checked on.
        unseen: Whether the check was on other images.
        batch: How many samples a batch has, None for any.
        cast: The dtype of the weights where it was not float32.
    """

    path: Path
    bytes: int
    float32_bytes: int
    agreement: Agreement
    simulation: Agreement
    operators: Operators
    layers_in_float: tuple[str, ...]
    norms_in_float: tuple[str, ...]
    calibrated_on: int
    checked_on: int
    unseen: bool
    batch: int | None = None
    cast: str | None = None

    @property
    def float_operators(self) -> dict[str, tuple[str, ...]]:
        """The names of what computes with floating-point numbers in ONNX Runtime, by ONNX operator."""
        return self.operators.in_float

    def lines(self) -> list[str]:
        """Returns what `print` shows, line by line."""
        smaller = f"{self.float32_bytes / self.bytes:.2f}x smaller than the float32 weights"
        checked = f"{self.checked_on:,} {'others' if self.unseen else 'of them'}"
        said = [
            f"{self.path}: int8, {self.bytes:,} bytes, {smaller}",
            f"calibrated on {self.calibrated_on:,} images, checked in ONNX Runtime on {checked}",
            f"against the float model: {self.agreement}",
            f"against its simulation in PyTorch: {self.simulation}",
            *self.operators.lines(),
        ]
        if self.float_operators:
            left = "; ".join(f"{op} ({_few(names)})" for op, names in self.float_operators.items())
            said.append(f"operators in float: {left}")
        if self.layers_in_float:
            said.append(f"kept in float, as int8 cannot hold them exactly: {_few(self.layers_in_float)}")
        if self.norms_in_float:
            said.append(f"BatchNorm that could not be folded: {_few(self.norms_in_float)}")
        if self.cast:
            said.append(f"the model's {self.cast} weights were cast to float32")
        if self.batch is not None:
            said.append(f"batches have to be of {self.batch}: forward makes a constant of the batch's size")
        return [*said, NO_VNNI] if has_int8_instructions() is False else said

    def __str__(self) -> str:
        return "\n".join(self.lines())


def export_int8(model: nn.Module, images: Any, path: str | Path, example: Any = None) -> Int8Export:
    """Writes a trained network as an ONNX file that computes in int8; one call does everything.

    It folds BatchNorm into the layers before it, finds the ranges of the activations on the images, rounds
    weights to 8 bits per channel, exports, and compares the file's answers in ONNX Runtime with the float
    model's. Weights that int8 holds exactly already, and codebooks, are not rounded again.

        found = pn.export_int8(model, train_loader, "model.onnx")
        print(found)

    What cannot be done is refused before anything is computed.

    Args:
        model: The network, which stays as it is.
        images: A tensor (N, ...) or any loader that pithnet takes; labels are never read. About 500 are
            enough, and of more than 640 the first 640 are taken. A fifth of them, 128 at most, is kept for
            the check alone, unless there are fewer than 32.
        path: The file to write; it is written when all is checked.
        example: An input (B, ...) that says the lengths of the axes after the first; the first batch without.

    Raises:
        DataError: There are no images, one has another shape than the example, they hold NaN or inf, or the
            model takes more than one tensor.
        ModelError: The weights hold NaN or inf, the model cannot take the images or is quantized already, or
            its forward cannot be followed; the message says what can be done.
        PithError: The file cannot be written.
    """
    to = Path(path)
    if not to.parent.is_dir():
        raise PithError(f"{to.parent} is not a folder; make it first, or choose another path")
    _check_model(model)
    return write_int8(calibration_images(model, images, example), to)


def write_int8(images: CalibrationImages, path: Path, facts: Mapping[str, str] | None = None) -> Int8Export:
    """Does what `export_int8` does, with images that were read and checked.

    Args:
        images: The network and its images.
        path: The file to write.
        facts: Names and values for the file's metadata.
    """
    plain, _ = float32_copy(images.model)
    simulated, _ = float32_copy(images.model)
    _quantize_(simulated, images.calibrate)
    lowered = static_int8(simulated)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        example = Call((images.calibrate[0],), {}, (images.name,))
        written = export_onnx(lowered.model, example, file, facts)
        check = list(_batches(images.check, written.batch))
        answers = agreement(file, plain, check)
        simulation = agreement(file, with_stored_biases(simulated, file), check)
        counted = operators(file)
        write_atomic(path, file.read_bytes())
    return Int8Export(
        path=path,
        bytes=written.bytes,
        float32_bytes=4 * sum(p.numel() for p in plain.parameters()),
        agreement=answers,
        simulation=simulation,
        operators=counted,
        layers_in_float=lowered.in_float,
        norms_in_float=tuple(n for n, m in simulated.named_modules() if isinstance(m, _BatchNorm)),
        calibrated_on=sum(map(len, images.calibrate)),
        checked_on=sum(map(len, check)),
        unseen=images.unseen,
        batch=written.batch,
        cast=images.cast,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


def _check_model(model: nn.Module) -> None:
    check_usable(model)
    if activation_quantizers(model):
        raise ModelError(
            "the activations are quantized already; give the model before that, or write this one: "
            "export_onnx(static_int8(model).model, example, path)"
        )
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and bool(value.isnan().any()):
            raise ModelError(f"{name} holds NaN; train the model again, or load a checkpoint that is whole")


def _quantize_(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Rounds weights and activations to 8 bits, in place; what cannot be rounded is left as it is."""
    skip = [refusal.names[0] for refusal in refusals(model) if refusal.names[0]]
    kept = dict.fromkeys(_as_they_are(model))
    model.requires_grad_(False)  # what forward does in train mode does not matter here
    try:
        quantize(model, 8, activations=8, calibrate=batches, overrides=kept, skip=skip, fit="range")
    except ModelError as e:
        if not any(isinstance(m, nn.Linear) for m in model.modules()):
            raise
        raise ModelError(
            f"{e}. Linear layers alone can be int8 without calibration and whatever forward does: "
            "pn.deploy.export_onnx(pn.deploy.dynamic_int8(model).model, example, path)"
        ) from None


def _as_they_are(model: nn.Module) -> list[str]:
    """Returns the layers that int8 holds exactly already, or that have few levels on no grid.

    None of them is rounded.
    """
    kept = []
    for name, layer in weighted_layers(model):
        weight = layer.weight.detach()
        few = weight.numel() > 2 * _CODEBOOK and weight.unique().numel() <= _CODEBOOK
        if few or integer_grid(weight) is not None:
            kept.append(name)
    return kept


def _batches(images: Tensor, batch: int | None) -> Sequence[Tensor]:
    """Returns the images in batches of 64, or of exactly `batch`."""
    if batch is None:
        return images.split(64)
    whole = len(images) - len(images) % batch
    return (images[:whole] if whole else images.repeat(batch, *[1] * (images.ndim - 1))[:batch]).split(batch)
