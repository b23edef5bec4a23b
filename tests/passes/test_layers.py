"""Which layers a pass takes, and which it refuses by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from pithnet.errors import ModelError
from pithnet.passes import GradualPruning, LevelTraining, freeze_levels, prune, selected_layers, share

from .networks import net


class Reader(nn.Module):
    """An LSTM between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.lstm, self.after = nn.Linear(4, 4), nn.LSTM(4, 4), nn.Linear(4, 2)


def test_convolutions_and_linear_layers_are_taken_by_name() -> None:
    assert [name for name, _ in selected_layers(net())] == ["0", "3", "6"]
    assert [name for name, _ in selected_layers(net(), ("[36]",))] == ["0"]


def test_nothing_left_is_refused() -> None:
    with pytest.raises(ModelError, match="no convolution, linear layer or embedding left"):
        selected_layers(net(), ("*",))
    with pytest.raises(ModelError, match="no convolution, linear layer or embedding left"):
        selected_layers(nn.BatchNorm2d(3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_number_is_refused_by_layer(bad: float) -> None:
    model = net()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = bad
    for what in (lambda: prune(model, 0.5), lambda: share(model, 2), lambda: LevelTraining(model, 2)):
        with pytest.raises(ModelError, match=r"3\.weight holds NaN or inf"):
            what()
    prune(model, 0.5, skip=("3",))


def test_recurrent_layers_are_taken_unless_skipped() -> None:
    names = ["before", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "after"]
    assert [row.name for row in prune(Reader(), 0.5).layers] == names
    model = Reader()
    untouched = model.lstm.weight_ih_l0.detach().clone()
    prune(model, 0.5, skip=("lstm",))
    LevelTraining(model, 2, skip=("lstm",))
    freeze_levels(model)
    assert torch.equal(model.lstm.weight_ih_l0, untouched)


def test_weight_norm_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="1 with a _WeightNorm parametrization cannot be compressed"):
        prune(nn.Sequential(nn.Linear(4, 4), weight_norm(nn.Linear(4, 4))), 0.5)


def test_a_tied_weight_is_one_layer() -> None:
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6, bias=False), nn.Linear(6, 2))
    model[1].weight = model[0].weight
    assert [(name, len(layer.holders)) for name, layer in selected_layers(model)] == [("0", 2), ("2", 1)]
    assert [name for name, _ in selected_layers(model, ("1",))] == ["2"]
    schedule = GradualPruning(model, 0.5, ramp=0.5, scope="uniform")
    for done in (0.0, 0.2, 0.4, 1.0):
        schedule(done)
    assert schedule.record is not None
    assert [(row.name, row.size, row.zeros) for row in schedule.record.layers] == [
        ("0", 24, 12),
        ("2", 12, 6),
    ]
    LevelTraining(model, levels=3)
    assert {row.name: row.levels for row in freeze_levels(model).layers} == {"0": 3, "2": 3}
    assert torch.equal(model[1].weight, model[0].weight)


def test_one_module_in_two_places_is_no_tie() -> None:
    layer = nn.Linear(4, 4)
    record = prune(nn.Sequential(layer, nn.ReLU(), layer), 0.5)
    assert [(row.name, row.zeros) for row in record.layers] == [("0", 8)]


def test_passes_come_one_after_another_on_one_model() -> None:
    model = net()
    schedule = GradualPruning(model, 0.5, ramp=0.5)
    schedule(1.0)
    LevelTraining(model, 2)
    freeze_levels(model)
    assert share(model, 1).layers[0].levels <= 2
