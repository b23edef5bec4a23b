"""`--pruned FILE`: a network as `lab pruning` left it, from which items of other labs start.

Item 3 of `lab fixed-point` quantizes it, and items 1 to 3 of `lab deep-compression` share it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pithnet import zoo
from pithnet.errors import ModelError, PithError
from pithnet.labs.notebook import Row
from pithnet.labs.start import earlier
from pithnet.labs.workbench import Workbench
from pithnet.run.resumption import file_digest
from pithnet.surgery import (
    Codebook,
    FakeQuantizer,
    Mask,
    TrainedLevels,
    parametrization,
    restore,
    weighted_layers,
)

# Measured: networks of other seeds 0.01, pruned to 90 % and retrained for many epochs 0.86.
RELATED = 0.25


@dataclass(frozen=True, eq=False)
class PrunedFile:
    """A pruned network's file: its state_dict with masks, and what results.json says of it.

    `facts["origin"]` is how its float network is known: by the results.json or the baseline.pt of the lab
    that pruned it, or not at all ("not recorded").
    """

    state: Mapping[str, Tensor]
    facts: Row

    def restored(self, start: nn.Module) -> nn.Module:
        """Returns a copy of the float network with the file's masks and weights, in eval mode."""
        return restore(copy.deepcopy(start), self.state).eval()


def read_pruned(path: Path, bench: Workbench) -> PrunedFile:
    """Reads the file, and checks it against the float network that the bench begins with.

    Raises:
        PithError: The bench has no --weights.
        ModelError: The file does not fit the architecture, is not only pruned, or was pruned from another
            network.
    """
    if bench.weights is None:
        raise PithError("--pruned FILE needs --weights FILE: the float network that it was pruned from")
    state = zoo.read_checkpoint(path)
    _check_finished(path)
    start = bench.model()
    try:
        model = restore(copy.deepcopy(start), state)
    except ModelError as e:
        raise ModelError(f"{path} is no pruned {bench.architecture}: {e}") from None
    _check_masks(path, model)
    origin = _origin(path, bench, start)
    related = correlation(model, start)
    if related < RELATED:
        raise ModelError(
            f"{path} was pruned from another network than --weights {bench.weights.name}: the weights that "
            f"are left correlate with its by {related:.2f}; give the network that it was pruned from"
        )
    facts = {
        "file": path.name,
        "sha256": file_digest(path),
        "origin": origin,
        "correlation": round(related, 4),
    }
    return PrunedFile(state, facts)


def _check_finished(path: Path) -> None:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "trainer" in content and "evaluation" not in content:
        raise ModelError(f"the training in {path} was cut off; finish that lab with --resume first")


def _check_masks(path: Path, model: nn.Module) -> None:
    layers = [layer for _, layer in weighted_layers(model)]
    if any(parametrization(layer, k) for layer in layers for k in (Codebook, FakeQuantizer, TrainedLevels)):
        raise ModelError(f"{path} is quantized already; --pruned takes a network that is only pruned")
    if not any(parametrization(layer, Mask) for layer in layers):
        raise ModelError(
            f"{path} has no masks; --pruned takes a pruned network's state_dict, such as "
            "state/iterative-global.pt of pithnet lab pruning"
        )


def _origin(path: Path, bench: Workbench, start: nn.Module) -> str:
    """How the float network is known. Raises ModelError where it is known to be another."""
    lab = path.absolute().parent.parent  # the file is among its states
    if earlier(lab, "lab") is None or earlier(lab, "rows") is None:
        return "not recorded"
    theirs, mine = earlier(lab, "weights"), bench.facts()["weights"]
    if theirs is not None:
        if theirs["sha256"] != mine["sha256"]:
            raise ModelError(
                f"{path} was pruned from {theirs['file']} (SHA-256 {theirs['sha256']}, by its lab's "
                f"results.json), and --weights is {mine['file']} ({mine['sha256']}); give the network that "
                "it was pruned from"
            )
        return "results.json of its lab"
    baseline = path.parent / "baseline.pt"
    if not baseline.exists():
        return "not recorded"
    if not _same(zoo.read_checkpoint(baseline), start.state_dict()):
        raise ModelError(
            f"{path} was pruned from {baseline}, which is not --weights {mine['file']}; give the one it was "
            "pruned from"
        )
    return "baseline.pt of its lab"


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether all numbers but batch counters are the same, bit for bit."""
    keys = [key for key in other if not key.endswith("num_batches_tracked")]
    return all(key in one and torch.equal(one[key], other[key].cpu()) for key in keys)


@torch.no_grad()
def correlation(model: nn.Module, start: nn.Module) -> float:
    """Returns how far the weights that masks leave correlate with those of `start`: the layers' mean.

    It is 1 for masks alone, and near 0 for networks trained from different random weights.
    """
    before, total, count = dict(weighted_layers(start)), 0.0, 0
    for name, layer in weighted_layers(model):
        mask = parametrization(layer, Mask)
        if mask is None or int(mask.mask.sum()) < 2:
            continue
        pairs = torch.stack([layer.weight[mask.mask], before[name].weight[mask.mask]]).double()
        found = float(torch.corrcoef(pairs)[0, 1])
        total, count = total + found * pairs.shape[1], count + pairs.shape[1]
    return total / count if count else 0.0
