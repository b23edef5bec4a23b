"""From the model that trains to the model that ships: the very numbers the file stores."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import RecipeError, nearest
from pithnet.surgery.parametrizations import (
    Codebook,
    latent_weight,
    parametrization,
    release,
    weighted_layers,
)


def float32(values: Tensor) -> Tensor:
    """The values as they are."""
    return values


def float16(values: Tensor) -> Tensor:
    """The nearest float16 values, in float32; beyond float16's range they stay as they are."""
    rounded = values.half().float()
    return torch.where(rounded.isfinite(), rounded, values)


def fixed8(values: Tensor) -> Tensor:
    """The nearest multiples of 2^-s in -127..127, with the largest s that holds the largest value."""
    return _fixed(values, 127)


def fixed10(values: Tensor) -> Tensor:
    """As `fixed8`, with integers in -511..511."""
    return _fixed(values, 511)


def _fixed(values: Tensor, limit: int) -> Tensor:
    top = float(values.abs().max()) if values.numel() else 0.0
    if top == 0:
        return torch.zeros_like(values)
    step = 2.0 ** -int(torch.floor(torch.log2(torch.tensor(limit / top, dtype=torch.float64))))
    # In float64, because a step for subnormal values is none in float32. + 0.0 turns -0.0 into 0.0.
    integers = (values.double() / step).round().clamp(-limit, limit)
    return (integers * step).to(values.dtype) + 0.0


ROUNDINGS = {"float32": float32, "float16": float16, "fixed10": fixed10, "fixed8": fixed8}


@dataclass(frozen=True)
class Storage:
    """How exactly the file keeps what is not entropy-coded levels: names of ROUNDINGS.

    codebook: the levels of shared weights. norm: BN's scale and shift, after folding its statistics into them
    where `fold`. other: biases, and weights that are not shared.
    """

    codebook: str = "float16"
    norm: str = "float16"
    other: str = "float16"
    fold: bool = True

    def __post_init__(self) -> None:
        for name in (self.codebook, self.norm, self.other):
            if name not in ROUNDINGS:
                raise RecipeError(f"unknown storage format {name!r}.{nearest(name, ROUNDINGS)}")


@torch.no_grad()
def fold_batchnorm_(model: nn.Module) -> None:
    """Folds every BN's statistics into its weight and bias, in place: mean 0, variance 1 - eps are left.

    y = (x - m) / sqrt(v + eps) * g + b becomes y = x * g' + b'. sqrt((1 - eps) + eps) is exactly 1 in
    float32, so the division is exact too. The statistics are gone: further training estimates them anew. A BN
    without statistics or without affine parameters stays as it is, and so does one that is folded already.
    """
    for bn in model.modules():
        if (
            not isinstance(bn, _BatchNorm)
            or bn.running_mean is None
            or bn.running_var is None
            or not bn.affine
        ):
            continue
        unit = torch.full_like(bn.running_var, 1 - bn.eps)
        if not bool(bn.running_mean.any()) and torch.equal(bn.running_var, unit):
            continue  # 1 - eps is rounded in float32: a second division could move the last bit
        scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
        bn.bias.copy_((bn.bias.double() - bn.running_mean.double() * scale).float())
        bn.weight.copy_(scale.float())
        bn.running_mean.zero_()
        bn.running_var.copy_(unit)


@torch.no_grad()
def finalize(model: nn.Module, storage: Storage = Storage()) -> nn.Module:
    """A copy of `model` with plain tensors, in eval mode, rounded to what the file stores.

    The artifact encoder codes any float32 tensor exactly, so this copy and the reloaded file give the same
    bits.
    """
    final = copy.deepcopy(model).eval()
    rounded: set[str] = set()
    for name, layer in weighted_layers(final):
        if isinstance(parametrization(layer, Codebook), Codebook):
            centroids = latent_weight(layer)
            centroids.copy_(ROUNDINGS[storage.codebook](centroids))
            rounded.add(f"{name}.weight" if name else "weight")
        release(layer)
    if storage.fold:
        fold_batchnorm_(final)
    norms = {n for n, m in final.named_modules() if isinstance(m, _BatchNorm)}
    for name, p in final.named_parameters():
        if name not in rounded:
            rounding = storage.norm if name.rpartition(".")[0] in norms else storage.other
            p.copy_(ROUNDINGS[rounding](p))
    return final
