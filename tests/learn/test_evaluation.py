"""Accuracy and other metrics of one model and of two on the same samples."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pithnet.data import Batches
from pithnet.errors import DataError
from pithnet.learn import Evaluation, evaluate, evaluate_together, mean_interval, wilson
from pithnet.learn.scores import metric_name

from .problems import NORMALIZATION, images, network


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


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().squeeze(1)


def within_one(outputs: Tensor, targets: Tensor) -> Tensor:
    return (absolute_error(outputs, targets) < 1).float()


class Line(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x


X = torch.linspace(-2, 2, 41)[:, None]
REGRESSION = [(X[:30], 3 * X[:30]), (X[30:], 3 * X[30:])]


def test_a_metric_and_a_loss_of_the_users() -> None:
    result = evaluate(Line(2.0), REGRESSION, loss=F.mse_loss, metric=absolute_error)
    assert result.metric == "absolute_error"
    assert torch.allclose(result.scores.float(), X.abs().squeeze(1), atol=1e-6)
    assert result.mean == pytest.approx(float(X.abs().mean()))
    assert result.loss == pytest.approx(float(X.square().mean())), "batches count by their size"
    assert result.interval == mean_interval(result.scores)
    assert evaluate(Line(2.0), REGRESSION, metric=absolute_error).loss is None


def test_a_loss_is_one_number_of_any_shape() -> None:
    def mean(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets).reshape(1, 1)

    result = evaluate(Line(2.0), REGRESSION, loss=mean, metric=absolute_error)
    assert result.loss == pytest.approx(float(X.square().mean()))
    with pytest.raises(DataError, match=r"must give a scalar tensor, and gave float32 \(30, 1\)"):
        evaluate(Line(2.0), REGRESSION, loss=nn.MSELoss(reduction="none"), metric=absolute_error)


def test_scores_of_zero_and_one_are_a_share() -> None:
    result = evaluate(Line(2.0), REGRESSION, metric=within_one)
    right = int((X.abs() < 1).sum())
    assert result.scores.dtype == torch.bool
    assert (result.mean, result.interval) == (right / 41, wilson(right, 41))


def test_models_are_compared_on_the_same_samples_though_the_loader_shuffles() -> None:
    state = torch.get_rng_state()
    loader = DataLoader(TensorDataset(X, 3 * X), 8, shuffle=True)
    a, b = evaluate_together([Line(2.0), Line(4.0)], loader, metric=absolute_error)
    assert torch.allclose(a.scores, b.scores, atol=1e-6)
    assert not torch.allclose(a.scores, a.scores.sort().values)
    assert torch.equal(torch.get_rng_state(), state), "measuring took from the user's random numbers"


def test_a_metric_has_the_name_of_its_function() -> None:
    assert metric_name(absolute_error) == "absolute_error"
    assert metric_name(functools.partial(absolute_error)) == "absolute_error"
    assert metric_name(lambda outputs, targets: targets) == "metric"
    assert metric_name(nn.MSELoss()) == "MSELoss"


def test_a_metric_gives_a_finite_number_for_each_sample() -> None:
    with pytest.raises(
        DataError, match=r"must give a score per sample, a tensor of shape \(30,\), and gave \(\)"
    ):
        evaluate(Line(2.0), REGRESSION, metric=F.l1_loss)
    with pytest.raises(DataError, match="and gave a float"):
        evaluate(Line(2.0), REGRESSION, metric=lambda o, t: 0.5)
    with pytest.raises(DataError, match="absolute_error gave NaN or inf in batch 1"):
        evaluate(Line(float("nan")), REGRESSION, metric=absolute_error)
    with pytest.raises(DataError, match="absolute_error on one sample has no interval"):
        evaluate(Line(2.0), [(X[:1], X[:1])], metric=absolute_error)
