"""A network without some channels computes what it computes with them zero, whatever its layers are."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pithnet as pn
from pithnet.surgery import cut_channels, find_channels, mask_channels
from tests.surgery.channels.networks import NAMES, Toy, built, outputs


@pytest.mark.parametrize("name", NAMES)
def test_cut_equals_mask(name: str) -> None:
    model, inputs = built(name)
    found = find_channels(model, inputs)
    removed = {n for group in found.groups if not group.frozen for n in group.channels[1::2]}
    before = outputs(model, inputs)
    small, full = cut_channels(model, found, removed), mask_channels(model, found, removed)
    assert removed
    got, expected = outputs(small, inputs), outputs(full, inputs)
    assert (got - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (expected - before).abs().max() > 1e-3 * before.abs().max()  # the channels did something
    assert torch.equal(outputs(model, inputs), before)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert pn.costs(small, inputs).macs < pn.costs(model, inputs).macs
    assert {name: _width(small.get_submodule(name)) for name in found.widths()} == found.widths(removed)
    loss = outputs(small.train(), inputs).square().mean()
    loss.backward()
    torch.optim.SGD(small.parameters(), 1e-3 / float(loss.detach().clamp(min=1))).step()
    assert all(p.grad is not None and torch.isfinite(p).all() for p in small.parameters())


def test_a_masked_channel_is_zero_after_its_norm_too() -> None:
    model, inputs = built("resnet20b")
    found = find_channels(model, inputs)
    group = next(group for group in found.groups if "layer2.0.conv1" in group.layers)
    full = mask_channels(model, found, set(group.channels[:5]))
    seen: list[torch.Tensor] = []
    full.layer2[0].bn1.register_forward_hook(lambda module, args, value: seen.append(value.clone()))
    full(inputs)
    assert (seen[0][:, :5] == 0).all()
    assert (seen[0][:, 5:].abs().amax((0, 2, 3)) > 0).all()
    assert (full.layer2[0].conv2.weight[:, :5] == 0).all()


def test_a_forward_with_other_numbers_is_saved_copied_and_cut_again(tmp_path: Path) -> None:
    model, inputs = built("BuiltInSizes")
    small = pn.shrink(model, inputs, rates={"a": 0.7, "b": 0.7, "c": 0.7}, round_to=1)
    assert type(small) is not type(model)
    assert not any(row.whole for row in pn.plan_shrink(model, inputs, macs=0.9, round_to=1).rows[:-1])
    torch.save(small, tmp_path / "small.pt")
    loaded = torch.load(tmp_path / "small.pt", weights_only=False)
    smaller = pn.shrink(loaded, inputs, rates={"a": 0.5}, round_to=1)
    for found in (loaded, copy.deepcopy(small)):
        assert torch.equal(found(inputs), small(inputs))
        assert pn.encode(found) == pn.encode(small)  # which holds the numbers that were rewritten
    assert pn.costs(smaller, inputs).macs < pn.costs(small, inputs).macs < pn.costs(model, inputs).macs


class Embedded(Toy):
    """Embeddings whose table is also a layer inside of the network."""

    def __init__(self) -> None:
        super().__init__(
            lambda m, x: m.out(torch.relu(m.back(m.table(x)))),
            table=nn.Embedding(12, 8), back=nn.Linear(8, 12, bias=False), out=nn.Linear(12, 5),
        )  # fmt: skip
        self.back.weight = self.table.weight


def test_rows_of_a_table_stay_where_a_layer_shares_them() -> None:
    model = Embedded()
    found = find_channels(model, torch.tensor([[0, 1]]))
    assert [group.frozen for group in found.groups_of("table")] == [None]
    assert found.groups_of("back")[0].frozen == "table looks up its rows by their numbers"
    small = pn.shrink(model, torch.tensor([[0, 1]]), rates={"table": 0.5}, round_to=1)
    assert small.table.weight is small.back.weight
    assert small.table.weight.shape == (12, 4)


def test_a_function_whose_arguments_are_unknown_is_a_barrier() -> None:
    table, places = torch.rand(4, 8), torch.tensor([[0, 3]])
    model = Toy(
        lambda m, x: m.out(m.a(x) + F.embedding_bag(places, table)), a=nn.Linear(3, 8), out=nn.Linear(8, 2)
    )
    frozen = find_channels(model, torch.randn(1, 3)).groups_of("a")[0].frozen
    assert frozen == "add meets a constant for each channel"
    own = Toy(
        lambda m, x: m.out(m.a(x) + F.embedding_bag(places, m.table.weight)),
        a=nn.Linear(3, 8), table=nn.Embedding(4, 8), out=nn.Linear(8, 2),
    )  # fmt: skip
    frozen = find_channels(own, torch.randn(1, 3)).groups_of("a")[0].frozen
    assert frozen == "embedding_bag is an operation that no rule is known for"


def _width(layer: nn.Module) -> int:
    kind = {nn.Linear: "out_features", nn.Embedding: "embedding_dim"}.get(type(layer), "out_channels")
    return int(getattr(layer, kind))
