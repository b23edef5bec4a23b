"""What is known to compute as torch's own layers and BatchNorms do, so that statistics can be folded."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from pithnet.surgery.graph.lookup import modules_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.weights.chains import chain
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS

_Module = TypeVar("_Module", bound=nn.Module)
LAYERS = modules_of(Kind.LINEAR, Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION)
_NORMS = modules_of(Kind.BATCH_NORM)
# Every method through which a subclass, or an instance, may compute something else.
_METHODS = (
    "__call__",
    "_wrapped_call_impl",
    "_call_impl",
    "forward",
    "_conv_forward",
    "_output_padding",
    "train",
    "eval",
)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_GLOBAL_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks")
_TOLERANCE = 1e-5


def layer_obstacle(layer: nn.Module) -> str | None:
    """Says why a layer may compute otherwise than torch's, or cannot take BN into its weight, or None.

    Looks through parametrizations of pithnet's; another library's are an obstacle.
    """
    own = own_way(layer, LAYERS)
    if own is not None:
        return own
    assert isinstance(layer, nn.Linear | _ConvNd)
    if any(not isinstance(part, PARAMETRIZATIONS) for part in chain(layer)):
        return f"has a parametrization of another library ({type(chain(layer)[0]).__name__})"
    if parametrize.is_parametrized(layer, "bias"):
        return "has a parametrized bias"
    return None if layer.weight.is_floating_point() else f"has a weight of {layer.weight.dtype}"


def norm_obstacle(bn: _BatchNorm) -> str | None:
    """Says why a BN may compute otherwise than torch's, or has no statistics to fold; None where it has."""
    own = own_way(bn, _NORMS)
    if own is not None:
        return own
    if bn.running_mean is None or bn.running_var is None:
        return "has no running statistics"
    return "is parametrized" if parametrize.is_parametrized(bn) else None


def own_way(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> str | None:
    """Says what may make a module compute otherwise than the one of `kinds` it derives from, or None."""
    kind = next((kind for kind in kinds if isinstance(module, kind)), None)
    if kind is None:
        return "is no layer of torch's"
    for method in _METHODS:
        inherited = getattr(kind, method, None)
        if method in vars(module) or getattr(type(module), method, None) is not inherited:
            return f"has a {method} of its own"
    if any(getattr(module, hooks) for hooks in _HOOKS):
        return "has a hook"
    if any(getattr(torch_modules, hooks) for hooks in _GLOBAL_HOOKS):
        return "is under a global hook of torch's"
    return None


def in_float64(module: _Module) -> _Module:
    """Makes a copy in eval mode, on the CPU and in float64, in which no later change of the module shows."""
    return copy.deepcopy(module).eval().cpu().double()


def agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Tells whether the relative error (Frobenius) is at most 1e-5, or a step of a coarser `dtype`.

    Numbers that are not finite agree with none.
    """
    allowed = max(_TOLERANCE, torch.finfo(dtype).eps)
    difference = torch.linalg.vector_norm(found - expected)
    return bool(difference <= allowed * torch.linalg.vector_norm(expected))


def norm_inputs(bn: _BatchNorm) -> Tensor:
    """Draws random inputs of the mean and variance that a BN expects, float64 (64, C, ...).

    They are always the same.
    """
    assert bn.running_mean is not None
    assert bn.running_var is not None
    drawn = torch.randn(64, bn.num_features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bn.running_mean.cpu().double() + drawn * bn.running_var.cpu().double().sqrt()
    return found.view(*found.shape, *[1] * (fewest_axes(bn) - 2))


def fewest_axes(bn: _BatchNorm) -> int:
    """Finds the fewest axes of an input that a BN of torch's takes."""
    for axes in (2, 3, 4):
        try:
            bn._check_input_dim(torch.empty([0] * axes))
        except ValueError:
            continue
        return axes
    return 5


def layer_inputs(layer: nn.Linear | _ConvNd, mean: Tensor, variance: Tensor) -> Tensor:
    """Draws random inputs of a float64 layer, (2, channels, ...) or (8, features); always the same.

    Normal numbers of one mean and one deviation, so chosen that the outputs come as near as that allows to
    the mean (C,) and variance (C,) that they had in training.
    """
    shape = _input_shape(layer)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rest = layer(torch.zeros_like(noise))
    over = [d for d in range(rest.ndim) if d != 1]
    constant = (layer(torch.ones_like(noise)) - rest).mean(over)
    spread = (layer(noise) - rest).square().mean(over)
    level = (constant @ (mean.cpu().double() - rest.mean(over)) / (constant @ constant)).nan_to_num(0, 0, 0)
    deviation = (variance.cpu().double().sum() / spread.sum()).sqrt()
    return level + (deviation if 0 < float(deviation) < torch.inf else 1.0) * noise


def _input_shape(layer: nn.Linear | _ConvNd) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return 8, layer.in_features
    # Padding that mirrors or wraps needs more numbers than it adds; transposed layers cut off what it says.
    padding = max(
        (*layer._reversed_padding_repeated_twice, *(p for p in layer.padding if isinstance(p, int)))
    )
    sizes = [
        dilation * (kernel - 1) + 2 * padding + 2
        for kernel, dilation in zip(layer.kernel_size, layer.dilation, strict=True)
    ]
    return 2, layer.in_channels, *sizes
