from __future__ import annotations

import math

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import percentile_threshold, std_threshold, threshold_mask


def test_percentiles_of_five_weights() -> None:
    weight = torch.tensor([-4.0, 0.0, 1.0, -2.0, 3.0])
    assert [percentile_threshold(weight, q) for q in (0.0, 0.25, 0.375, 1.0)] == [0.0, 1.0, 1.5, 4.0]


def test_std_is_around_the_mean() -> None:
    assert std_threshold(torch.tensor([9.0, 11.0]), 0.5) == 0.5
    assert std_threshold(torch.tensor([2.0]), 1.0) == 0.0


def test_seventy_percent_leaves_thirty() -> None:
    weight = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert int(threshold_mask(weight, percentile_threshold(weight, 0.7)).sum()) == 300


@pytest.mark.parametrize("q", [-0.1, 1.5, 70.0, math.nan])
def test_q_outside_0_1_is_refused(q: float) -> None:
    with pytest.raises(RecipeError, match=r"q is .*, outside \[0, 1\]: write 70 % as 0.7"):
        percentile_threshold(torch.rand(3), q)


def test_negative_s_and_empty_weights_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"s is -1\.0: use a finite number >= 0"):
        std_threshold(torch.rand(3), -1.0)
    for call in (percentile_threshold, std_threshold):
        with pytest.raises(ModelError, match="weight is empty"):
            call(torch.zeros(0), 0.5)
