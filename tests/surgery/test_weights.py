"""Which tensors are compressed, what they are called, and who holds them."""

from __future__ import annotations

import torch
from torch import nn

from pithnet.passes import prune
from pithnet.surgery import conflicting_tie, weighted_layers


class Tree(nn.Module):
    """A tie across levels, a block in two places, a parameter of the root."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.first, self.attention = block, nn.MultiheadAttention(4, 1)
        self.inner = nn.ModuleDict({"second": block, "out": nn.Linear(4, 4)})
        self.inner["out"].weight = block[0].weight
        self.table, self.alone = block[0].weight, nn.Parameter(torch.ones(3, 3))


def test_every_weight_is_found_once_with_all_its_names() -> None:
    model = Tree()
    found = dict(weighted_layers(model))
    assert list(found) == ["first.0", "first.1", "attention.in_proj_weight", "attention.out_proj"]
    tied = found["first.0"]
    assert set(tied.keys) == {"first.0.weight", "inner.second.0.weight", "inner.out.weight", "table"}
    assert tied.keys[0] == "first.0.weight"
    assert set(tied.names) == {"first.0", "inner.second.0", "inner.out", "", "table"}
    assert tied.weight is model.table
    assert found["attention.in_proj_weight"].names == ("attention", "attention.in_proj_weight")
    assert found["first.1"].keys == ("first.1.weight", "inner.second.1.weight")


def test_a_compressed_model_has_the_same_weights() -> None:
    model = Tree()
    before = [(name, layer.keys) for name, layer in weighted_layers(model)]
    prune(model, 0.5)
    assert [(name, layer.keys) for name, layer in weighted_layers(model)] == before
    assert before == [(name, layer.keys) for name, layer in weighted_layers(Tree())]


def test_a_layer_alone_has_no_name() -> None:
    ((name, layer),) = weighted_layers(nn.Linear(2, 2))
    assert (name, layer.keys) == ("", ("weight",))


def test_a_weight_that_is_a_buffer_counts() -> None:
    layer = nn.Linear(4, 4)
    values = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", values)
    model = nn.Sequential(layer)
    assert prune(model, 0.5).layers[0].zeros == 8
    assert [name for name, _ in weighted_layers(model)] == ["0"]


def test_a_state_that_contradicts_a_tie_is_named() -> None:
    model = Tree()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    assert conflicting_tie(model, state) is None
    state["inner.out.weight"][0, 0] += 1
    assert conflicting_tie(model, state) == ("table", "inner.out.weight")
