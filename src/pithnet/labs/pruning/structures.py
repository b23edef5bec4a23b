"""Item 7: one share of the weights, removed as weights, kernels, filters, channels or hidden neurons."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from pithnet.commands.settings import DataSettings
from pithnet.labs.footprint import memory_bytes, times
from pithnet.labs.notebook import Row
from pithnet.labs.pruning.lab import PruningLab
from pithnet.labs.teachers import untaught
from pithnet.labs.training import Trained, accuracy_columns, rival_columns, train, zeros
from pithnet.labs.workbench import Workbench
from pithnet.learn import evaluate
from pithnet.passes import ShrinkPlan, plan_shrink, prune
from pithnet.passes.file_size import file_bytes
from pithnet.surgery import weighted_layers

NOTHING, WEIGHTS, KERNELS, FILTERS = "nothing", "weights", "kernels", "filters"
CHANNELS, NEURONS = "channels", "neurons"
MLP = "two hidden layers"
_MASKED = {WEIGHTS: "weight", KERNELS: "kernel", FILTERS: "filter"}
_CLASSIFIER = "linear"  # a filter of it is a class
_TIMES = "times of structures"


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that loses a share of its weights.

    Attributes:
        name: What the rows call it.
        whole: The trained network.
        bench: Its images.
        structures: What is removed from it; the last one is really cut.
        share: The share of its parameters to remove.
        train: Trains a copy in place, under the key that the notebook keeps it by.
    """

    name: str
    whole: Trained
    bench: Workbench
    structures: tuple[str, ...]
    share: float
    train: Callable[[str, nn.Module], Trained]

    @cached_property
    def example(self) -> Tensor:
        """A test image, on the network's device."""
        x = next(iter(self.bench.test_batches()))[0]
        assert x is not None
        return x[:1].to(self.bench.device)

    @cached_property
    def plan(self) -> ShrinkPlan:
        """Which channels, or hidden neurons, go: the same share of each layer, any width."""
        return plan_shrink(
            self.whole.model, self.example, parameters=1 - self.share, scope="uniform", round_to=1
        )

    @cached_property
    def removed(self) -> int:
        """How many weights go with the channels."""
        return _weights(self.whole.model) - _weights(self.plan.cut())

    def without(self, structure: str) -> nn.Module:
        """Returns a copy without the weights; masked structures lose as many as a cut does, or nearly."""
        if structure in (CHANNELS, NEURONS):
            return self.plan.cut()
        model = copy.deepcopy(self.whole.model)
        if structure != NOTHING:
            layers = [layer for name, layer in weighted_layers(model) if name != _CLASSIFIER]
            share = self.removed / sum(layer.weight.numel() for layer in layers)
            prune(model, share, scope="uniform", granularity=_MASKED[structure], skip=(_CLASSIFIER,))
        return model

    def what(self, structure: str) -> str:
        """Returns the name of a row."""
        return f"{self.name}, {structure}"


def structures(lab: PruningLab) -> None:
    """Measures item 7: each structure of both networks, untuned and trained, with what it takes."""
    s = lab.settings.structures
    subjects = (_network(lab), _mlp(lab))
    named = {subject.what(one): (subject, one) for subject in subjects for one in subject.structures}
    made = {
        what: (partial(subject.without, one), tuple(subject.example.shape[1:]))
        for what, (subject, one) in named.items()
    }
    timed = times(lab.book, _TIMES, made, s.batches, s.seconds)
    for what, (subject, one) in named.items():
        lab.book.row("7", what, partial(_row, subject, one, timed[what]))


def _network(lab: PruningLab) -> Subject:
    """The lab's network, trained as the lab's teacher has it."""
    s = lab.settings.structures
    named = (NOTHING, WEIGHTS, KERNELS, FILTERS, CHANNELS)

    def trained(key: str, model: nn.Module) -> Trained:
        return lab.train(key, model, s.training)

    return Subject(lab.bench.architecture, lab.baseline, lab.bench, named, s.share, trained)


def _mlp(lab: PruningLab) -> Subject:
    """A network with two hidden linear layers on the bundled digits, trained here from the labels."""
    s = lab.settings.structures
    digits = Workbench.open(
        DataSettings(data="digits"),
        None,
        s.batch_size,
        lab.bench.seed,
        lab.bench.precision,
        device=lab.bench.device.type,
    )

    def trained(key: str, model: nn.Module) -> Trained:
        return train(lab.book, digits, key, model, untaught(s.training))

    torch.manual_seed(lab.bench.seed)
    model = hidden_layers(s.hidden).to(digits.device)
    whole = train(lab.book, digits, f"{MLP} baseline", model, s.mlp)
    return Subject(MLP, whole, digits, (NOTHING, WEIGHTS, NEURONS), s.share, trained)


def hidden_layers(width: int) -> nn.Module:
    """Returns a fresh network of two hidden layers of that width, for images (1, 8, 8) of ten classes."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden1=nn.Linear(64, width),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(width, width),
            relu2=nn.ReLU(),
            linear=nn.Linear(width, 10),
        )
    )


def _row(subject: Subject, structure: str, timed: Mapping[str, float]) -> Row:
    """What a network without the weights answers and takes; the whole one is not trained further."""
    model, whole = subject.without(structure), subject.whole
    total, cut = _weights(whole.model), structure in (CHANNELS, NEURONS)
    left = _weights(model) - zeros(model)
    row: Row = {
        "network": subject.name,
        "structure": structure,
        "removed": 1 - left / total,
        "weights": left,
        "macs": subject.plan.macs if cut else subject.plan.full_macs,
        "untuned": whole.evaluation.accuracy,
    }
    found = whole.evaluation
    if structure != NOTHING:
        row["untuned"] = evaluate(model, subject.bench.test_batches()).accuracy
        trained = _trained(subject, structure, model)
        found = trained.evaluation
        row |= {
            "epochs": len(trained.history),
            "best_over_test_epochs": max(h["test_accuracy"] for h in trained.history),
            "masks_exact": all(h["masks_exact"] for h in trained.history),
        }
    row |= accuracy_columns(found, whole.evaluation.correct)
    if structure not in (NOTHING, WEIGHTS):
        rival = _trained(subject, WEIGHTS, subject.without(WEIGHTS)).evaluation.correct
        row |= rival_columns(subject.what(WEIGHTS), rival, found.correct)
    return row | {"bytes": file_bytes(model), "memory_bytes": memory_bytes(model), **timed}


def _trained(subject: Subject, structure: str, model: nn.Module) -> Trained:
    return subject.train(f"structure {subject.what(structure)}", model)


def _weights(model: nn.Module) -> int:
    return sum(layer.weight.numel() for _, layer in weighted_layers(model))
