"""Ranges of channels made alike across two layers: what one step has to serve should be of one size."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from pithnet.errors import ModelError
from pithnet.passes.guard import guarded
from pithnet.surgery import chain, latent_weight
from pithnet.surgery.graph.foldable import layer_obstacle
from pithnet.surgery.graph.lookup import modules_of, operation_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import alone, module_of, traced
from pithnet.surgery.weights.parametrizations import Mask

_ROUNDS = 20
_ENOUGH = 1e-3
_Layer = _ConvNd | nn.Linear
_LAYERS = modules_of(Kind.CONVOLUTION, Kind.LINEAR)


@guarded
@torch.no_grad()
def equalize(model: nn.Module) -> int:
    """Gives neighbouring layers the same range in each channel, in place; returns how many pairs.

    Channels are rescaled between every two layers with nothing or a ReLU (a leaky one too) between them; what
    the network computes stays as it is.

    Channel c of the first layer is divided by s_c and what reads it multiplied, s_c = sqrt(r1_c / r2_c), r
    the largest magnitudes (Nagel et al. 2019, eq. 11), in turns until nothing moves. For networks without BN
    between the layers: fold it first (`surgery.fold_into_layers_`); with a step per channel the first layer
    does not need it, the second one does. Layers tied to others by a weight or bias stay as they are, and so
    do layers that may compute something else than torch's (a forward of their own, a hook).

    Args:
        model: The network, changed in place.

    Raises:
        ModelError: The forward cannot be followed, no pair is found, or weights are quantized or shared
            already.
    """
    pairs = _pairs(model)
    if not pairs:
        raise ModelError(
            "no two layers follow each other with nothing or a ReLU between; fold BatchNorm first with "
            "surgery.fold_into_layers_(model)"
        )
    for name, layer in ((n, m) for pair in pairs for n, m in pair):
        if not all(isinstance(part, Mask) for part in chain(layer)):
            raise ModelError(f"{name} is quantized or shared already; equalize before that")
    for _ in range(_ROUNDS):
        if max(_balance(first, second) for (_, first), (_, second) in pairs) < _ENOUGH:
            break
    return len(pairs)


def _balance(first: _Layer, second: _Layer) -> float:
    """Equalizes one pair, in place; returns the largest |log scale|."""
    outer, inner = latent_weight(first), latent_weight(second)
    across = _reads(second)
    r1 = outer.flatten(1).abs().amax(1)
    r2 = inner.transpose(0, across).flatten(1).abs().amax(1)
    used = (r1 > 0) & (r2 > 0)
    scale = torch.where(used, (r1 / torch.where(used, r2, 1.0)).sqrt(), 1.0)
    outer /= _along(scale, outer, 0)
    inner *= _along(scale, inner, across)
    if first.bias is not None:
        first.bias /= scale
    return float(scale.log().abs().max())


def _along(scale: Tensor, weight: Tensor, axis: int) -> Tensor:
    shape = [1] * weight.ndim
    shape[axis] = -1
    return scale.view(shape)


def _reads(layer: _Layer) -> int:
    """The axis of the weight along which the channels lie that it reads: a depthwise layer has them first."""
    return 0 if isinstance(layer, _ConvNd) and layer.groups > 1 else 1


def _pairs(model: nn.Module) -> list[tuple[tuple[str, _Layer], tuple[str, _Layer]]]:
    graph = traced(model, "equalization")
    lone = alone(model, graph)
    found = []
    for node in graph.nodes:
        second = module_of(node, model)
        before = _source(node)
        while before is not None and len(before.users) == 1 and operation_of(before, model).passes_scale:
            before = _source(before)
        if before is None or len(before.users) != 1 or not _is_layer(second):
            continue
        first = module_of(before, model)
        if any(m is not None and layer_obstacle(m) is not None for m in (first, second)):
            continue  # a factor may not pass through what it computes
        if _is_layer(first) and {before.target, node.target} <= lone and _fit(first, second):
            found.append(((str(before.target), first), (str(node.target), second)))
    return found


def _source(node: fx.Node) -> fx.Node | None:
    """The node that gives its first argument; None where there is none."""
    first = next(iter(node.args), None)
    return first if isinstance(first, fx.Node) else None


def _fit(first: _Layer, second: _Layer) -> bool:
    """Whether each channel of the first is one of the second's: no flattened maps, no partial groups."""
    if isinstance(second, _ConvNd) and second.groups > 1:
        return second.groups == second.in_channels == len(first.weight) == len(second.weight)
    return second.weight.shape[1] == len(first.weight)


def _is_layer(module: nn.Module | None) -> TypeGuard[_Layer]:
    return isinstance(module, _LAYERS)
