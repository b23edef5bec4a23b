"""Item 6 of `lab fixed-point`: bits for every layer, found without labels, no more than by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial

from torch import nn

from pithnet.labs.fixed_point.lab import FixedPointLab
from pithnet.labs.fixed_point.schemes import LEVELS, OURS, Scheme, staged_schemes
from pithnet.labs.notebook import Row
from pithnet.passes import average_bits, quantize
from pithnet.policies import allocate_bits, sensitivity
from pithnet.surgery import weighted_layers


def searched(lab: FixedPointLab) -> None:
    """Measures item 6: for every scheme by hand a row that spends no more bits per weight, on all layers.

    How much each layer minds is asked of the training images kept for choices; labels are not looked at.
    """
    rivals = [scheme for scheme in staged_schemes(lab.start) if scheme.levels == OURS]
    budgets = [_average_bits(lab.start, rival) for rival in rivals]
    names = [f"searched, <= {budget:.4f} bits" for budget in budgets]
    if all(lab.book.find("6", name) for name in names):
        return
    harm = sensitivity(lab.start, lab.bench.choice_batches(), **LEVELS[OURS])
    for what, budget, rival in zip(names, budgets, rivals, strict=True):
        lab.book.row("6", what, partial(_searched, lab, what, budget, rival, harm))


def _average_bits(start: nn.Module, scheme: Scheme) -> float:
    model = copy.deepcopy(start)
    scheme.apply(model)
    return average_bits(model)


def _searched(
    lab: FixedPointLab, what: str, budget: float, rival: Scheme, harm: Mapping[str, Sequence[float]]
) -> Row:
    bits = allocate_bits(lab.start, harm, average_bits=budget)
    model = copy.deepcopy(lab.start)
    quantize(model, None, overrides=bits, **LEVELS[OURS])
    row, correct = lab.learned(what, model, OURS)
    layers = [
        {"name": name, "size": layer.weight.numel(), "bits": bits[name]}
        for name, layer in weighted_layers(lab.start)
    ]
    found = {"levels": OURS, "where": "all", "budget": budget, "layers": layers}
    return found | row | lab.beside(rival, correct)
