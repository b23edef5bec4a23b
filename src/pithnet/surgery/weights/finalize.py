"""The model that ships, from the model that trains: the very numbers the file stores."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from pithnet.errors import RecipeError, require_known
from pithnet.surgery.graph.foldable import agree, in_float64, norm_inputs, norm_obstacle
from pithnet.surgery.graph.folding import norms_after_layers
from pithnet.surgery.modes import always_training
from pithnet.surgery.weights.chains import latent_weight, parametrization, release_all
from pithnet.surgery.weights.holders import weighted_layers
from pithnet.surgery.weights.parametrizations import Codebook, TrainedLevels
from pithnet.surgery.weights.unsupported import check_usable
from pithnet.surgery.weights.weight_quantization import fake_quantizer, unquantized_weight
from pithnet.surgery.wrappers import unwrapped

_COARSE = 1 / 4  # of the median size: a wider step leaves half of the values few digits or none


def float32(values: Tensor) -> Tensor:
    """Returns the values as they are."""
    return values


def float16(values: Tensor) -> Tensor:
    """Returns the nearest float16 values, in float32; beyond float16's range they stay as they are."""
    rounded = values.half().float()
    return torch.where(rounded.isfinite(), rounded, values)


def fixed8(values: Tensor) -> Tensor:
    """Returns the nearest multiples of 2^-s in -127..127, with the largest s that holds the largest value.

    Where that is too coarse for half of the values, because a few are much larger, it returns `float16`'s.
    """
    return _fixed(values, 127)


def fixed10(values: Tensor) -> Tensor:
    """Returns the nearest multiples of 2^-s in -511..511, as `fixed8` does."""
    return _fixed(values, 511)


def _fixed(values: Tensor, limit: int) -> Tensor:
    top = float(values.abs().max()) if values.numel() else 0.0
    if top == 0:
        return torch.zeros_like(values)
    step = 2.0 ** -int(torch.floor(torch.log2(torch.tensor(limit / top, dtype=torch.float64))))
    if step > _COARSE * float(values[values != 0].abs().double().median()):
        return float16(values)
    # In float64, because a step for subnormal values is none in float32. + 0.0 turns -0.0 into 0.0.
    integers = (values.double() / step).round().clamp(-limit, limit)
    return (integers * step).to(values.dtype) + 0.0


ROUNDINGS = {"float32": float32, "float16": float16, "fixed10": fixed10, "fixed8": fixed8}


@dataclass(frozen=True)
class Storage:
    """How exactly the file keeps what is not entropy-coded levels; each rounding is a name of ROUNDINGS.

    Args:
        codebook: The rounding of the levels of shared weights.
        norm: The rounding of BN's scale and shift.
        other: The rounding of biases, and of weights that are not shared.
        fold: Whether BN's statistics are folded into its scale and shift first.

    Raises:
        RecipeError: A rounding is unknown.
    """

    codebook: str = "float16"
    norm: str = "float16"
    other: str = "float16"
    fold: bool = True

    def __post_init__(self) -> None:
        for name in (self.codebook, self.norm, self.other):
            require_known("storage format", name, ROUNDINGS, RecipeError)


@torch.no_grad()
def fold_batchnorm_(model: nn.Module) -> None:
    """Folds every BN's statistics into its weight and bias, in place: mean 0, variance 1 - eps are left.

    y = (x - m) / sqrt(v + eps) * g + b becomes y = x * g' + b'. sqrt((1 - eps) + eps) is exactly 1 in
    float32, so the division is exact too. The statistics are gone: further training estimates them anew. A BN
    without statistics or without affine parameters stays as it is, and so do one that is folded already, one
    that shares its weight or bias with another module, whose statistics are others, and one that may compute
    something else than torch's (a forward of its own, a hook). A folded copy is compared with the BN first,
    in float64 on random inputs: where they differ by more than 1e-5 (Frobenius; a step of the weight's dtype
    in half precision), the BN stays.
    """
    holders = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    training = always_training(model)
    for bn in model.modules():
        if not isinstance(bn, _BatchNorm) or not bn.affine or bn in training or norm_obstacle(bn) is not None:
            continue
        if max(holders[id(bn.weight)], holders[id(bn.bias)]) > 1 or _is_folded(bn):
            continue
        folded = copy.deepcopy(bn)
        _fold(folded)
        x = norm_inputs(bn)
        if agree(in_float64(folded)(x), in_float64(bn)(x), bn.weight.dtype):
            _fold(bn)


def _is_folded(bn: _BatchNorm) -> bool:
    """Tells whether a BN is folded: a second division could move the last bit, as 1 - eps is rounded."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return not bool(bn.running_mean.any()) and torch.equal(bn.running_var, _unit(bn.running_var, bn.eps))


def _unit(variance: Tensor, eps: float) -> Tensor:
    return torch.full_like(variance, 1 - eps)


def _fold(bn: _BatchNorm) -> None:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    bn.bias.copy_((bn.bias.double() - bn.running_mean.double() * scale).float())
    bn.weight.copy_(scale.float())
    bn.running_mean.zero_()
    bn.running_var.copy_(_unit(bn.running_var, bn.eps))


def _forget_dead_channels_(model: nn.Module) -> None:
    """Gives BN a scale of 0 for the outputs of layers whose weights are all zero, in place.

    Such a channel is constant, so only the shift counts. Its variance is 0, and its scale would be hundreds
    of times the others', which have to share a step with it.
    """
    if not any(_has_dead_channels(layer.weight) for _, layer in weighted_layers(model)):
        return
    modules = dict(model.named_modules())
    for name, norm in norms_after_layers(model).items():
        layer, bn = modules[name], modules[norm]
        assert isinstance(bn, _BatchNorm)
        if isinstance(layer, _ConvTransposeNd) or not _is_folded(bn):
            continue
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        dead = ~weight.flatten(1).any(1)
        if isinstance(bias, Tensor):
            bn.bias.add_(torch.where(dead, bias * bn.weight, 0.0))
        bn.weight.masked_fill_(dead, 0.0)


def _has_dead_channels(weight: Tensor) -> bool:
    return weight.ndim > 1 and not bool(weight.flatten(1).any(1).all())


@torch.no_grad()
def finalize(model: nn.Module, storage: Storage = Storage()) -> nn.Module:
    """Returns a copy of a model with plain tensors, in eval mode, rounded to what the file stores.

    The artifact encoder codes any float32 tensor exactly, so this copy and the reloaded file give the same
    bits. Other libraries' parametrizations (weight_norm) become plain tensors too.

    Args:
        model: Any network.
        storage: How exactly the file keeps what is not entropy-coded.

    Raises:
        ModelError: A lazy module has no weights yet, or the model cannot be copied.
    """
    model = unwrapped(model)
    check_usable(model)
    final = copy.deepcopy(model).eval()
    if storage.fold:
        fold_batchnorm_(final)
    formats: dict[int, str] = {}
    for _, layer in weighted_layers(final):
        if parametrization(layer, TrainedLevels):
            formats[id(latent_weight(layer))] = storage.codebook
        elif parametrization(layer, Codebook):
            centroids = latent_weight(layer)
            centroids.copy_(ROUNDINGS[storage.codebook](centroids))
            formats[id(centroids)] = "float32"  # it is the plain weight, rounded, once the chain is off
        quantizer = fake_quantizer(layer)
        if quantizer is not None:
            quantizer.settle(unquantized_weight(layer))
            formats[id(latent_weight(layer))] = "float32"  # its levels are what the file keeps
    release_all(final)
    if any(name.startswith("fixed") for name in (storage.norm, storage.other)):
        _forget_dead_channels_(final)
    norms = {id(p) for m in final.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    for p in final.parameters():
        p.copy_(ROUNDINGS[formats.get(id(p), storage.norm if id(p) in norms else storage.other)](p))
    return final
