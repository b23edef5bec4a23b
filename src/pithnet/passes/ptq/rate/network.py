"""A whole network rounded at one price of a bit, layer by layer, with the inputs of the network so far."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from pithnet.errors import ModelError
from pithnet.learn.batch import call, tensors
from pithnet.passes.calibration import first_sample
from pithnet.passes.freed_memory import give_back_freed
from pithnet.passes.ptq.norm_repair import match_named_norms
from pithnet.passes.ptq.part_calls import answering, unread_layers
from pithnet.passes.ptq.rate.matrices import Matrix, matrix_of
from pithnet.passes.ptq.rate.moments import Moments, Sums
from pithnet.passes.ptq.rate.norms import deviation_ratio, follow_
from pithnet.passes.ptq.rate.outcome import Outcome, Stored, changed_tensors, pruned
from pithnet.passes.ptq.rate.parts import parts_of, stored_matrix, stored_rows, weight_part
from pithnet.passes.ptq.rate.rounding import Effort, Part
from pithnet.passes.ptq.rate.sensitivity import Sensitivity, sensitivity_of
from pithnet.passes.ptq.rate.sketches import Sketch
from pithnet.passes.ptq.rate.walks import Walks, walking
from pithnet.surgery import Weighted, norms_after_layers, release, set_latent_weight, weighted_layers

Batches = Sequence[tuple[Any, Any]]
_FEW, _SKETCHED = 256, 12  # samples, and positions of each, by which bits are guessed


@dataclass(frozen=True, eq=False)
class Walked:
    """A layer whose inputs and outputs can be looked at: linear or a convolution, called with one tensor.

    Attributes:
        name: The layer's.
        matrix: The layer as a matrix.
        norm: The name of the BN right after it, if any.
    """

    name: str
    matrix: Matrix
    norm: str | None


class Network:
    """A network to be rounded at any price, and what is found out about it once.

    Args:
        model: The network, in float32; it is left alone.
        names: The layers to be rounded.
        batches: What `read_once` gives.
        seed: Of signs and positions.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], batches: Batches, seed: int) -> None:
        self.plain, self.batches, self.seed = copy.deepcopy(model), batches, seed
        layers = {n: layer for n, layer in weighted_layers(self.plain) if n in names}
        self.kept = {name: pruned(layer) for name, layer in layers.items()}
        norms = norms_after_layers(self.plain, first_sample(model, batches))
        for layer in layers.values():
            release(layer)
        self.walked = _walked(self.plain, layers, norms, batches[0][0])
        rest = {name: layer for name, layer in layers.items() if name not in self.walked}
        self.unread = unread_layers(self.plain, list(layers), batches)
        self.rest = [name for name in rest if name not in self.unread]
        self.sensitivity = self._sensitivity(rest)
        self._norms = {walked.norm for walked in self.walked.values()}

    def _sensitivity(self, rest: dict[str, Weighted]) -> Sensitivity:
        for layer in rest.values():
            layer.weight.requires_grad_()
        weights = {name: layer.weight for name, layer in rest.items()}
        matrices = {name: walked.matrix for name, walked in self.walked.items()}
        found = sensitivity_of(self.plain, matrices, weights, self.batches, self.seed)
        self._count_alike(found, rest)
        return found

    def _count_alike(self, found: Sensitivity, rest: dict[str, Weighted]) -> None:
        """Gives layers that are read, but through which no gradient goes, the sensitivity of the others.

        A forward may compute with them without gradients, or go on with numbers that have none.
        """
        common = found.unit
        for name, walked in self.walked.items():
            if name not in found.outputs and name not in self.unread:
                layer: Any = self.plain.get_submodule(name)
                rows = walked.matrix.matrix(layer.weight.detach()).flatten(0, 1)
                found.outputs[name] = common * torch.eye(len(rows)).to(rows)
        for name in self.rest:
            if name not in found.weights:
                found.weights[name] = torch.full_like(rest[name].weight.detach(), common)

    @property
    def unit(self) -> float:
        """The geometric mean over layers of what a squared error of an output costs: a unit of prices."""
        return self.sensitivity.unit

    @torch.no_grad()
    def sketches(self) -> list[Sketch]:
        """Returns what guesses the bits at a price, from some samples in the network as it is."""
        layers = dict(weighted_layers(self.plain))
        found = []
        for name in self.rest:
            part = weight_part(layers[name], self.sensitivity.weights[name], self.kept[name])
            found.append(part.sketch("stored"))
        generator = torch.Generator().manual_seed(self.seed)
        names = [name for name in self.walked if name not in self.unread]
        with walking(self.plain, names, _some(self.batches)) as walks:
            for name in names:
                moments = _moments(self.walked[name], walks, walks, _SKETCHED, generator)
                if moments is not None:
                    found += self._sketched(self.walked[name], moments)
                del moments  # the next layer's may need as much memory
        return found

    @torch.no_grad()
    def round_at(self, price: float, effort: Effort) -> Outcome:
        """Rounds all layers at a price.

        Args:
            price: What a bit costs, in squared lengths of a sample's outputs.
            effort: How long levels are looked for.
        """
        batches = self.batches
        trial, outcome = copy.deepcopy(self.plain), Outcome()
        layers = dict(weighted_layers(trial))
        for name in self.rest:
            part = weight_part(layers[name], self.sensitivity.weights[name], self.kept[name])
            steps = part.steps(price, "stored")
            levels = part.levels(steps, price, effort)
            outcome.weights[name] = stored_rows(layers[name], levels, steps, self.kept[name])
            set_latent_weight(layers[name], outcome.weights[name].weight)
        generator = torch.Generator().manual_seed(self.seed)
        names = [name for name in self.walked if name not in self.unread]
        with walking(trial, names, batches) as now, walking(self.plain, names, batches) as before:
            for name, following in zip(names, [*names, None][1:], strict=True):
                walked = self.walked[name]
                moments = _moments(walked, now, before, effort.positions, generator, following)
                if moments is not None:
                    with _named(name):
                        outcome.weights[name] = self._round(trial, walked, moments, price, effort)
                del moments  # the next layer's may need as much memory
        self._match_rest(trial, batches)
        outcome.others = changed_tensors(trial, self.plain, set(outcome.weights))
        return outcome

    def _round(
        self, trial: nn.Module, walked: Walked, moments: Moments, price: float, effort: Effort
    ) -> Stored:
        """Rounds one layer of the trial, in place, and makes good means and deviations."""
        layer: Any = trial.get_submodule(walked.name)
        matrix, kept = walked.matrix, self.kept[walked.name]
        weight = matrix.matrix(layer.weight.detach())
        parts, scales = self._parts(layer, walked, moments, fitted=True), _scales(layer, walked)
        steps = torch.cat([part.steps(price, scales) for part in parts])
        if scales == "none":
            steps = steps.log().mean().exp().expand_as(steps)
        found = [
            part.levels(own, price, effort)
            for part, own in zip(parts, steps.split([len(p.weight) for p in parts]), strict=True)
        ]
        levels = torch.cat(found).view_as(weight)
        stored, rows = stored_matrix(matrix, levels, steps.view(weight.shape[:2]), scales, kept)
        layer.weight.copy_(stored.weight)
        mean, variance = (m.flatten() for m in moments.given(levels * steps.view(*weight.shape[:2], 1)))
        expected = moments.outputs.flatten()
        if walked.norm:
            ratio = deviation_ratio(moments.variance.flatten(), variance)
            norm = trial.get_submodule(walked.norm)
            assert isinstance(norm, _BatchNorm)
            follow_(norm, ratio * rows, expected, mean / rows)
        if layer.bias is not None:
            layer.bias.copy_(torch.zeros_like(mean) if walked.norm else expected - mean)
        return stored

    def _sketched(self, walked: Walked, moments: Moments) -> list[Sketch]:
        layer = self.plain.get_submodule(walked.name)
        parts = self._parts(layer, walked, moments, fitted=False)
        return [part.sketch(_scales(layer, walked)) for part in parts]

    def _parts(self, layer: Any, walked: Walked, moments: Moments, *, fitted: bool) -> list[Part]:
        """Returns the parts of a layer, of the weights it has or of those fitted to what they should give."""
        matrix, kept = walked.matrix, self.kept[walked.name]
        weight = matrix.matrix(layer.weight.detach())
        return parts_of(
            moments.target(weight) if fitted else weight,
            moments.hessian(),
            self.sensitivity.outputs[walked.name],
            None if kept is None else matrix.matrix(kept),
            matrix.neighbours(),
        )

    def _match_rest(self, trial: nn.Module, batches: Batches) -> None:
        """Matches the BNs that do not follow a layer of which that is known."""
        others = [
            name
            for name, module in self.plain.named_modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None and name not in self._norms
        ]
        if others:
            match_named_norms(trial, self.plain, batches, others)


def _scales(layer: nn.Module, walked: Walked) -> str:
    """Returns what a scale of its own costs a row of a layer, in the words of `Part.steps`."""
    return "free" if walked.norm else "none" if isinstance(layer, _ConvTransposeNd) else "stored"


def _some(batches: Batches) -> Batches:
    """Returns the first batches, so many that they hold some samples."""
    samples = 0
    for number, (inputs, _) in enumerate(batches):
        samples += len(next(tensors(inputs)))
        if samples >= _FEW:
            return batches[: number + 1]
    return batches


@torch.no_grad()
def _walked(
    model: nn.Module, layers: dict[str, Weighted], norms: dict[str, str], inputs: Any
) -> dict[str, Walked]:
    """Returns the layers whose inputs can be looked at, in the order in which the network calls them."""
    found: dict[str, Walked] = {}
    refused: set[str] = set()
    handles = []
    for name, layer in layers.items():
        matrix = matrix_of(layer.holders[0].module)
        places = sum(len(holder.paths) for holder in layer.holders)
        if matrix is not None and places == 1 and layer.holders[0].tensor == "weight":
            watch = _Watch(Walked(name, matrix, norms.get(name)), found, refused)
            handles.append(layer.holders[0].module.register_forward_hook(watch, with_kwargs=True))
    try:
        with answering(model):
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: walked for name, walked in found.items() if name not in refused}


class _Watch:
    """A hook that notes a layer at its first call, and whether it is called with one tensor."""

    def __init__(self, walked: Walked, found: dict[str, Walked], refused: set[str]) -> None:
        self.walked, self.found, self.refused = walked, found, refused

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        self.found.setdefault(self.walked.name, self.walked)
        if named or len(args) != 1 or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            self.refused.add(self.walked.name)


def _moments(
    walked: Walked,
    now: Walks,
    before: Walks,
    positions: int,
    generator: torch.Generator,
    following: str | None = None,
) -> Moments | None:
    """Brings all batches to a layer; returns what it is given now, and what it gave before.

    Args:
        walked: The layer.
        now: Batches in the network as it is so far.
        before: Batches in the float network.
        positions: Of each sample, at which inputs and outputs are looked at.
        generator: Of the positions.
        following: A layer that the float network goes on to at once, where it keeps one tensor less waiting.
    """
    sums = Sums()
    for batch in range(now.count):
        given, output = now.given(batch, walked.name), before.output(batch, walked.name)
        if given is None or output is None:
            continue
        vectors = walked.matrix.outputs(output)  # (N, positions, outputs)
        count = vectors.shape[1]
        at = torch.arange(count)
        if count > positions and len(vectors) > 1:
            at = torch.randperm(count, generator=generator)[:positions]
        at = at.to(output.device)
        sums.add(walked.matrix.inputs(given.args[0], output, at), vectors[:, at].flatten(0, 1))
        if following is not None:
            del output, vectors
            before.given(batch, following)
        give_back_freed()
    with _named(walked.name):
        return sums.moments() if sums.count else None


@contextmanager
def _named(layer: str) -> Iterator[None]:
    """Names the layer in the message of a ModelError."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{layer} cannot be rounded: {error}") from None
