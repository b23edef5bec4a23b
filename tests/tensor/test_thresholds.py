from __future__ import annotations

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import std_threshold


def test_std_is_around_the_mean() -> None:
    assert std_threshold(torch.tensor([9.0, 11.0]), 0.5) == 0.5
    assert std_threshold(torch.tensor([2.0]), 1.0) == 0.0


def test_negative_s_and_empty_weights_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"s is -1\.0: use a finite number >= 0"):
        std_threshold(torch.rand(3), -1.0)
    with pytest.raises(ModelError, match="weight is empty"):
        std_threshold(torch.zeros(0), 0.5)
