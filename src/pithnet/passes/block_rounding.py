"""Roundings and levels of whole blocks, learned on what the blocks compute.

Blocks as in BRECQ (Li et al. 2021, section 3.2), weights free to move by more than one level as in AdaQuant
(Hubara et al. 2021, eq. 2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.passes.layer_inputs import inputs_of, require_columns
from pithnet.passes.norm_repair import match_named_norms
from pithnet.surgery import (
    FakeQuantizer,
    Weighted,
    fake_quantizer,
    release_all,
    set_latent_weight,
    unquantized_weight,
    weighted_layers,
)
from pithnet.tensor.quantizers import Levels, from_rows

STEPS = 200
_BATCH = 32
_WEIGHT_RATE = 0.04  # of a weight's standard deviation
_RATE = 1e-3  # of levels, relative to their scale, and of BN's factors and shifts
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

    Raises ModelError, before anything is changed, where nothing is quantized, for layers other than Conv2d
    and Linear, by name, and where the reference lacks a part; also for a block that gives anything but one
    tensor; DataError without images.
    """
    units = list(_units(model))
    if not units:
        raise ModelError("no layer is quantized; run quantize(model, bits=...) before reconstructing")
    theirs = dict(reference.named_modules())
    for name, layers in units:
        for inner, layer in layers:
            require_columns(f"{name}.{inner}".rstrip("."), layer.holders[0].module)
        if name not in theirs:
            raise ModelError(f"the reference has no part {name}; give the same network before compression")
    generator = torch.Generator().manual_seed(seed)
    inside = [f"{name}." for name, _ in units]
    outside = [n for n, m in theirs.items() if isinstance(m, _BatchNorm) and not n.startswith(tuple(inside))]
    for name, layers in units:
        part = model.get_submodule(name)
        x = torch.cat(list(inputs_of(model, part, calibrate)))
        # All inputs first: while they are collected, the part itself only stops the network.
        wanted = list(inputs_of(reference, theirs[name], calibrate))
        target = torch.cat([_output(theirs[name], y) for y in wanted])
        _learn(part, layers, x, target, steps, generator)
        if outside and not _norm_parameters(part):
            match_named_norms(model, reference, calibrate, outside)
    return len(units)


def _units(model: nn.Module) -> Iterator[tuple[str, list[tuple[str, Weighted]]]]:
    """Blocks with a quantized layer, by name, with those layers by their names in the block."""
    layers = dict(weighted_layers(model))
    held = {
        name: {n for n in layers if n.startswith(f"{name}.")}
        for name, module in model.named_modules()
        if name and not isinstance(module, _CONTAINERS)
    }
    several = {name: inner for name, inner in held.items() if len(inner) > 1}
    blocks = {n: i for n, i in several.items() if not any(o.startswith(f"{n}.") for o in several)}
    block_of = {layer: name for name, inner in blocks.items() for layer in inner}
    units: dict[str, list[tuple[str, Weighted]]] = {}
    for name, layer in layers.items():
        part = fake_quantizer(layer)
        if part is not None and part.quantizer.bits:
            unit = block_of.get(name, name)
            units.setdefault(unit, []).append((name[len(unit) + 1 :], layer))
    yield from units.items()


@torch.no_grad()
def _output(part: nn.Module, x: Tensor) -> Tensor:
    found = part(x)
    if not isinstance(found, Tensor):
        raise ModelError(f"a {type(part).__name__} gives no tensor and cannot be reconstructed")
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
        return from_rows(torch.where(rows == 0, 0.0, rounded), self.weight)

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
