"""An averaged copy (SWA, EMA) has the zeros and levels of the model it averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn, update_bn

import pithnet as pn

from .compressed import FORMS, assert_kept, batches, layers, plain, step


def torchvision_style(averaged: Tensor, current: Tensor, n: Tensor) -> Tensor:
    return 0.9 * averaged + (1 - 0.9) * current


AVERAGES: dict[str, dict[str, Any]] = {
    "SWA": {},
    "EMA, one by one": {"avg_fn": get_ema_avg_fn(0.9)},
    "EMA, all at once": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "EMA by hand": {"avg_fn": torchvision_style},
}


def averaged(model: nn.Module, **how: Any) -> AveragedModel:
    """The average over 50 steps."""
    average = AveragedModel(model, **how)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for x, y in batches():
        step(model, optimizer, x, y)
        average.update_parameters(model)
    return average


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_keeps_zeros_and_levels(name: str, form: str) -> None:
    model = FORMS[form]()
    before = layers(model)
    average = averaged(model, **AVERAGES[name])
    update_bn([x for x, _ in batches()], average)
    assert_kept(before, model)
    assert_kept(before, average.module)
    assert not torch.equal(average.module[0].weight, model[0].weight), "nothing was averaged"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [n for n in AVERAGES if n.startswith("EMA")])
def test_masks_and_indexes_are_exact_though_buffers_are_averaged_too(name: str, form: str) -> None:
    model = FORMS[form]()
    before = layers(model)
    average = averaged(model, use_buffers=True, **AVERAGES[name])
    assert_kept(before, average.module)
    assert not torch.equal(average.module[1].running_mean, model[1].running_mean)


def test_what_torch_cannot_average_it_refuses() -> None:
    with pytest.raises(RuntimeError, match="bool"):
        averaged(FORMS["masks"](), use_buffers=True)
    before = layers(model := FORMS["codebooks"]())
    assert_kept(before, averaged(model, use_buffers=True).module)


@pytest.mark.parametrize("levels", [100, 127, 128, 255, 256, 300])
def test_an_index_of_any_size_can_be_averaged(levels: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40))
    pn.share(model, levels=levels)
    before = model[0].weight.detach().clone()
    average = AveragedModel(model, use_buffers=True, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    for _ in range(20):
        average.update_parameters(model)
    torch.testing.assert_close(average.module[0].weight, before, rtol=1e-5, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_an_average_can_be_written_to_a_file(form: str, tmp_path: Path) -> None:
    average = averaged(FORMS[form](), multi_avg_fn=get_ema_multi_avg_fn(0.9)).module
    if form == "levels":
        pn.freeze_levels(average)
    final = pn.finalize(average)
    pn.save(final, tmp_path / "m.pith")
    loaded = pn.load(tmp_path / "m.pith", model=plain(seed=9))
    assert torch.equal(loaded(batches(1)[0][0]), final(batches(1)[0][0]))
