"""BatchNorm multiplied into the layer before it: what int8 runtimes compute with."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pithnet.errors import ModelError
from pithnet.surgery.chains import chain, latent_weight, release, set_mask
from pithnet.surgery.fake_quantizers import FakeQuantizer
from pithnet.surgery.graph import alone, calls, module_of, traced, watched
from pithnet.surgery.parametrizations import Mask
from pithnet.surgery.weights import Weighted, weighted_layers

_Layer = _ConvNd | nn.Linear


@torch.no_grad()
def fold_into_layers_(model: nn.Module, example: Tensor | None = None) -> tuple[str, ...]:
    """Multiplies every BN into the convolution or linear layer before it, in place, leaving nn.Identity.

    For eval mode: y = (Wx - m) / sqrt(v + eps) * g + b becomes W' x + b'. Masks stay; shared weights become
    plain ones with a mask for their zeros. A BN stays that does not stand right after such a layer and
    alone, that has no statistics, that normalises another axis than the layer's outputs, or whose layer
    shares its weight or bias. Returns the names of the BNs folded.
    example: an input (B, ...), which tells the axes: after a linear layer on (B, L, C) BN normalises L.
    Without one only L != C tells. Raises ModelError where the network's forward cannot be followed or a
    weight is quantized already.
    """
    graph = traced(model, "folding BatchNorm")
    shapes = {} if example is None else watched(model, graph, example)
    owners = {id(layer.holders[0].module): layer for _, layer in weighted_layers(model)}
    lone, times = alone(model, graph), calls(graph)
    folded = []
    for node in graph.nodes:
        bn = module_of(node, model)
        before = node.args[0] if node.args else None
        if not isinstance(bn, _BatchNorm) or not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        layer = module_of(before, model)
        owner = owners.get(id(layer))
        if owner is None or before.target not in lone or times[str(node.target)] != 1:
            continue
        if not isinstance(layer, _Layer) or not _along_outputs(layer, bn, shapes.get(before)):
            continue
        if _fold(layer, owner, bn):
            model.set_submodule(str(node.target), nn.Identity())
            folded.append(str(node.target))
    return tuple(folded)


def _along_outputs(layer: _Layer, bn: _BatchNorm, given: Tensor | None) -> bool:
    """Whether what BN normalises, the second axis, are the layer's outputs. given: of the layer's output."""
    if given is not None:
        return given.ndim == layer.weight.ndim
    if isinstance(layer, nn.Linear):
        # These two take more axes than two, and then the second is none of the outputs.
        several = isinstance(bn, nn.BatchNorm2d | nn.BatchNorm3d)
        return not several and bn.num_features == layer.out_features
    return bn.num_features == layer.out_channels


def _fold(layer: _Layer, owner: Weighted, bn: _BatchNorm) -> bool:
    """Whether the BN could be folded into the layer."""
    if bn.running_mean is None or bn.running_var is None:
        return False
    if isinstance(layer, _ConvTransposeNd) and layer.groups > 1:
        return False
    scale = (bn.running_var.double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale *= bn.weight.double()
    _multiply(owner, scale, axis=int(isinstance(layer, _ConvTransposeNd)))
    shift = (
        -bn.running_mean.double() if layer.bias is None else layer.bias.double() - bn.running_mean.double()
    )
    bias = shift * scale + (0 if bn.bias is None else bn.bias.double())
    if layer.bias is None:
        trains = latent_weight(owner).requires_grad
        layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=trains)
    else:
        layer.bias.copy_(bias)
    return True


def _multiply(owner: Weighted, scale: Tensor, axis: int) -> None:
    if any(isinstance(part, FakeQuantizer) for part in chain(owner)):
        raise ModelError(
            f"{owner.keys[0]} is quantized already, its BatchNorm not folded; fold before quantizing"
        )
    if not all(isinstance(part, Mask) for part in chain(owner)):
        release(owner)
        set_mask(owner, owner.weight != 0)
    weight = latent_weight(owner)
    shape = [1] * weight.ndim
    shape[axis] = -1
    weight.copy_(weight.double() * scale.view(shape))
