"""What a recipe will do to each layer of a model, and about how many bytes that takes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.artifact import check_storable, float32_bytes, plain_state
from pithnet.coding import entropy_bits
from pithnet.passes import Regularization, prune, prune_by_std, quantize, share
from pithnet.recipe import Keep, Recipe, Step
from pithnet.run.result import coverage_json
from pithnet.surgery import (
    Coverage,
    Weighted,
    check_usable,
    coverage,
    fake_quantizer,
    unquantized_weight,
    weighted_layers,
)

_BITS = {"float32": 32, "float16": 16, "fixed10": 10, "fixed8": 8}
_SCALE = 12  # of a row of quantized weights: finalize makes them short
_HEADER = 60  # of the file
_RECORD = 8  # each tensor's coding and checksum


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its passes, and the zeros, levels (None: its weights stay floats) and bytes to expect."""

    name: str
    shape: tuple[int, ...]
    weights: int
    passes: str
    zeros: int
    levels: int | None
    bytes: int


@dataclass(frozen=True)
class Plan:
    """The layers in order, everything else in the file (normalisation, biases, header), and what is covered.

    Zeros and levels are those of the weights as they are now; training moves zeros between layers.
    """

    layers: tuple[LayerPlan, ...]
    rest: int
    float_bytes: int
    coverage: Coverage

    @property
    def bytes(self) -> int:
        return self.rest + sum(layer.bytes for layer in self.layers)

    @property
    def ratio(self) -> float:
        return self.float_bytes / self.bytes

    def to_json(self) -> dict[str, Any]:
        rows = [asdict(layer) for layer in self.layers]
        sizes = {"rest": self.rest, "bytes": self.bytes, "float_bytes": self.float_bytes}
        return {"layers": rows, **sizes, **coverage_json(self.coverage)}


def make_plan(model: nn.Module, recipe: Recipe) -> Plan:
    """Tries the recipe's passes on a copy of `model`, without the trainings.

    Bytes are the entropies of positions and symbols; what layers share counts once. Raises RecipeError or
    ModelError for what a pass cannot do: unknown criterion, a `skip` that matches nothing, pruning after
    sharing; ArtifactError for what no file holds: quantized activations, a complex or sparse tensor.
    """
    check_usable(model)
    check_storable(model)
    trial = copy.deepcopy(model)
    touched: defaultdict[str, list[str]] = defaultdict(list)
    shared: set[str] = set()
    for step in recipe.steps:
        for name in _try(trial, step, recipe.seed):
            touched[name].append(step.kind)
            if step.share:
                shared.add(name)
    rows = tuple(
        _row(name, layer, touched[name], name in shared, recipe.storage)
        for name, layer in weighted_layers(trial)
    )
    weights = {key for _, layer in weighted_layers(trial) for key in layer.keys}
    rest = _HEADER + _rest_bytes(model, weights, recipe.storage)
    return Plan(rows, rest, float32_bytes(plain_state(model)), coverage(trial, recipe.skipped))


def _try(model: nn.Module, step: Step, seed: int) -> list[str]:
    """Does the step's pass at once and returns the names of the layers it changed."""
    generator = torch.Generator().manual_seed(seed)
    if step.prune and step.prune.std is not None:
        record = prune_by_std(model, step.prune.std, skip=step.prune.skip, also=step.prune.also)
    elif step.prune and step.prune.sparsity is not None:
        options = step.prune.model_dump(include={"scope", "criterion", "skip", "also"})
        record = prune(model, step.prune.sparsity, generator=generator, **options)
    elif step.regularize:
        record = Regularization(model, **step.regularize.options).finish()
    elif step.quantize:
        record = quantize(model, **step.quantize.model_dump())
    elif step.share:
        record = share(model, generator=generator, **step.share.model_dump(exclude={"trained"}))
    else:
        return []
    return [layer.name for layer in record.layers]


def _row(name: str, layer: Weighted, passes: Sequence[str], is_shared: bool, storage: Keep) -> LayerPlan:
    weight, part = layer.weight.detach(), fake_quantizer(layer)
    symbols = weight[weight != 0] if part is None else part.used_codes(unquantized_weight(layer))
    counts = symbols.unique(return_counts=True)[1]
    size, used = weight.numel(), symbols.numel()
    bits = size * entropy_bits(torch.tensor([size - used, used]).numpy())
    levels = None
    if part is not None:
        levels = len(counts)
        bits += used * entropy_bits(counts.cpu().numpy()) + len(part.rows(weight)) * _SCALE
    elif is_shared:
        levels = len(counts)
        bits += used * entropy_bits(counts.cpu().numpy()) + levels * _BITS[storage.codebook]
    else:
        bits += used * _BITS[storage.other]
    what = ", ".join(passes) or "as it is"
    return LayerPlan(name, tuple(weight.shape), size, what, size - used, levels, round(bits / 8) + _RECORD)


def _rest_bytes(model: nn.Module, weights: set[str], storage: Keep) -> int:
    """Everything but the layers' weights: normalisation, with its statistics or without, biases, the rest."""
    named = model.named_modules(remove_duplicate=False)
    norms = {name for name, module in named if isinstance(module, _BatchNorm)}
    bits, seen = 0, set()
    for key, value in plain_state(model).items():
        module, _, last = key.rpartition(".")
        if key in weights or not value.is_floating_point() or (value.numel() and value.data_ptr() in seen):
            continue
        seen.add(value.data_ptr())
        statistics = last in ("running_mean", "running_var")
        if statistics and storage.fold:
            continue
        bits += value.numel() * (
            32 if statistics else _BITS[storage.norm if module in norms else storage.other]
        )
    return -(-bits // 8)
