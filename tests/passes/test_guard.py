"""No pass writes NaN or inf: it stops, names the layer, and the model is as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pithnet.errors import ModelError
from pithnet.passes import (
    LevelTraining,
    correct_biases,
    equalize,
    freeze_levels,
    match_norms,
    prune,
    quantize,
    quantize_without_labels,
    reconstruct,
    reconstruct_blocks,
    reestimate_norms,
    share,
)
from pithnet.passes.guard import finite_or_unchanged, guarded

IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))
BROKEN = IMAGES.clone()
BROKEN[3, 1, 2, 2] = torch.nan


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    ).eval()


def rounded() -> nn.Module:
    model = net()
    quantize(model, 4, fit="mse")
    return model


def wide(dtype: torch.dtype) -> nn.Module:
    """Weights at both ends of the dtype: their range is none of its numbers."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).to(dtype)
    with torch.no_grad():
        model[2].weight.copy_(torch.linspace(-1, 1, 16).view(4, 4) * torch.finfo(dtype).max)
    return model


def small_and_large() -> nn.Module:
    """Two layers whose ranges cannot be made alike in float16."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).half()
    with torch.no_grad():
        model[0].weight.fill_(2e-7)
        model[0].bias.fill_(60_000)
        model[2].weight.fill_(30_000)
    return model


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], object], str]] = {
    "quantize": (
        lambda: wide(torch.float16),
        lambda m: quantize(m, 3, quantizer="dynamic", symmetric=True, fit="range"),
        "quantize would leave.*2.weight",
    ),
    "float32": (
        lambda: wide(torch.float32),
        lambda m: quantize(m, 3, quantizer="dynamic", symmetric=True, fit="range"),
        "quantize would leave.*2.weight",
    ),
    "match_norms": (net, lambda m: match_norms(m, net(), BROKEN), "1.running_mean"),
    "reestimate_norms": (net, lambda m: reestimate_norms(m, BROKEN), "1.running_mean"),
    "correct_biases": (rounded, lambda m: correct_biases(m, net(), BROKEN), "0.bias"),
    "reconstruct": (rounded, lambda m: reconstruct(m, BROKEN), "inputs of the layer are NaN"),
    "reconstruct_blocks": (rounded, lambda m: reconstruct_blocks(m, net(), BROKEN, steps=3), "0 "),
    "quantize_without_labels": (
        net,
        lambda m: quantize_without_labels(m, 4, BROKEN, steps=0),
        "running_mean",
    ),
    "equalize": (small_and_large, equalize, "0.weight"),
}


def same(model: nn.Module, before: nn.Module) -> None:
    assert [(n, type(m).__name__) for n, m in model.named_modules()] == [
        (n, type(m).__name__) for n, m in before.named_modules()
    ]
    found, wanted = model.state_dict(), before.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key].nan_to_num(), value.nan_to_num()), key
        assert found[key].dtype == value.dtype


@pytest.mark.parametrize("case", CASES)
def test_a_pass_that_would_write_nan_stops_and_undoes_what_it_did(case: str) -> None:
    make, change, name = CASES[case]
    model = make()
    before, parameters = copy.deepcopy(model), list(model.parameters())
    with pytest.raises(ModelError, match=name):
        change(model)
    same(model, before)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True)), "the very tensors"


def test_freezing_levels_that_left_the_numbers_is_refused() -> None:
    model = net()
    LevelTraining(model, levels=3)
    levels = [m for m in model.modules() if hasattr(m, "prices")]
    with torch.no_grad():
        levels[1].levels.fill_(torch.nan)
    before = copy.deepcopy(model)
    with pytest.raises(ModelError, match=r"4\.weight holds NaN or inf"):
        freeze_levels(model)
    same(model, before)


def test_prices_are_not_set_by_weights_that_diverged() -> None:
    model = net()
    work = LevelTraining(model, levels=3, rate_weight=0.1)
    prices = [m.prices.clone() for m in model.modules() if hasattr(m, "prices")]
    with torch.no_grad():
        dict(model.named_parameters())["0.parametrizations.weight.original"][0] = torch.nan
    with pytest.raises(ModelError, match=r"0\.weight holds NaN or inf"):
        work(0.5)
    found = [m.prices for m in model.modules() if hasattr(m, "prices")]
    assert all(torch.equal(a, b) for a, b in zip(found, prices, strict=True))


def test_any_error_halfway_leaves_the_model_as_it_was() -> None:
    model = net()
    prune(model, 0.5, skip=["4"])
    before = copy.deepcopy(model)

    @guarded
    def broken(model: nn.Module) -> None:
        prune(model, 0.75)
        share(model, 2)
        model.extra = nn.Linear(2, 2)
        model[1].running_var.fill_(7)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken(model)
    same(model, before)
    assert torch.equal(model(IMAGES), before(IMAGES))
    prune(model, 0.8)
    assert float((model[4].weight == 0).float().mean()) > 0.5, "and it can be compressed again"


def test_what_was_not_finite_before_may_stay_so() -> None:
    model = net()
    model.register_buffer("mask", torch.full((3,), -torch.inf))
    with finite_or_unchanged(model, "a pass"):
        model[0].bias.data += 1
    quantize(model, 4, fit="range")
    assert not model.mask.isfinite().any()
