"""How long it takes to analyse a network and to cut half of its channels, beside Torch-Pruning, in one run.

    python benchmarks/bench_channel_analysis.py [--repeats 5] [--networks resnet20 vgg16 ...]

It needs the dependency group `bench`. Both analyse networks of the zoo with random weights, rank filters by
L1 and cut half of every layer that can lose any, in place. They take turns, and the median CPU time is given.
pithnet also checks its small network against the full-size one with the channels zero, which is told apart.

Then each library's small network is compared with the network of full size in which the very channels that it
cut are zero, in float64. Both should agree. In ResNets whose shortcuts pad channels (option A: resnet20,
resnet44) Torch-Pruning takes the padding for one that has nothing to do with channels.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import cut_channels_, find_channels, mask_channels, require_agreement

_NETWORKS = ("resnet20", "resnet44", "resnet18", "vgg16", "mobilenetv2")


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights and statistics, and a batch of one."""
    torch.manual_seed(0)
    model = pn.zoo.build(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model, torch.randn(1, *pn.zoo.input_shape(name))


def ours(model: nn.Module, x: Tensor) -> tuple[Any, set[int]]:
    """Analyses and cuts a network in place, as theirs does; returns the channels, and those that went."""
    channels = find_channels(model, x)
    removed = set[int]()
    for group in channels.groups:
        if group.frozen is None:
            weights = [
                model.get_parameter(place.key)[
                    torch.isin(channels.places[place], torch.tensor(group.channels))
                ]
                for place in channels.makers
                if place in group.share
            ]
            scores = sum(w.detach().abs().reshape(group.width, -1).sum(1) for w in weights)
            lowest = torch.as_tensor(scores).argsort()[: group.width // 2]
            removed |= {group.channels[place] for place in lowest.tolist()}
    cut_channels_(model, channels, removed)
    return channels, removed


def theirs(model: nn.Module, x: Tensor) -> Any:
    """Makes a pruner of Torch-Pruning for a network, which is changed when the pruner takes its step."""
    last = [
        module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 10
    ]
    importance = tp.importance.MagnitudeImportance(p=1)
    return tp.pruner.BasePruner(model, x, importance=importance, pruning_ratio=0.5, ignored_layers=last)


def cpu_time(run: Callable[[], Any]) -> float:
    """Returns the seconds of CPU time that a call takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def times(name: str, repeats: int) -> dict[str, float]:
    """Returns median seconds: of ours, of its check, and of theirs."""
    model, x = network(name)
    small = copy.deepcopy(model)
    channels, removed = ours(small, x)
    full = mask_channels(model, channels, removed)
    found: dict[str, list[float]] = {"ours": [], "check": [], "theirs": []}
    theirs(copy.deepcopy(model), x).step()
    for _ in range(repeats):
        one, other = copy.deepcopy(model), copy.deepcopy(model)
        found["ours"].append(cpu_time(partial(ours, one, x)))
        found["theirs"].append(cpu_time(lambda other=other: theirs(other, x).step()))  # type: ignore[misc]
        found["check"].append(cpu_time(partial(require_agreement, small, full, x, channels, removed)))
    return {key: statistics.median(each) for key, each in found.items()}


def our_error(name: str) -> str:
    """Compares our small network with the full-size one with the channels zero."""
    model, x = network(name)
    model, x = model.double(), x.double()
    small = copy.deepcopy(model)
    channels, removed = ours(small, x)
    return _compared(small, mask_channels(model, channels, removed), x)


def their_error(name: str) -> str:
    """Compares their small network with the full-size one in which what they cut is zero."""
    model, x = network(name)
    model, x = model.double(), x.double()
    full = copy.deepcopy(model)
    names = {module: key for key, module in model.named_modules()}
    pruner = theirs(model, x)
    for group in pruner.step(interactive=True):
        for dependency, places in group:
            key = names.get(dependency.target.module)
            module = full.get_submodule(key) if key is not None else None
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                _empty_(module, pruner.DG.is_out_channel_pruning_fn(dependency.handler), places)
        group.prune()
    return _compared(model, full, x)


@torch.no_grad()
def _empty_(module: Any, outputs: bool, places: list[int]) -> None:
    if outputs or isinstance(module, nn.BatchNorm2d) or getattr(module, "groups", 1) > 1:
        module.weight[places] = 0
        if module.bias is not None:
            module.bias[places] = 0
    else:
        module.weight[:, places] = 0


@torch.no_grad()
def _compared(small: nn.Module, full: nn.Module, x: Tensor) -> str:
    expected = full(x)
    try:
        found = small(x)
    except Exception as e:
        return f"does not run: {str(e).splitlines()[0][:90]}"
    if found.shape != expected.shape:
        return f"another shape: {tuple(found.shape)}, not {tuple(expected.shape)}"
    error = float((found - expected).norm() / expected.norm())
    return f"relative error {error:.1e}, {_parameters(small) / _parameters(full):.0%} of the parameters left"


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def main() -> None:
    """Prints a line of times and two of errors for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=list(_NETWORKS))
    options = parser.parse_args()
    for name in options.networks:
        t = times(name, options.repeats)
        print(
            f"{name}: pithnet {t['ours'] * 1e3:.0f} ms and {t['check'] * 1e3:.0f} ms to check, Torch-Pruning "
            f"{t['theirs'] * 1e3:.0f} ms: {t['ours'] / t['theirs']:.2f} times as long, "
            f"{(t['ours'] + t['check']) / t['theirs']:.2f} with the check"
        )
        print(f"  pithnet: {our_error(name)}")
        print(f"  Torch-Pruning: {their_error(name)}")


if __name__ == "__main__":
    main()
