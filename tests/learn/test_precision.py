"""Choosing a number format."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pithnet.errors import RecipeError
from pithnet.learn import precision
from pithnet.learn.precision import autocast, channels_last_, resolve_precision
from pithnet.surgery import latent_weight, set_mask, weighted_layers

from .problems import network

X = torch.randn(4, 1, 8, 8)


@pytest.mark.parametrize(("fast", "expected"), [(0.5, "bf16"), (0.95, "float32"), (2.0, "float32")])
def test_auto_takes_bf16_only_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, fast: float, expected: str
) -> None:
    seconds = {"float32": 1.0, "bf16": fast}
    monkeypatch.setattr(precision, "_step_seconds", lambda model, x, name: seconds[name])
    assert resolve_precision("auto", network(), X) == expected
    assert resolve_precision("bf16", network(), X) == "bf16"


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = network().eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert resolve_precision("auto", model, X) in ("bf16", "float32")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_autocast_changes_the_format_of_the_computation() -> None:
    with autocast(torch.device("cpu"), "bf16"):
        assert network()(X).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "float32"):
        assert network()(X).dtype == torch.float32


def test_an_unknown_precision_gets_its_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'bf15'\. Did you mean bf16"):
        resolve_precision("bf15", network(), X)


class Answer(nn.Module):
    """Two inputs, and an output with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 2, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.layer(a + b).flatten(1)}


def test_any_inputs_and_outputs_can_be_timed() -> None:
    x, model = torch.randn(2, 1, 2, 2, 2), Answer()
    state = torch.get_rng_state()
    assert resolve_precision("auto", model, {"a": x, "b": x}) in ("bf16", "float32")
    assert resolve_precision("auto", model, (x, x)) in ("bf16", "float32")
    assert torch.equal(torch.get_rng_state(), state)


def test_2d_convolutions_become_channels_last_and_3d_ones_stay() -> None:
    model = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3)])
    values = [p.detach().clone() for p in model.parameters()]
    channels_last_(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[1].weight.is_contiguous()
    assert all(torch.equal(p, v) for p, v in zip(model.parameters(), values, strict=True))


class Standardized(nn.Conv2d):
    """Weight standardization, with the `view` that is usual for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.view(len(self.weight), -1)
        weight = ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)).view_as(self.weight)
        return F.conv2d(x, weight, self.bias)


def test_a_convolution_that_views_its_filters_stays_as_it_is() -> None:
    model = Standardized(3, 4, 3)
    channels_last_(model)
    assert model(torch.randn(2, 3, 5, 5)).shape == (2, 4, 3, 3)


def test_a_parametrized_convolution_becomes_channels_last() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    ((_, layer),) = weighted_layers(model)
    set_mask(layer, torch.ones(4, 3, 3, 3, dtype=torch.bool))
    channels_last_(model)
    assert type(model[0]) is not nn.Conv2d
    assert latent_weight(layer).is_contiguous(memory_format=torch.channels_last)


def test_frozen_batchnorm_is_timed_as_it_trains() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    model[1].eval()
    assert resolve_precision("auto", model, torch.randn(1, 4)) in ("bf16", "float32")
