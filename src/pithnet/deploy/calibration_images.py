"""Images for calibration and others for the check, from whatever holds them; no label is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.deploy.exporting import float32_copy
from pithnet.deploy.signature import INPUT, Call, call_of, cast, named_tensors
from pithnet.errors import DataError, ModelError
from pithnet.learn import read_batch
from pithnet.learn.batch import describe
from pithnet.surgery import unwrapped

MOST = 640
_CHECKED, _EVERY, _FEW = 128, 5, 32
_BATCH = 100


@dataclass(frozen=True, eq=False)
class CalibrationImages:
    """A network and the images that its ranges are found on and its file is checked on.

    Attributes:
        model: A float32 copy of the network whose forward takes one tensor.
        calibrate: Batches (B, ...) on the CPU.
        check: (N, ...), other images where `unseen`.
        unseen: Whether `check` is of other images than `calibrate`.
        name: The input's name.
        cast: The dtype of the weights where it was not float32.
    """

    model: nn.Module
    calibrate: list[Tensor]
    check: Tensor
    unseen: bool
    name: str = INPUT
    cast: str | None = None


def calibration_images(model: nn.Module, images: Any, example: Any = None) -> CalibrationImages:
    """Reads at most 640 images, and keeps every fifth of them for the check alone where there are 32 or more.

    Args:
        model: The network.
        images: A tensor (N, ...) or any loader that pithnet takes.
        example: An input (B, ...) that says the lengths of the axes after the first; the first batch without.

    Raises:
        DataError: There are no images, or they cannot be used; the message names the batch.
        ModelError: The model cannot take the images.
    """
    model = unwrapped(model)
    batches: list[Tensor] = []
    total = 0
    lengths = None if example is None else _one(model, example, "the example").tensors[0].shape[1:]
    call: Call | None = None
    for number, inputs in enumerate(_inputs(images), 1):
        given = _one(model, inputs, f"batch {number}")
        call, (x,) = call or given, given.tensors
        lengths = x.shape[1:] if lengths is None else lengths
        _check(x, lengths, f"batch {number}")
        batches.append(x[: MOST - total])
        total += len(batches[-1])
        if total >= MOST:
            break
    if call is None or not total:
        raise DataError("there are no images to calibrate on; give a tensor (N, ...) or a loader of images")
    narrow, was = _one_input(model, call)
    _try(model, narrow, batches[0])
    calibrate, check = _divided(batches) if total >= _FEW else (batches, torch.cat(batches))
    return CalibrationImages(narrow, calibrate, check, total >= _FEW, call.names[0], was)


def _one_input(model: nn.Module, call: Call) -> tuple[nn.Module, str | None]:
    """Returns a float32 copy of the model whose forward takes the call's only tensor, and the dtype before.

    What follows a forward reads it from the class, so the copy has a class of its own.
    """
    narrow, was = float32_copy(model)
    cls = type(narrow)

    def forward(self: nn.Module, x: Tensor) -> Any:
        args, kwargs = call.with_tensors(iter([x]))
        return cls.forward(self, *args, **kwargs)

    narrow.__class__ = type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
    return narrow, was


def _inputs(images: Any) -> Iterator[Any]:
    """Yields what the model is called with, batch by batch."""
    if images is None:
        return
    batches = images.split(_BATCH) if isinstance(images, Tensor) and len(images) else images
    if isinstance(batches, Tensor):
        return
    try:
        contents = iter(batches)
    except TypeError:
        raise DataError(
            f"images are a tensor (N, ...) or a loader, and this is {describe(images)}; give one of the two"
        ) from None
    for content in contents:
        yield read_batch(content).inputs


def _one(model: nn.Module, inputs: Any, where: str) -> Call:
    call = cast(call_of(model, inputs), torch.float32)
    if len(call.tensors) != 1:
        raise DataError(
            f"{where} holds {len(call.tensors)} tensors ({', '.join(call.names)}), and calibrated int8 takes "
            "networks of one; linear layers can be int8 without calibration: "
            "pn.deploy.export_onnx(pn.deploy.dynamic_int8(model).model, example, path)"
        )
    return call


def _check(x: Tensor, lengths: torch.Size, where: str) -> None:
    if x.shape[1:] != lengths:
        raise DataError(
            f"{where} has images of {tuple(x.shape[1:])}, the ones before it, or the example, of "
            f"{tuple(lengths)}; give images of one shape"
        )
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise DataError(f"the images of {where} hold NaN or inf; repair the data")


@torch.no_grad()
def _try(model: nn.Module, narrow: nn.Module, x: Tensor) -> None:
    """Checks that the model takes the images at all, and answers in numbers."""
    try:
        answer = narrow(x[:2])
    except Exception as e:  # whatever a user's module raises
        cause = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise ModelError(
            f"{type(model).__name__} cannot take the images, {describe(x)}: {cause[:160]}; give images as "
            "it is called with them"
        ) from None
    if any(t.is_floating_point() and bool(t.isnan().any()) for t in named_tensors(answer).values()):
        name = type(model).__name__
        raise ModelError(f"{name} answers NaN to the first images; repair the weights or the data")


def _divided(batches: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Returns the batches without every fifth image, and these, 128 at most."""
    calibrate, check, seen = [], [], 0
    for x in batches:
        kept = torch.arange(seen, seen + len(x)) % _EVERY == 0
        seen += len(x)
        check.append(x[kept])
        if not bool(kept.all()):
            calibrate.append(x[~kept])
    return calibrate, torch.cat(check)[:_CHECKED]
