"""BatchNorm multiplied into the layer before it: what int8 runtimes compute with."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pithnet.errors import ModelError
from pithnet.surgery.chains import chain, latent_weight, release, set_mask
from pithnet.surgery.fake_quantizers import FakeQuantizer
from pithnet.surgery.graph import module_of, traced
from pithnet.surgery.parametrizations import Mask
from pithnet.surgery.weights import Weighted, weighted_layers

_Layer = _ConvNd | nn.Linear


@torch.no_grad()
def fold_into_layers_(model: nn.Module) -> tuple[str, ...]:
    """Multiplies every BN into the convolution or linear layer before it, in place, leaving nn.Identity.

    For eval mode: y = (Wx - m) / sqrt(v + eps) * g + b becomes W' x + b'. Masks stay; shared weights become
    plain ones with a mask for their zeros. A BN stays that does not stand right after such a layer and
    alone, that has no statistics, or whose layer shares its weight. Returns the names of the BNs folded.
    Raises ModelError where the network's forward cannot be followed or a weight is quantized already.
    """
    graph = traced(model, "folding BatchNorm")
    owners = {
        id(layer.holders[0].module): layer for _, layer in weighted_layers(model) if len(layer.keys) == 1
    }
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folded = []
    for node in graph.nodes:
        bn = module_of(node, model)
        before = node.args[0] if node.args else None
        if not isinstance(bn, _BatchNorm) or not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        layer = module_of(before, model)
        owner = owners.get(id(layer))
        alone = calls[node.target] == 1 and calls[before.target] == 1
        if alone and owner is not None and isinstance(layer, _Layer) and _fold(layer, owner, bn):
            model.set_submodule(str(node.target), nn.Identity())
            folded.append(str(node.target))
    return tuple(folded)


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
