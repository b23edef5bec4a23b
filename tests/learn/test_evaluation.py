"""Accuracy and its intervals, against formulas of others."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from pithnet.data import Batches
from pithnet.errors import DataError
from pithnet.learn import Evaluation, evaluate, paired_difference, wilson

from .problems import NORMALIZATION, images, network


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (9153, 10_000), (1, 1)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    theirs = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


@pytest.mark.parametrize(
    ("both", "gained", "lost", "neither"), [(80, 5, 9, 6), (100, 0, 0, 0), (0, 10, 0, 0)]
)
def test_the_paired_interval_is_walds(both: int, gained: int, lost: int, neither: int) -> None:
    a = torch.tensor([1] * both + [0] * gained + [1] * lost + [0] * neither, dtype=torch.bool)
    b = torch.tensor([1] * both + [1] * gained + [0] * lost + [0] * neither, dtype=torch.bool)
    n = len(a)
    mean, low, high = paired_difference(a, b)
    # The mean of the differences -1, 0, 1, and its standard error.
    d = b.double() - a.double()
    error = float(d.std(correction=0)) / math.sqrt(n)
    assert mean == pytest.approx(float(d.mean()))
    assert (low, high) == pytest.approx((mean - 1.959964 * error, mean + 1.959964 * error), abs=1e-9)


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    g = torch.Generator().manual_seed(0)
    # 92 % both right, 2 % gained, 4 % lost: a true difference of -2 points.
    draws = torch.multinomial(torch.tensor([0.92, 0.02, 0.04, 0.02]), 400 * 2000, True, generator=g)
    covered = 0
    for kind in draws.view(400, 2000):
        _, low, high = paired_difference((kind == 0) | (kind == 2), (kind == 0) | (kind == 1))
        covered += low <= -0.02 <= high
    assert 0.92 <= covered / 400 <= 0.98


def plain(n: int = 50, labelled: bool = True) -> Batches:
    return Batches(images(n, labelled), 16, NORMALIZATION)


def test_evaluate_counts_every_image_once() -> None:
    model = network()
    data = plain()
    result = evaluate(model, data)
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in data])
        logits = model(x)
    y = data.data.labels
    assert torch.equal(result.correct, logits.argmax(1) == y)
    assert result.n == 50
    assert result.accuracy == float((logits.argmax(1) == y).double().mean())
    assert result.loss == pytest.approx(float(nn.functional.cross_entropy(logits, y)), rel=1e-5)
    assert result.interval == wilson(int(result.correct.sum()), 50)


def test_evaluate_puts_every_module_back_into_its_own_mode() -> None:
    model = network().train()
    model.bn2.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    evaluate(model, plain())
    assert [m.training for m in (model, model.bn1, model.bn2)] == [True, True, False]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(DataError, match="accuracy needs labels"):
        evaluate(model, plain(labelled=False))
    assert model.training


def test_nothing_to_evaluate_on_is_refused() -> None:
    with pytest.raises(DataError, match="no images to evaluate on"):
        evaluate(network(), [])


def test_a_perfect_model_has_a_perfect_evaluation() -> None:
    class Oracle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(100.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * nn.functional.one_hot(x.long().flatten(), 3).float()

    y = torch.tensor([0, 1, 2, 2])
    result = evaluate(Oracle(), [(y.float(), y)])
    assert isinstance(result, Evaluation)
    assert (result.accuracy, result.loss) == (1.0, 0.0)
