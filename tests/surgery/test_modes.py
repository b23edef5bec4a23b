"""Eval mode for a while: every module gets its own mode back."""

from __future__ import annotations

import pytest
from torch import nn

from pithnet.surgery import evaluating


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
