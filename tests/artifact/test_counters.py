"""Batch counters: a module that is not torch's own may read its counter, so the file keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coding import page_file
from torch import Tensor, nn

import pithnet as pn
from artifact.models import trained_like


class Warming(nn.Module):
    """A normalisation of one's own, whose weight on the running statistics grows with the batches seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        known = self.num_batches_tracked / (self.num_batches_tracked + 10)
        return (x - known * self.running_mean) / (1 + known * (self.running_var - 1)).sqrt()


class Subclass(nn.BatchNorm1d):
    """Torch's BatchNorm with a forward that reads the counter."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (self.num_batches_tracked + 1).log2()


def network(norm: nn.Module, count: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), norm, nn.Linear(4, 3))
    for part in (model[1], norm):
        part.running_mean.normal_()
        part.running_var.uniform_(0.5, 2)
        part.num_batches_tracked.fill_(count)
    return model.eval()


@pytest.mark.parametrize("count", [37, 2**62])
@pytest.mark.parametrize("kind", [Warming, lambda: Subclass(4)])
def test_a_counter_that_a_forward_reads_comes_back(kind: type[nn.Module], count: int, tmp_path: Path) -> None:
    model, x = network(kind(), count), torch.randn(8, 6)
    pn.artifact.save(tmp_path / "m.pith", pn.encode(model))
    loaded = pn.load(tmp_path / "m.pith", model=network(kind(), 0))
    assert int(loaded[2].num_batches_tracked) == count
    assert int(loaded[1].num_batches_tracked) == 0, "torch's own BatchNorm reads none"
    assert torch.equal(loaded(x), model(x))
    page = page_file.read(pn.encode(model))
    assert page["2.num_batches_tracked"] == count
    assert page["1.num_batches_tracked"] == np.array(0)


def test_a_counter_under_a_hook_comes_back() -> None:
    model = network(nn.BatchNorm1d(4), 9)
    model[2].register_forward_hook(lambda module, _, y: y * module.num_batches_tracked)
    assert int(pn.decode(pn.encode(model))[0]["2.num_batches_tracked"]) == 9


def test_torchs_own_counters_cost_no_byte() -> None:
    trained = trained_like("digits-cnn", width=2)
    data = pn.encode(trained)
    for norm in (m for m in trained.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.num_batches_tracked.zero_()
    assert pn.encode(trained) == data
