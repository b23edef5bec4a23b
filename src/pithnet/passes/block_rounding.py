"""Roundings and levels of whole blocks, learned on what the blocks compute.

Blocks as in BRECQ (Li et al. 2021, section 3.2), weights free to move by more than one level as in AdaQuant
(Hubara et al. 2021, eq. 2).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.learn.batch import describe
from pithnet.passes.calibration import read_once
from pithnet.passes.layer_inputs import inputs_of, require_columns
from pithnet.passes.norm_repair import match_named_norms, require_same_norms
from pithnet.surgery import (
    FakeQuantizer,
    Weighted,
    activation_quantizers,
    evaluating,
    fake_quantizer,
    release_all,
    set_latent_weight,
    unquantized_weight,
    weighted_layers,
)
from pithnet.tensor.quantizers import Levels

STEPS = 200
_BATCH = 32
_WEIGHT_RATE = 0.04  # of a weight's standard deviation
_RATE = 1e-3  # of levels, relative to their scale, and of BN's factors and shifts
# By name, with the quantized layers of each by their names in it.
Blocks = dict[str, list[tuple[str, Weighted]]]
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def reconstruct_blocks(
    model: nn.Module, reference: nn.Module, calibrate: Any, *, steps: int = STEPS, seed: int = 0
) -> int:
    """Moves roundings, levels and BN factors of `model`, in place, so that each block computes as before.

    That is, gives what the block of that name gives in `reference`. Returns how many blocks.

    A block is the smallest module, the network itself and containers aside, that holds several layers, as a
    residual block does, or a layer outside of any. Each learns alone, by Adam on the squared difference of
    its output, with inputs as the blocks before it give them: no labels, no training of the network. Weights
    go straight through the rounding, levels have their own gradient. Levels are fixed from here on, as a file
    keeps them; zeros stay. Run `match_norms` before, so that blocks begin near, and not after: the factors of
    BN were learned beside its statistics. BNs outside of blocks are matched here.

    Args:
        reference: the same network before compression.
        calibrate: a loader, or a tensor of images; 500 to 2,000 images do, labels are not needed.
        steps: of 32 images, for each block.

    Raises, before anything is changed: DataError without images, ModelError where nothing is quantized and
    as `blocks_with`.
    """
    quantized = layers_with_levels(model)
    if not quantized:
        raise ModelError("no layer is quantized; run quantize(model, bits=...) before reconstructing")
    batches = read_once(model, calibrate)
    units = blocks_with(quantized, model, reference, batches)
    theirs = dict(reference.named_modules())
    generator = torch.Generator().manual_seed(seed)
    inside = tuple(f"{name}." for name in units)
    outside = [n for n, m in theirs.items() if isinstance(m, _BatchNorm) and not n.startswith(inside)]
    for name, layers in units.items():
        part = model.get_submodule(name)
        x = torch.cat(list(inputs_of(model, name, batches)))
        target = torch.cat([_output(name, theirs[name], y) for y in inputs_of(reference, name, batches)])
        _learn(part, layers, x, target, steps, generator)
        if outside and not _norm_parameters(part):
            match_named_norms(model, reference, batches, outside)
    return len(units)


def blocks_with(
    quantized: Collection[str], model: nn.Module, reference: nn.Module, batches: Sequence[tuple[Tensor, Any]]
) -> Blocks:
    """The blocks with layers of these names, by name; nothing is changed, and nothing need be quantized yet.

    batches: as `read_once` gives them; the first goes through both networks. Raises ModelError for quantized
    activations; by name, for layers other than Conv2d and Linear, for shared ones, and for blocks that are
    not called with one tensor or give anything else; and where the networks differ in parts or BNs.
    """
    if activation_quantizers(model):
        raise ModelError("the activations are quantized already; reconstruct before quantizing activations")
    units, theirs = _units(model, quantized), dict(reference.named_modules())
    for name, layers in units.items():
        for inner, layer in layers:
            require_columns(f"{name}.{inner}".strip("."), layer)
        if name not in theirs:
            raise ModelError(f"the reference has no part {name}; give the same network before compression")
    require_same_norms(model, reference)
    for name in units:
        for network in (model, reference):
            for x in inputs_of(network, name, batches[:1]):
                _output(name, network.get_submodule(name), x)
    return units


def layers_with_levels(model: nn.Module) -> list[str]:
    """Names of the layers that are quantized to levels; 0 bits are none."""
    parts = {name: fake_quantizer(layer) for name, layer in weighted_layers(model)}
    return [name for name, part in parts.items() if part is not None and part.quantizer.bits]


def _units(model: nn.Module, quantized: Collection[str]) -> Blocks:
    """Blocks with a layer of these names."""
    layers = dict(weighted_layers(model))
    held = {
        name: {n for n in layers if n.startswith(f"{name}.")}
        for name, module in model.named_modules()
        if name and not isinstance(module, _CONTAINERS)
    }
    several = {name: inner for name, inner in held.items() if len(inner) > 1}
    blocks = {n: i for n, i in several.items() if not any(o.startswith(f"{n}.") for o in several)}
    block_of = {layer: name for name, inner in blocks.items() for layer in inner}
    units: Blocks = {}
    for name, layer in layers.items():
        if name in quantized:
            unit = block_of.get(name, name)
            units.setdefault(unit, []).append((name[len(unit) + 1 :], layer))
    return units


@torch.no_grad()
def _output(name: str, part: nn.Module, x: Tensor) -> Tensor:
    with evaluating(part):
        found = part(x)
    if not isinstance(found, Tensor):
        raise ModelError(
            f"{name} ({type(part).__name__}) gives {describe(found)} and cannot be reconstructed, only what "
            "gives one tensor; add its layers to quantize's skip"
        )
    return found


@dataclass(frozen=True, eq=False)
class _Learned:
    """What one weight learns: itself, and the log scales and offsets of its rows."""

    weight: Tensor
    part: FakeQuantizer
    log_scale: Tensor
    offset: Tensor

    @classmethod
    def of(cls, layer: Weighted) -> _Learned:
        part = fake_quantizer(layer)
        assert part is not None
        weight = unquantized_weight(layer).detach().clone()
        scale, offset = part.levels(part.rows(weight))
        free = part.quantizer.free_offset
        log_scale = scale.detach().clamp(min=1e-12).log().requires_grad_()
        return cls(weight.requires_grad_(), part, log_scale, offset.detach().clone().requires_grad_(free))

    @property
    def levels(self) -> Levels:
        """As a file keeps them; the gradient passes straight."""
        own = Levels(self.log_scale.exp(), self.offset)
        kept = self.part.quantizer.stored(Levels(*(level.detach() for level in own)))
        return Levels(*(k + (o - o.detach()) for k, o in zip(kept, own, strict=True)))

    def groups(self) -> list[dict[str, Any]]:
        """For the optimizer: weights by their size, levels by theirs."""
        rate = _WEIGHT_RATE * float(self.weight.detach().std(unbiased=False))
        levels = [t for t in (self.log_scale, self.offset) if t.requires_grad]
        return [{"params": [self.weight], "lr": rate}, {"params": levels, "lr": _RATE}]

    def value(self) -> Tensor:
        """The weight on its levels; gradients go straight to the weight, and to its levels by their codes."""
        rows, quantizer, levels = self.part.rows(self.weight), self.part.quantizer, self.levels
        codes = quantizer.codes(rows, Levels(*(level.detach() for level in levels)))
        rounded = quantizer.values(codes, levels) + (rows - rows.detach())
        return self.part.from_rows(torch.where(rows == 0, 0.0, rounded), self.weight)

    @torch.no_grad()
    def store(self, layer: Weighted) -> None:
        """Gives the layer the weight on its levels, and these, in place."""
        self.part.fix(self.levels)
        set_latent_weight(layer, self.value())


def _learn(
    part: nn.Module,
    layers: list[tuple[str, Weighted]],
    x: Tensor,
    target: Tensor,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Trains one block on its own outputs, (n, ...) for inputs (n, ...), in place."""
    plain = copy.deepcopy(part).eval()
    release_all(plain)
    learned = {f"{name}.weight".lstrip("."): _Learned.of(layer) for name, layer in layers}
    norms = _norm_parameters(plain)
    groups = [group for one in learned.values() for group in one.groups()]
    optimizer = torch.optim.Adam([*groups, {"params": list(norms.values()), "lr": _RATE}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    size = target.var().clamp(min=1e-12)
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator).to(x.device)
            values = {key: one.value() for key, one in learned.items()} | norms
            loss = (functional_call(plain, values, (x[chosen],)) - target[chosen]).square().mean() / size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    for (_, layer), one in zip(layers, learned.values(), strict=True):
        one.store(layer)
    with torch.no_grad():
        for key, value in norms.items():
            part.get_parameter(key).copy_(value)


def _norm_parameters(part: nn.Module) -> dict[str, Tensor]:
    """Copies of the factors and shifts of the BNs in a block, by their keys."""
    norms = [(name, m) for name, m in part.named_modules() if isinstance(m, _BatchNorm)]
    return {
        f"{name}.{key}": value.detach().clone().requires_grad_()
        for name, norm in norms
        for key, value in norm.named_parameters()
    }
