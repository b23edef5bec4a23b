"""Roundings and levels of whole blocks, learned on what the blocks compute.

Blocks are as in BRECQ (Li et al. 2021, section 3.2), weights are free to move by more than one level as in
AdaQuant (Hubara et al. 2021, eq. 2).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.heartbeat import working
from pithnet.learn.batch import tensors
from pithnet.passes.calibration import read_once
from pithnet.passes.guard import guarded
from pithnet.passes.ptq.block_examples import Examples, examples_of
from pithnet.passes.ptq.layer_inputs import require_own_values
from pithnet.passes.ptq.learned_weight import RATE, LearnedWeight
from pithnet.passes.ptq.norm_repair import match_named_norms, require_same_norms
from pithnet.passes.ptq.part_calls import CallArguments, answering, arguments_of, float_outputs, outputs_of
from pithnet.surgery import (
    Weighted,
    activation_quantizers,
    fake_quantizer,
    in_float32,
    release_all,
    weighted_layers,
)

STEPS = 200
_BATCH = 32
_EVALUATED = 256  # samples at once, where all are compared
# By name, with the quantized layers of each by their names in it.
Blocks = dict[str, list[tuple[str, Weighted]]]
Targets = tuple[Tensor | None, ...]
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# What these give is their weight itself: nearest levels of least squared error are all there is to learn.
_TABLES = (nn.Embedding, nn.EmbeddingBag)


@guarded
def reconstruct_blocks(
    model: nn.Module, reference: nn.Module, calibrate: Any, *, steps: int = STEPS, seed: int = 0
) -> int:
    """Moves roundings, levels and BN factors of `model`, in place, so that each block computes as before.

    A block then gives what the block of that name gives in `reference`. It is the smallest module, the
    network itself and containers aside, that holds several layers, as a residual block does, or a layer
    outside of any. Each learns alone, by Adam on the squared difference of its outputs, with inputs as the
    blocks before it give them: no labels, no training of the network. Weights go straight through the
    rounding, levels have their own gradient. Levels are fixed from here on, as a file keeps them; zeros stay.
    Run `match_norms` before, so that blocks begin near, and not after: the factors of BN were learned beside
    its statistics. BNs outside of blocks are matched here. A block that does not come nearer on the images
    keeps the roundings it had.

    Blocks may be called with several arguments, by position or name, and give tuples, dicts or objects of
    tensors; of a block called several times, the first call counts. Embeddings outside of blocks, and blocks
    that the network calls for none of the images, keep the levels they have. Float16 and bfloat16 models are
    computed in float32. Where it raises, the model is as it was.

    Args:
        model: The quantized network.
        reference: The same network before compression.
        calibrate: A loader, or a tensor of images; 500 to 2,000 images do, labels are not needed.
        steps: Of 32 images, for each block.
        seed: Of the choice of images.

    Returns:
        The number of blocks.

    Raises:
        DataError: There are no images.
        ModelError: Nothing is quantized, activations are quantized, layers are shared, a block gives no
            finite floating-point tensor, or the networks differ in parts or BNs.
    """
    quantized = layers_with_levels(model)
    if not quantized:
        raise ModelError("no layer is quantized; run quantize(model, bits=...) before reconstructing")
    with in_float32(model, reference):
        batches = read_once(model, calibrate)
        units = blocks_with(quantized, model, reference, batches)
        theirs = dict(reference.named_modules())
        generator = torch.Generator().manual_seed(seed)
        inside = tuple(f"{name}." for name in units)
        outside = [n for n, m in theirs.items() if isinstance(m, _BatchNorm) and not n.startswith(inside)]
        learned = 0
        for name, layers in units.items():
            part = model.get_submodule(name)
            examples = _examples(name, model, reference, batches)
            if examples:
                _learn(name, part, layers, examples, steps, generator)
                learned += 1
            if outside and not _norm_parameters(part):
                match_named_norms(model, reference, batches, outside)
    return learned


def blocks_with(
    quantized: Collection[str], model: nn.Module, reference: nn.Module, batches: Sequence[tuple[Any, Any]]
) -> Blocks:
    """Returns the blocks with layers of these names, by name; nothing is changed, or need be quantized yet.

    Args:
        quantized: Names of the layers.
        model: The network to be repaired.
        reference: The same network before compression.
        batches: What `read_once` gives; the first goes through both networks.

    Raises:
        ModelError: Activations are quantized; a layer is shared, or a block gives no floating-point tensor or
            one with NaN or inf (the message names it); or the networks differ in parts or BNs.
    """
    if activation_quantizers(model):
        raise ModelError("the activations are quantized already; reconstruct before quantizing activations")
    units, theirs = _units(model, quantized), dict(reference.named_modules())
    for name, layers in units.items():
        for inner, layer in layers:
            require_own_values(f"{name}.{inner}".strip("."), layer)
        if name not in theirs:
            raise ModelError(f"the reference has no part {name}; give the same network before compression")
    require_same_norms(model, reference)
    for name in units:
        _examples(name, model, reference, batches[:1])
    return units


def _examples(
    name: str, model: nn.Module, reference: nn.Module, batches: Sequence[tuple[Any, Any]]
) -> list[Examples]:
    """Returns what a block can learn from; nothing where it is not called."""
    sizes = [len(next(tensors(inputs))) for inputs, _ in batches]
    pairs = zip(arguments_of(model, name, batches), outputs_of(reference, name, batches), sizes, strict=True)
    calls = [(given, outputs, size) for given, outputs, size in pairs if given is not None and outputs]
    return examples_of(name, reference.get_submodule(name), calls) if calls else []


def layers_with_levels(model: nn.Module) -> list[str]:
    """Returns the names of the layers that are quantized to levels; 0 bits are none."""
    parts = {name: fake_quantizer(layer) for name, layer in weighted_layers(model)}
    return [name for name, part in parts.items() if part is not None and part.quantizer.bits]


def _units(model: nn.Module, quantized: Collection[str]) -> Blocks:
    """Returns the blocks with a layer of these names."""
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
        unlearned = name not in block_of and isinstance(layer.holders[0].module, _TABLES)
        if name in quantized and not unlearned:
            unit = block_of.get(name, name)
            units.setdefault(unit, []).append((name[len(unit) + 1 :], layer))
    return units


def _learn(
    name: str,
    part: nn.Module,
    layers: list[tuple[str, Weighted]],
    examples: Sequence[Examples],
    steps: int,
    generator: torch.Generator,
) -> None:
    """Trains one block on its own outputs, in place."""
    plain = copy.deepcopy(part).eval()
    release_all(plain)
    learned = {layer.keys[0].removeprefix(f"{name}."): LearnedWeight.of(layer) for _, layer in layers}
    norms = _norm_parameters(plain)
    groups = [group for one in learned.values() for group in one.groups()]
    optimizer = torch.optim.Adam([*groups, {"params": list(norms.values()), "lr": RATE}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scales = _scales(examples)
    with torch.enable_grad(), working("learn a block's roundings", steps, "steps") as beat:
        for _ in range(steps):
            beat.advance()
            given, targets = _drawn(examples, generator)
            values = {key: one.value() for key, one in learned.items()} | norms
            output = functional_call(plain, values, given.args, given.named)
            loss = _difference(float_outputs(name, part, output), targets, scales)
            if not loss.requires_grad:
                return  # nothing that the block gives depends on these weights
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with answering(part):
        values = {key: one.value() for key, one in learned.items()} | norms
        after = _over_all(examples, lambda g: functional_call(plain, values, g.args, g.named), name, scales)
        before = _over_all(examples, lambda g: part(*g.args, **g.named), name, scales)
    # Where inputs know nothing of each other, nearest levels are best and learning moves away from them.
    if after >= before:
        return
    for (_, layer), one in zip(layers, learned.values(), strict=True):
        one.store(layer)
    with torch.no_grad():
        for key, value in norms.items():
            part.get_parameter(key).copy_(value)


def _over_all(
    examples: Sequence[Examples], run: Callable[[CallArguments], Any], name: str, scales: Sequence[Tensor]
) -> float:
    """Returns the mean difference from all targets of what `run` gives, a batch at a time."""
    total, count = 0.0, 0
    for one in examples:
        for given, targets, size in one.pieces(_EVALUATED):
            found = _difference(float_outputs(name, nn.Identity(), run(given)), targets, scales)
            total, count = total + size * float(found), count + size
    return total / count


def _drawn(examples: Sequence[Examples], generator: torch.Generator) -> tuple[CallArguments, Targets]:
    """Draws one batch, from the calls of one kind, those with more samples more often."""
    place = 0
    if len(examples) > 1:
        sizes = torch.tensor([float(one.size) for one in examples])
        place = int(torch.multinomial(sizes, 1, generator=generator))
    return examples[place].draw(_BATCH, generator)


def _scales(examples: Sequence[Examples]) -> list[Tensor]:
    """Returns the variance of each output of the block, the mean over the kinds of calls."""
    found = []
    for targets in zip(*(one.targets for one in examples), strict=True):
        variances = [t.var(unbiased=t.numel() > 1) for t in targets if t is not None]
        found.append(torch.stack(variances).mean().clamp(min=1e-12) if variances else torch.ones(()))
    return found


def _difference(outputs: Sequence[Tensor], targets: Targets, scales: Sequence[Tensor]) -> Tensor:
    """Returns the mean squared difference relative to the scales, over the outputs that have a target."""
    found = [
        (output - target).square().mean() / scale
        for output, target, scale in zip(outputs, targets, scales, strict=True)
        if target is not None
    ]
    return torch.stack(found).mean()


def _norm_parameters(part: nn.Module) -> dict[str, Tensor]:
    """Returns copies of the factors and shifts of the BNs in a block, by their keys."""
    norms = [(name, m) for name, m in part.named_modules() if isinstance(m, _BatchNorm)]
    return {
        f"{name}.{key}": value.detach().clone().requires_grad_()
        for name, norm in norms
        for key, value in norm.named_parameters()
    }
