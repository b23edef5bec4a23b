"""What holds of any network that loses channels: cut equals mask, and a file gives the same bits back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pithnet as pn


def shrunk(build: Callable[[], nn.Module], inputs: Any, **options: Any) -> pn.ShrinkPlan:
    """Plans, cuts, saves and loads a network, checks what comes out, and returns the plan.

    The costs that the plan says are those of the small network.
    """
    torch.manual_seed(0)
    model = build().double()
    plan = pn.plan_shrink(model, inputs, **{"round_to": 1, **options})
    small, full = plan.cut().eval(), plan.mask().eval()
    others = torch.randn_like(inputs)
    with torch.no_grad():
        got, expected = small(others), full(others)
        assert (got - expected).abs().max() <= 1e-9 * expected.abs().max()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.pith"
            pn.save(small, path)
            loaded = pn.load(path, model=build().double())
        assert torch.equal(loaded(others), got)
    assert plan.removed
    assert plan.parameters == sum(p.numel() for p in small.parameters())
    assert plan.macs == pn.costs(small, inputs).macs
    return plan
