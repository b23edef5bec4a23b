"""What errors of layers' outputs, and of weights, do to the outputs of the network: once, without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.learn.batch import call
from pithnet.passes.calibration import Order
from pithnet.passes.freed_memory import give_back_freed
from pithnet.passes.ptq.part_calls import float_outputs
from pithnet.passes.ptq.rate.matrices import Matrix
from pithnet.surgery import evaluating

_ENOUGH = 512  # samples
_FLOOR = 1e-3  # of a layer's mean: what a dead channel counts for


@dataclass
class Sensitivity:
    """What small errors cost: the squared length of what they make of a sample's outputs, on average.

    Attributes:
        outputs: Of layers, G (O, O): e^T G e is the cost of an error e at every position of the output, where
            those of two positions know nothing of each other.
        weights: Of single weights, in the shape of their tensors.
        samples: How many samples were looked at.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    samples: int = 0

    @property
    def unit(self) -> float:
        """The geometric mean over layers of what a squared error costs; 1 where there are none."""
        means = [float(metric.diagonal().mean().log()) for metric in self.outputs.values()]
        means += [float(w.mean().clamp(min=1e-30).log()) for w in self.weights.values()]
        return math.exp(sum(means) / max(len(means), 1))


def sensitivity_of(
    model: nn.Module,
    layers: Mapping[str, Matrix],
    weights: Mapping[str, Tensor],
    batches: Sequence[tuple[Any, Any]],
    seed: int,
) -> Sensitivity:
    """Finds what errors cost, by the gradients of the network's outputs times random signs.

    With signs s, and g the gradient of s . outputs, the mean of g g^T over signs is J^T J.

    Args:
        model: The network, before it is changed.
        layers: The layers whose outputs count.
        weights: Tensors whose own errors count, by name; they need a gradient.
        batches: What `read_once` gives; the first 512 samples do. It warns as `quantize` does where they are
            sorted by class.
        seed: Of the signs.

    Returns:
        What was found; a layer or tensor that no output depends on is not in it.

    Raises:
        ModelError: The outputs or their gradients are NaN or inf.
    """
    generator = torch.Generator().manual_seed(seed)
    found, order = Sensitivity(), Order()
    with evaluating(model), torch.enable_grad():
        for inputs, _ in batches:
            order.add(_add(model, layers, weights, inputs, generator, found), None)
            give_back_freed()
            if found.samples >= _ENOUGH:
                break
    order.warn()
    for values in (found.outputs, found.weights):
        for name in values:
            values[name] = values[name] / found.samples
            if not bool(torch.isfinite(values[name]).all()):
                raise ModelError(
                    f"the network's outputs, or their gradients at {name}, are NaN or inf; check the images"
                )
    found.outputs = {name: _with_floor(metric) for name, metric in found.outputs.items()}
    return found


def _add(
    model: nn.Module,
    layers: Mapping[str, Matrix],
    weights: Mapping[str, Tensor],
    inputs: Any,
    generator: torch.Generator,
    found: Sensitivity,
) -> Any:
    """Adds the gradients of one batch; returns what the model gives for it."""
    seen: list[tuple[str, Tensor]] = []
    handles = [model.get_submodule(n).register_forward_hook(_Keep(n, seen)) for n in layers]
    try:
        answer = call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    outputs = float_outputs("", model, answer)
    found.samples += len(outputs[0]) if outputs[0].ndim else 1
    signs = [torch.randint(0, 2, y.shape, generator=generator).to(y) * 2 - 1 for y in outputs]
    sums = [(y * sign).sum() for y, sign in zip(outputs, signs, strict=True) if y.requires_grad]
    sources = [*(y for _, y in seen), *weights.values()]
    if not sums or not sources:
        return answer
    gradients = list(torch.autograd.grad(sums, sources, allow_unused=True))
    for (name, _), gradient in zip(seen, gradients, strict=False):
        if gradient is not None:
            vectors = layers[name].outputs(gradient).flatten(0, 1)
            _accumulate(found.outputs, name, vectors.t() @ vectors)
    for name, gradient in zip(weights, gradients[len(seen) :], strict=True):
        if gradient is not None:
            _accumulate(found.weights, name, gradient.square())
    return answer


def _accumulate(totals: dict[str, Tensor], name: str, value: Tensor) -> None:
    totals[name] = totals[name] + value if name in totals else value


class _Keep:
    """A hook that keeps a layer's output for its gradient; the network goes on with a copy."""

    def __init__(self, name: str, seen: list[tuple[str, Tensor]]) -> None:
        self.name, self.seen = name, seen

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        kept = output if output.requires_grad else output.detach().requires_grad_()
        self.seen.append((self.name, kept))
        return kept.clone()  # what comes next may change it in place


def _with_floor(metric: Tensor) -> Tensor:
    diagonal = metric.diagonal()
    mean = diagonal.mean() if bool(diagonal.any()) else torch.ones_like(diagonal[0])
    return metric + (_FLOOR * mean - diagonal).clamp(min=0).diag()
