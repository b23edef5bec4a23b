"""Trains each form on two processes with Lightning Fabric; a rank writes what it ends with to OUT/RANK.pt.

Run by test_fabric.py as `python -m tests.loops.fabric_ranks OUT`, because processes are forked.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

import pithnet as pn

from .compressed import FORMS, batches


def train(fabric: Fabric, form: str) -> dict[str, Any]:
    """50 steps, each rank on its own half of the batches."""
    start = FORMS[form]()
    if fabric.global_rank:
        # As if this rank had pruned and shared on its own and come to something else.
        torch.manual_seed(5)
        for p in start.parameters():
            nn.init.normal_(p)
        for name, buffer in start.named_buffers():
            if name.endswith("mask"):
                buffer.logical_not_()
    model, optimizer = fabric.setup(start, torch.optim.SGD(start.parameters(), 0.05, momentum=0.9))
    before = {k: v.clone() for k, v in start.state_dict().items()}
    for x, y in batches(100)[fabric.global_rank :: fabric.world_size]:
        optimizer.zero_grad()
        fabric.backward(nn.functional.cross_entropy(model(x), y))
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
    return {"before": before, "after": start.state_dict()}


def run(fabric: Fabric, out: str) -> None:
    result = {form: train(fabric, form) for form in FORMS}
    torch.save(result, Path(out) / f"{fabric.global_rank}.pt")
    fabric.barrier()


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert pn.prune  # a forked process finds the package loaded
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    Fabric(accelerator="cpu", devices=2, strategy=strategy).launch(run, sys.argv[1])
