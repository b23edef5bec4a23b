"""BatchNorm multiplied into the layer before it: what int8 runtimes compute with."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import type_before_parametrizations

from pithnet.errors import ModelError
from pithnet.surgery.graph.foldable import (
    agree,
    fewest_axes,
    in_float64,
    layer_inputs,
    layer_obstacle,
    norm_obstacle,
    own_way,
)
from pithnet.surgery.graph.inputs import REQUIRED, values
from pithnet.surgery.graph.lookup import modules_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import alone, calls, module_of, traced
from pithnet.surgery.modes import always_training, evaluating
from pithnet.surgery.weights.chains import Layer, chain, latent_weight, release, set_mask
from pithnet.surgery.weights.fake_quantizers import FakeQuantizer
from pithnet.surgery.weights.holders import Weighted, weighted_layers
from pithnet.surgery.weights.parametrizations import Mask

_Layer = _ConvNd | nn.Linear
_INSIDE = "it stands inside a module whose forward is not followed"
_ALONE = "it does not stand alone right after a convolution or linear layer"
_AXIS = "it normalises another axis than the outputs of {}"
_SHARED = "{} is called several times, or shares its weight or bias"


@dataclass(frozen=True)
class Folding:
    """What became of a network's BNs. folded: their names; kept: why others stay in float, by name."""

    folded: tuple[str, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Pair:
    """A BN and the layer whose sums it takes, which `node` calls."""

    name: str
    bn: _BatchNorm
    node: fx.Node
    layer: _Layer
    owner: Weighted


@torch.no_grad()
def fold_into_layers_(model: nn.Module, example: Any = None, only: Collection[str] | None = None) -> Folding:
    """Multiplies every BN into the convolution or linear layer before it, in place, leaving nn.Identity.

    For eval mode: y = (Wx - m) / sqrt(v + eps) * g + b becomes W' x + b'. Masks stay; shared weights become
    plain ones with a mask for their zeros. A BN stays, and is named with the reason, that does not stand
    alone right after such a layer, that has no statistics, that normalises another axis than the layer's
    outputs, or whose layer shares its weight or bias. It stays too where the layer or BN may compute
    something else than torch's: a forward of its own, a hook, another library's parametrization. Layer and BN
    are compared with the folded layer on copies in float64 before anything is replaced: where these differ by
    more than 1e-5 (Frobenius; a step of the weight's dtype in half precision), the BN stays.

    Args:
        model: The network, changed in place.
        example: Inputs (B, ...), as `learn.call` takes them, whose activations are what is compared. They
            tell the axes too: after a linear layer on (B, L, C) BN normalises L. Without them random inputs
            are compared, and only L != C tells.
        only: The names of the BNs to fold; None for all.

    Returns:
        The names of the folded BNs, and why each of the others stays.

    Raises:
        ModelError: The network's forward cannot be followed, or a weight is quantized already.
    """
    graph = traced(model, "folding BatchNorm", REQUIRED if example is None else example)
    pairs, kept = _pairs(model, graph)
    pairs = [pair for pair in pairs if only is None or pair.name in only]
    for pair in pairs:
        if any(isinstance(part, FakeQuantizer) for part in chain(pair.owner)):
            raise ModelError(
                f"{pair.owner.keys[0]} is quantized already, its BatchNorm not folded; fold before quantizing"
            )
    kept |= _on_random_inputs(pairs) if example is None else _on_example(model, graph, pairs, example)
    folded = [pair for pair in pairs if pair.name not in kept]
    for pair in folded:
        _fold(pair.layer, pair.owner, pair.bn)
        model.set_submodule(pair.name, nn.Identity())
    return Folding(tuple(pair.name for pair in folded), kept)


@torch.no_grad()
def norms_after_layers(model: nn.Module, example: Any = None) -> dict[str, str]:
    """Finds the convolutions and linear layers whose outputs go to a BN and nowhere else.

    Whatever scales and shifts the channels of such a layer can be undone exactly by its BN. They are the
    pairs that `fold_into_layers_` would fold, by the same checks; nothing is changed.

    Args:
        model: The network.
        example: Inputs as `learn.call` takes them; random ones are compared without.

    Returns:
        The name of the BN, by the layer's; nothing where the forward cannot be followed.
    """
    try:
        graph = traced(model, "finding BatchNorm", REQUIRED if example is None else example)
    except ModelError:
        return {}
    pairs, kept = _pairs(model, graph)
    kept |= _on_random_inputs(pairs) if example is None else _on_example(model, graph, pairs, example)
    return {str(pair.node.target): pair.name for pair in pairs if pair.name not in kept}


def _pairs(model: nn.Module, graph: fx.Graph) -> tuple[list[_Pair], dict[str, str]]:
    """The BNs that may be folded by what stands in the graph, and why each of the others may not."""
    owners = {id(layer.holders[0].module): layer for _, layer in weighted_layers(model)}
    lone, times, training = alone(model, graph), calls(graph), always_training(model)
    read = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    pairs = []
    kept = {name: _INSIDE for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    for node in graph.nodes:
        bn, name = module_of(node, model), str(node.target)
        if not isinstance(bn, _BatchNorm):
            continue
        before = _layer_before(node, model)
        layer = None if before is None else module_of(before, model)
        owner = owners.get(id(layer))
        serves = times[name] != 1 or any(tensor.startswith(f"{name}.") for tensor in read)
        if before is None or owner is None or not isinstance(layer, _Layer) or serves:
            kept[name] = _ALONE
            continue
        obstacle = _obstacle(str(before.target), layer, bn, before.target in lone)
        obstacle = "the model's eval() leaves it in train mode" if bn in training else obstacle
        if obstacle is None:
            del kept[name]
            pairs.append(_Pair(name, bn, before, layer, owner))
        else:
            kept[name] = obstacle
    return pairs, kept


def _layer_before(node: fx.Node, model: nn.Module) -> fx.Node | None:
    """What gives a BN's only argument to nothing else, beyond modules that do nothing."""
    before = node.args[0] if len(node.args) == 1 and not node.kwargs else None
    while isinstance(before, fx.Node) and len(before.users) == 1:
        module = module_of(before, model)
        if module is None or own_way(module, modules_of(Kind.IDENTITY)) is not None:
            return before
        before = before.args[0] if before.args else None
    return None


def _obstacle(place: str, layer: _Layer, bn: _BatchNorm, lone: bool) -> str | None:
    """Why a BN cannot be folded into the layer before it, so far as can be told without numbers."""
    for what, module, why in (
        (place, layer, layer_obstacle(layer)),
        ("it", bn, norm_obstacle(bn)),
    ):
        if why is not None:
            return f"{what} ({type_before_parametrizations(module).__name__}) {why}"
    if not lone:
        return _SHARED.format(place)
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    # Of an input with more axes than two the second is none of a linear layer's outputs.
    several = isinstance(layer, nn.Linear) and fewest_axes(bn) > 2
    return _AXIS.format(place) if several or bn.num_features != outputs else None


def _on_example(model: nn.Module, graph: fx.Graph, pairs: list[_Pair], example: Any) -> dict[str, str]:
    """Why BNs cannot be folded after all, by name, found on the activations of an example."""
    by_node, found = {pair.node: pair for pair in pairs}, {}

    class Compare(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value, pair = super().run_node(n), by_node.get(n)
            if pair is not None and value.ndim != pair.layer.weight.ndim:
                found[pair.name] = _AXIS.format(n.target)
            elif pair is not None:
                args, kwargs = self.fetch_args_kwargs_from_env(n)
                if not _holds(pair, args, kwargs):
                    found[pair.name] = _differs(pair)
            return value

    with evaluating(model):
        Compare(model, graph=graph).run(*values(model, example))
    return found


def _on_random_inputs(pairs: list[_Pair]) -> dict[str, str]:
    return {pair.name: _differs(pair) for pair in pairs if not _holds(pair)}


def _differs(pair: _Pair) -> str:
    return f"folded into {pair.node.target} it gives other numbers, more than 1e-5 off"


def _holds(pair: _Pair, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether a copy of the layer with the BN folded gives what the two give one after the other.

    args, kwargs: what the layer is called with; random inputs without.
    """
    layer = copy.deepcopy(pair.layer)
    release(layer)
    folded = copy.deepcopy(layer)
    _fold(folded, folded, pair.bn)
    exact, mean, variance = in_float64(layer), pair.bn.running_mean, pair.bn.running_var
    assert mean is not None
    assert variance is not None
    x, *more = args or (layer_inputs(exact, mean, variance),)
    x = x.cpu().double()
    expected = in_float64(pair.bn)(exact(x, *more, **kwargs))
    return agree(in_float64(folded)(x, *more, **kwargs), expected, layer.weight.dtype)


def _fold(layer: _Layer, owner: Layer, bn: _BatchNorm) -> None:
    """Multiplies the BN into the layer, in place."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = (bn.running_var.double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale *= bn.weight.double()
    mean = bn.running_mean.double()
    shift = -mean if layer.bias is None else layer.bias.double() - mean
    bias = shift * scale + (0 if bn.bias is None else bn.bias.double())
    _multiply(owner, _per_output(layer, scale))
    if layer.bias is None:
        trains = latent_weight(owner).requires_grad
        layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=trains)
    else:
        layer.bias.copy_(bias)


def _per_output(layer: _Layer, scale: Tensor) -> Tensor:
    """One number per output (C,), shaped so that it multiplies the layer's weight."""
    after = [1] * (layer.weight.ndim - 2)
    if not isinstance(layer, _ConvTransposeNd):
        return scale.view(-1, 1, *after)
    # (inputs, outputs of a group, ...): the inputs of each group meet the outputs of that group.
    grouped = scale.view(layer.groups, -1).repeat_interleave(layer.in_channels // layer.groups, 0)
    return grouped.view(*grouped.shape, *after)


def _multiply(owner: Layer, scale: Tensor) -> None:
    if not all(isinstance(part, Mask) for part in chain(owner)):
        release(owner)
        kept = _weight(owner) != 0
        set_mask(owner, kept)
    weight = latent_weight(owner)
    weight.copy_(weight.double() * scale)


def _weight(owner: Layer) -> Tensor:
    weight = owner.weight
    assert isinstance(weight, Tensor)
    return weight
