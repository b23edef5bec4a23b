from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis as scipy_kurtosis
from scipy.stats import spearmanr
from torch import nn

from pithnet.labs.pruning.sparsity import kurtosis, layer_rows, rank_correlation, structure


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 4))
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(1.0)  # type: ignore[operator,union-attr]
    return model


def test_empty_kernels_and_filters_are_counted() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[0] = 0.0  # type: ignore[index]
        model[0].weight[1, 0] = 0.0  # type: ignore[index]
        model[0].weight[2, :, 0] = 0.0  # type: ignore[index]
    found = structure(model)
    share = (18 + 9 + 6) / 54
    assert found.pop("empty_kernels_if_scattered") == pytest.approx(6 * share**9)
    assert found == {"kernels": 6, "empty_kernels": 3, "filters": 3, "empty_filters": 1}


def test_layers_have_exact_counts_and_the_starts_deviation() -> None:
    model, start = network(), network()
    with torch.no_grad():
        model[1].weight[0] = 0.0
        start[1].weight[0] = 3.0
    rows = layer_rows(model, start)
    assert [(r["name"], r["size"], r["zeros"], r["sparsity"]) for r in rows] == [
        ("0", 54, 0, 0.0),
        ("1", 12, 3, 0.25),
    ]
    assert rows[0]["start_std"] == 0.0
    assert rows[1]["start_std"] == pytest.approx(np.std([3.0] * 3 + [1.0] * 9))
    assert rows[0]["start_kurtosis"] == 0.0
    assert rows[1]["start_kurtosis"] == pytest.approx(scipy_kurtosis([3.0] * 3 + [1.0] * 9, fisher=False))


def test_rank_correlation_is_spearmans() -> None:
    a, b = [1.0, 4.0, 4.0, 2.0, 9.0], [3.0, 1.0, 5.0, 5.0, -2.0]
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, [1.0] * 5) == 0.0


def test_kurtosis_measures_the_tails_and_neither_place_nor_width() -> None:
    w = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert kurtosis(w) == pytest.approx(scipy_kurtosis(w.double().numpy().ravel(), fisher=False))
    assert kurtosis(7 + 0.01 * w.double()) == pytest.approx(kurtosis(w.double()))
    assert kurtosis(torch.tensor([-1.0, 1.0])) == 1.0
    assert kurtosis(torch.full((3,), 0.1)) == 0.0
    # The same weights in another memory format: the same number to the last bit.
    assert kurtosis(w.to(memory_format=torch.channels_last)) == kurtosis(w)
