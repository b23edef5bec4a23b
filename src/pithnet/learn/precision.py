"""The number format to train in: bfloat16 is twice as fast on some processors and slower on others."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from pithnet.errors import RecipeError, require_known
from pithnet.learn.batch import call, logits_of, tensors
from pithnet.learn.randomness import seeded
from pithnet.surgery import frozen_modules, train_

PRECISIONS = ("auto", "bf16", "float32")
_STEPS = 4  # timed in each precision; the least counts


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Returns a context in which a model computes in a precision.

    Args:
        device: Where it computes.
        precision: "bf16" for bfloat16 autocast, "float32" for a context that does nothing.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def channels_last_(model: nn.Module) -> None:
    """Stores the filters of 2-D convolutions channels-last, in place, which is faster; values stay."""
    for module in model.modules():
        # Not the model as a whole: 3-D convolutions have another format of that name. Nor a subclass with a
        # forward of its own, which may `view` its filters (weight standardization). The class that torch
        # makes for a parametrized convolution inherits torch's forward.
        if getattr(type(module), "forward", None) in (nn.Conv2d.forward, nn.ConvTranspose2d.forward):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def resolve_precision(name: str, model: nn.Module, x: Any) -> str:
    """Returns "bf16" or "float32": the name itself, or for "auto" the one in which training is faster.

    Instructions for bfloat16 alone say little: AVX512-BF16 without AMX runs ResNet-20 slower than float32 on
    one make of processor and twice as fast on another.

    Args:
        name: "auto", "bf16" or "float32".
        model: The network.
        x: Inputs to measure on.

    Raises:
        RecipeError: The name is unknown.
    """
    require_known("precision", name, PRECISIONS, RecipeError)
    if name != "auto":
        return name
    with seeded(0):
        seconds = {precision: _step_seconds(model, x, precision) for precision in ("float32", "bf16")}
    # float32 wins ties: nothing is lost in it.
    return "bf16" if seconds["bf16"] < 0.9 * seconds["float32"] else "float32"


def _step_seconds(model: nn.Module, x: Any, precision: str) -> float:
    """Returns the least wall time of a forward and backward pass, of a copy: the model's statistics stay."""
    model = copy.deepcopy(model)
    train_(model, frozen_modules(model))
    channels_last_(model)
    device, best = next(tensors(x)).device, float("inf")
    for _ in range(_STEPS):
        start = time.perf_counter()
        with autocast(device, precision):
            out = call(model, x)
        logits_of(out).float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best
