"""A shrunk network comes back in a new process, bit for bit, from each kind of file it can be saved in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import pithnet as pn
from pithnet import zoo
from pithnet.surgery import cut_channels, find_channels
from pithnet.surgery.graph.inputs import tensors_as
from tests.surgery.channels.networks import NAMES, built, example, outputs

# Beside those of NAMES: encoding takes a second for a network of a hundred layers.
EIGHTHS = {f"{name} at 1/8": name for name in ("digits-cnn", "resnet20")}
SUFFIXES = ("pith", "pt", "safetensors")

# Run in a new process: what it prints is what went wrong.
READER = """
import sys, torch, pithnet as pn
from tests.artifact.test_shrunk import full, same
from tests.surgery.channels.networks import outputs
folder = sys.argv[1]
cases = torch.load(f"{folder}/expected", weights_only=False)
for number, (name, inputs, expected, state) in enumerate(cases):
    for suffix in ("pith", "pt", "safetensors", "alone"):
        if suffix == "alone" and name.split(" ")[0] not in pn.zoo.ARCHITECTURES:
            continue
        try:
            file = f"{folder}/{number}." + ("pith" if suffix == "alone" else suffix)
            model = pn.load(file) if suffix == "alone" else pn.load(file, model=full(name))
            same(model.state_dict(), state)
            assert torch.equal(outputs(model, inputs), expected), "other outputs"
            size = sum(p.numel() for p in model.parameters())
            model.train()
            outputs(model, inputs).square().mean().backward()
            assert all(p.grad is not None for p in model.parameters()), "no gradient"
        except Exception as e:
            print(name, suffix, type(e).__name__, e)
print("read all")
"""


def full(name: str) -> torch.nn.Module:
    """A network of its full size with other numbers than the one that was cut."""
    torch.manual_seed(7)
    if name in EIGHTHS:
        return zoo.build(EIGHTHS[name], scale=1 / 8)
    return built(name)[0].float()


def same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(state) == set(expected), "other names"
    for key, value in expected.items():
        assert state[key].shape == value.shape, f"{key} is {state[key].shape}"
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(state[key], value), f"{key} has other numbers"


def floats(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value


def shrunk(name: str) -> tuple[torch.nn.Module, Any]:
    """A network without every second channel, of those that can go, and an example."""
    model, inputs = full(name).eval(), tensors_as(example(EIGHTHS.get(name, name)), floats)
    found = find_channels(model, inputs)
    removed = {n for group in found.groups if not group.frozen for n in group.channels[1::2]}
    small = cut_channels(model, found, removed).eval()
    for parameter in small.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)  # not what a network built by the same seed has
    return small, inputs


def test_all_networks_come_back_in_a_new_process(tmp_path: Path) -> None:
    expected = []
    for number, name in enumerate([*NAMES, *EIGHTHS]):
        small, inputs = shrunk(name)
        pn.save(small, tmp_path / f"{number}.pith")
        for suffix in SUFFIXES[1:]:
            pn.save_state(small, tmp_path / f"{number}.{suffix}")
        expected.append((name, inputs, outputs(small, inputs).detach(), small.state_dict()))
    torch.save(expected, tmp_path / "expected")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, str(tmp_path)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.stdout == "read all\n", run.stdout + run.stderr
