"""What a recipe will do to each layer of a model, and about how many bytes and MACs that takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.artifact import check_storable, float32_bytes, plain_state
from pithnet.coding import entropy_bits
from pithnet.errors import ModelError
from pithnet.passes import Given, LayerSketch, Sketch, pass_of
from pithnet.recipe import FORMAT_BITS, Keep, Recipe
from pithnet.results import LayerRow
from pithnet.run.result import coverage_json
from pithnet.surgery import Coverage, check_usable, costs, coverage

_SCALE = 12  # of a row of quantized weights: finalize makes them short
_HEADER = 60  # of the file
_RECORD = 8  # each tensor's coding and checksum


@dataclass(frozen=True)
class StepPlan:
    """One step of the recipe: its title, its epochs, and a row for each layer that its pass changes."""

    number: int
    title: str
    epochs: int
    rows: tuple[LayerRow, ...]


@dataclass(frozen=True)
class LayerPlan:
    """One layer after all passes.

    Attributes:
        name: The layer's name in the network.
        shape: The shape of its weight.
        weights: The number of its weights.
        passes: The passes that touch it, in order.
        zeros: The zeros to expect.
        levels: The distinct non-zero values to expect, None where weights stay floats.
        bytes: The bytes that it takes in the file.
        macs: The multiply-accumulates of the example, None without one.
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    passes: str
    zeros: int
    levels: int | None
    bytes: int
    macs: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a recipe will do: the steps, the layers after them, and everything else in the file.

    Zeros and levels are those of the weights as they are now; training moves zeros between layers.

    Attributes:
        recipe: The recipe's name.
        steps: The steps in order, each with the rows of its pass.
        layers: The layers in order, after all passes.
        rest: Bytes of everything else: normalisation, biases, the header.
        float_bytes: Bytes of the float32 state_dict.
        coverage: What of the network the passes compress.
        full_macs: The multiply-accumulates of the network as it is, where passes remove channels; else None.
    """

    recipe: str
    steps: tuple[StepPlan, ...]
    layers: tuple[LayerPlan, ...]
    rest: int
    float_bytes: int
    coverage: Coverage
    full_macs: int | None = None

    @property
    def bytes(self) -> int:
        """The bytes of the file to expect."""
        return self.rest + sum(layer.bytes for layer in self.layers)

    @property
    def ratio(self) -> float:
        """The bytes of the float32 state_dict / the bytes of the file."""
        return self.float_bytes / self.bytes

    @property
    def macs(self) -> int | None:
        """The multiply-accumulates of all layers for the example, None without one."""
        known = [layer.macs for layer in self.layers if layer.macs is not None]
        return sum(known) if known else None

    @property
    def macs_said(self) -> str:
        """What there is to say of the multiply-accumulates, with a comma before it."""
        if self.macs is None:
            return ""
        fewer = f", {self.full_macs / max(self.macs, 1):.2f}x fewer" if self.full_macs else ""
        return f", {self.macs:,} MACs{fewer}"

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as plan.json holds it."""
        return {
            "recipe": self.recipe,
            "steps": [asdict(step) for step in self.steps],
            "layers": [asdict(layer) for layer in self.layers],
            "rest": self.rest,
            "bytes": self.bytes,
            "float_bytes": self.float_bytes,
            "macs": self.macs,
            "full_macs": self.full_macs,
            **coverage_json(self.coverage),
        }

    def __str__(self) -> str:
        """The recipe, its steps, a line for each layer, and the whole."""
        lines = [f"{self.recipe}: {', '.join(_described(step) for step in self.steps)}"]
        for layer in self.layers:
            zeros = f"{100 * layer.zeros / max(layer.weights, 1):5.1f} % zeros"
            levels = "floats" if layer.levels is None else f"{layer.levels} levels"
            macs = "" if layer.macs is None else f"  {layer.macs:>13,} MACs"
            shape = "x".join(map(str, layer.shape))
            lines.append(
                f"  {layer.name:28} {shape:>16}  {zeros}  {levels:>10}  {layer.bytes:>10,} bytes{macs}"
                f"  {layer.passes}"
            )
        lines.append(f"about {self.bytes:,} bytes, {self.ratio:.1f}x smaller than float32{self.macs_said}")
        return "\n".join(lines)


def _described(step: StepPlan) -> str:
    return f"{step.title} ({step.epochs} epochs)" if step.epochs else step.title


def make_plan(model: nn.Module, recipe: Recipe, given: Given | None = None) -> Plan:
    """Asks every pass of the recipe what it will do; neither trains nor runs a pass.

    Passes plan on samples of the weights (`pithnet.passes.Sketch`), so a plan takes about a second for a
    model of any size. Bytes are the entropies of positions and symbols; what layers share counts once.

    Args:
        model: The network as it is; it is not changed.
        recipe: What is to be done.
        given: What passes may ask for beside the weights. With an example in it, the plan counts its
            multiply-accumulates, unless nothing can follow the model's forward.

    Returns:
        The steps, the layers after them, and the bytes to expect.

    Raises:
        RecipeError: A pass asks for what cannot be given: an unknown criterion, a pattern that matches
            nothing, pruning after sharing.
        ModelError: A layer cannot be compressed so.
        ArtifactError: No file holds the model: quantized activations, a complex or sparse tensor.
    """
    check_usable(model)
    check_storable(model)
    given = given or Given(seed=recipe.seed)
    sketch = Sketch(model, recipe.also)
    steps = []
    for number, step in enumerate(recipe.steps):
        work = pass_of(step)
        weigh = bytes_after(recipe, number, sketch)
        rows = () if work is None else tuple(work.plan(sketch, replace(given, weigh=weigh)))
        steps.append(StepPlan(number, step.title, step.train.epochs if step.train else 0, rows))
    macs = {} if given.example is None else _macs(sketch.model, given.example)
    layers = tuple(_layer(layer, recipe.storage, macs.get(layer.name)) for layer in sketch.layers)
    touched = [layer.layer.keys[0] for layer in sketch.layers if layer.is_covered]
    covered = coverage(sketch.model, recipe.skipped, planned=touched)
    rest = _rest_bytes(sketch, recipe.storage)
    full = None if sketch.model is model or not macs else sum(_macs(model, given.example).values())
    size = float32_bytes(plain_state(model))
    return Plan(recipe.name, tuple(steps), layers, rest, size, covered, full)


def bytes_after(recipe: Recipe, number: int, before: Sketch | None = None) -> Callable[[nn.Module], int]:
    """Returns what tells the bytes of the file that the steps after one will make of a network.

    Args:
        recipe: The whole recipe.
        number: The step after which the network is weighed.
        before: What earlier steps are planned to have done; None where they have been carried out.
    """

    def weigh(model: nn.Module) -> int:
        sketch = Sketch(model, recipe.also) if before is None else before.of(model)
        for step in recipe.steps[number + 1 :]:
            work = pass_of(step)
            if work is not None:
                work.plan(sketch, Given(seed=recipe.seed))
        rest = _rest_bytes(sketch, recipe.storage)
        return rest + sum(_layer(layer, recipe.storage, None).bytes for layer in sketch.layers)

    return weigh


def _macs(model: nn.Module, example: Any) -> dict[str, int]:
    """Multiply-accumulates by layer name; none of a model whose forward nothing can follow."""
    try:
        return {cost.name: cost.macs for cost in costs(model, example)}
    except ModelError:
        return {}


def _layer(layer: LayerSketch, storage: Keep, macs: int | None) -> LayerPlan:
    passes = ", ".join(layer.passes) or "as it is"
    size = round(_weight_bits(layer, storage) / 8) + _RECORD
    return LayerPlan(layer.name, layer.shape, layer.size, passes, layer.zeros, layer.levels, size, macs)


def _weight_bits(layer: LayerSketch, storage: Keep) -> float:
    """The entropies of a layer's zeros and symbols, and its codebook or scales, in bits."""
    used = layer.size - layer.zeros
    # Of an output without weights, such as a pruned filter, the file says so once and no positions.
    empty = (layer.rows == 0).all(1)
    in_empty = round(layer.size * int(empty.sum()) / max(len(empty), 1))
    bits = (layer.size - in_empty) * _entropy(max(layer.zeros - in_empty, 0), used)
    if layer.counts is None:
        return bits + used * FORMAT_BITS[storage.other]
    bits += used * entropy_bits(layer.counts.cpu().numpy())
    if layer.bits is not None:
        return bits + layer.scales * _SCALE
    return bits + (layer.levels or 0) * FORMAT_BITS[storage.codebook]


def _entropy(*counts: int) -> float:
    """Bits per symbol of a source with these counts."""
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n) if total else 0.0


def _rest_bytes(sketch: Sketch, storage: Keep) -> int:
    """Everything but the layers' weights: normalisation, with its statistics or without, biases, the rest."""
    model, weights = sketch.model, {key for layer in sketch.layers for key in layer.layer.keys}
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
        kept = storage.norm if module in norms else storage.other
        bits += value.numel() * (32 if statistics else FORMAT_BITS[kept])
    return _HEADER + -(-bits // 8)
