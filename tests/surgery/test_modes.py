"""Eval mode for a while: every module gets its own mode back."""

from __future__ import annotations

import pytest
from torch import nn

from pithnet.surgery import evaluating, frozen_modules, train_


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_has_its_own_mode_again(fails: bool) -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    model.train()
    model[0].eval()  # frozen, as fine-tuning does it
    modes = [module.training for module in model.modules()]
    assert modes == [True, False, True, True, True]
    try:
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert [module.training for module in model.modules()] == modes


def block() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_frozen_norms_and_blocks_that_do_not_train_stay_in_eval_mode() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), block(), block().requires_grad_(False), block()).train()
    for frozen in (model[0], model[1][1], model[2]):
        frozen.eval()
    modes = [module.training for module in model.modules()]
    found = frozen_modules(model)
    assert set(found) == {model[0], model[1][1], *model[2].modules()}
    model.eval()
    train_(model, found)
    assert [module.training for module in model.modules()] == modes


def test_what_was_last_used_in_eval_mode_as_a_whole_is_not_frozen() -> None:
    assert frozen_modules(block().eval()) == []
    wrapped = nn.Sequential(nn.Flatten(), block().eval())
    assert wrapped.training
    assert frozen_modules(wrapped) == []
    train_(wrapped, [])
    assert all(module.training for module in wrapped.modules())
