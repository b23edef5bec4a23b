from __future__ import annotations

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError
from pithnet.surgery import relu_zeros


def test_zeros_are_counted_after_every_relu_by_the_layer_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(inplace=True), nn.Linear(7, 4), nn.ReLU()
    )
    x = torch.randn(30, 5)
    found = relu_zeros(model, x.split(10))
    assert model.training
    model.eval()
    with torch.no_grad():
        expected = [float((part(x) == 0).double().mean()) for part in (model[:3], model)]
    assert list(found) == ["0", "3"]
    assert list(found.values()) == pytest.approx(expected)


def test_additions_take_the_name_of_their_branch() -> None:
    found = relu_zeros(zoo.build("resnet20"), [torch.randn(2, 3, 32, 32)])
    assert len(found) == 19
    assert {"conv1", "layer1.0.conv1", "layer1.0.conv2", "layer3.2.conv2"} <= set(found)
    assert all(0 < share < 1 for share in found.values())


def test_nothing_to_count_is_an_error() -> None:
    with pytest.raises(ModelError, match="to count zeros of: no ReLU"):
        relu_zeros(nn.Sequential(nn.Linear(3, 2)), [torch.zeros(1, 3)])
    with pytest.raises(ModelError, match="no inputs"):
        relu_zeros(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), [])


def test_every_module_keeps_its_mode_also_where_an_input_fails() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU())
    model[1].eval()  # frozen, as fine-tuning does it
    relu_zeros(model, [torch.randn(4, 5)])
    assert [m.training for m in model] == [True, False, True]
    with pytest.raises(RuntimeError, match="shapes"):
        relu_zeros(model, [torch.randn(4, 6)])
    assert [m.training for m in model] == [True, False, True]
