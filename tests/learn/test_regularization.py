"""Regularizers on an optimizer's steps: the step size, exact zeros, masks, and any optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer, RMSprop

from pithnet.errors import ModelError, RecipeError
from pithnet.learn import ADMM, LossTerm, ProximalStep, Regularized, Slot, Term, step_size
from pithnet.surgery import Mask
from pithnet.tensor import get_regularizer

X = torch.tensor([[1.0, -2, -1, -1, 1], [2, -1, 2, 0, -2], [-1, 0, 2, 2, 1]], dtype=torch.float64)
Y = torch.tensor([7.0, 1, 1], dtype=torch.float64)


def weight() -> nn.Parameter:
    return nn.Parameter(torch.zeros(5, dtype=torch.float64))


def descend(
    w: nn.Parameter,
    optimizer: Optimizer,
    part: Regularized | None,
    steps: int,
    after: Callable[[int], None] = lambda step: None,
) -> list[Tensor]:
    """Full-batch steps on sum (X w - y)^2; w after each."""
    if part is not None:
        part.attach(optimizer)
    path = []
    for step in range(steps):
        optimizer.zero_grad()
        (X @ w - Y).square().sum().backward()
        optimizer.step()
        after(step)
        path.append(w.detach().clone())
    return path


def lasso_optimum(strength: float) -> Tensor:
    w = weight()
    part = ProximalStep([Term(get_regularizer("l1", strength=strength), [Slot(w)])])
    return descend(w, SGD([w], lr=0.02), part, 1500)[-1]


def test_a_proximal_step_is_descent_then_soft_threshold() -> None:
    w = weight()
    part = ProximalStep([Term(get_regularizer("l1", strength=2.0), [Slot(w)])])
    (first,) = descend(w, SGD([w], lr=0.02), part, 1)
    step = 0.02 * 2 * X.T @ Y
    torch.testing.assert_close(first, step.sign() * (step.abs() - 0.04).clamp(min=0))


def test_the_loss_term_oscillates_where_the_proximal_step_is_exactly_zero() -> None:
    zeros = {}
    for kind in (LossTerm, ProximalStep):
        w = weight()
        part = kind([Term(get_regularizer("l1", strength=0.5), [Slot(w)])])
        path = descend(w, SGD([w], lr=0.02), part, 200)
        zeros[kind] = [int((at == 0).sum()) for at in path]
    assert set(zeros[LossTerm]) == {0}
    assert zeros[ProximalStep][-1] == 3


def test_trimmed_l1_finds_the_sparse_solution_without_bias() -> None:
    w = weight()
    part = ProximalStep([Term(get_regularizer("trimmed-l1", strength=2.0, k=2), [Slot(w)])])
    final = descend(w, SGD([w], lr=0.02), part, 2000)[-1]
    torch.testing.assert_close(final, torch.tensor([0.0, -3, 0, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}])
def test_with_momentum_it_comes_to_rest_at_the_same_optimum(options: dict) -> None:
    w = weight()
    part = ProximalStep([Term(get_regularizer("l1", strength=1.0), [Slot(w)])])
    final = descend(w, SGD([w], lr=0.01, **options), part, 2000)[-1]
    torch.testing.assert_close(final, lasso_optimum(1.0), rtol=0, atol=1e-6)


def test_step_sizes() -> None:
    w = [weight()]
    assert step_size(SGD(w, lr=0.1).param_groups[0]) == 0.1
    assert step_size(SGD(w, lr=0.1, momentum=0.9).param_groups[0]) == pytest.approx(1.0)
    assert step_size(SGD(w, lr=0.1, momentum=0.9, dampening=0.9).param_groups[0]) == pytest.approx(0.1)
    assert step_size(RMSprop(w, lr=0.1, momentum=0.5).param_groups[0]) == pytest.approx(0.2)
    assert step_size(AdamW(w, lr=0.1).param_groups[0]) == 0.1


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW, RMSprop])
@pytest.mark.parametrize("kind", [LossTerm, ProximalStep, ADMM])
def test_any_optimizer_takes_them_and_keeps_its_state_dict(
    optimizer: type[Optimizer], kind: type[Regularized]
) -> None:
    w, plain = weight(), weight()
    part = kind([Term(get_regularizer("l1", strength=1.0), [Slot(w)])])
    with_part, without = optimizer([w], lr=0.02), optimizer([plain], lr=0.02)  # type: ignore[call-arg]
    path = descend(w, with_part, part, 60, lambda step: part.update(step / 60))
    descend(plain, without, None, 60)
    assert with_part.state_dict().keys() == without.state_dict().keys()
    assert with_part.state_dict()["param_groups"] == without.state_dict()["param_groups"]
    assert float(w.detach().abs().sum()) < float(plain.detach().abs().sum())
    if kind is ProximalStep:
        assert any(bool((at == 0).any()) for at in path)


def test_several_tensors_are_ranked_as_one_and_masked_numbers_are_left_alone() -> None:
    a, b = nn.Parameter(torch.tensor([[5.0, 0.5], [4.0, 0.1]])), nn.Parameter(torch.tensor([3.0, 2.0, 9.0]))
    mask = Mask(torch.tensor([True, True, False]))
    part = ProximalStep([Term(get_regularizer("keep-k", k=3), [Slot(a), Slot(b, mask)])])
    optimizer = SGD([a, b], lr=0.1)
    part.attach(optimizer)
    a.grad, b.grad = torch.zeros_like(a), torch.zeros_like(b)
    optimizer.step()
    assert a.tolist() == [[5.0, 0.0], [4.0, 0.0]]
    assert b.tolist() == [3.0, 0.0, 9.0], "the masked 9 neither counts nor changes"
    part.active = False
    with torch.no_grad():
        a.fill_(1.0)
    optimizer.step()
    assert bool((a == 1).all())


def test_the_loss_term_leaves_a_tensor_without_gradient_alone() -> None:
    w = weight()
    part = LossTerm([Term(get_regularizer("l1"), [Slot(w)])])
    optimizer = SGD([w], lr=0.1)
    part.attach(optimizer)
    with torch.no_grad():
        w.fill_(1.0)
    optimizer.step()
    assert bool((w == 1).all())
    w.grad = torch.zeros_like(w)
    optimizer.step()
    assert bool((w == 0.9).all())


def test_admm_pulls_the_weight_to_a_sparse_copy() -> None:
    w = weight()
    part = ADMM([Term(get_regularizer("keep-k", k=2), [Slot(w)])], rho=(1.0, 20.0))
    descend(w, SGD([w], lr=0.01), part, 1500, lambda s: part.update(s / 1500) if s % 20 == 0 else None)
    assert part.rho == pytest.approx(20.0, rel=0.05)
    (sparse,) = part.sparse
    torch.testing.assert_close(
        sparse, torch.tensor([0.0, -3, 0, 0, 1], dtype=torch.float64), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(w.detach(), sparse, rtol=0, atol=1e-3)


def test_admm_solves_the_lasso() -> None:
    w = weight()
    part = ADMM([Term(get_regularizer("l1", strength=1.0), [Slot(w)])], rho=(2.0, 2.0))
    descend(w, SGD([w], lr=0.02), part, 2000, lambda s: part.update(s / 2000) if s % 10 == 0 else None)
    torch.testing.assert_close(part.sparse[0], lasso_optimum(1.0), rtol=0, atol=1e-4)


def test_admm_goes_on_from_its_state() -> None:
    def run(stop: int | None) -> Tensor:
        w = weight()
        term = Term(get_regularizer("keep-k", k=2), [Slot(w)])
        part, optimizer = ADMM([term]), SGD([w], lr=0.01)
        part.attach(optimizer)
        for step in range(60):
            if step == stop:
                state = part.state_dict()
                part.active = False
                part = ADMM([term])
                part.load_state_dict(state)
                part.attach(optimizer)
            if step % 7 == 0:
                part.update(step / 60)
            optimizer.zero_grad()
            (X @ w - Y).square().sum().backward()
            optimizer.step()
        return w.detach()

    assert torch.equal(run(None), run(31))


@pytest.mark.parametrize("kind", [LossTerm, ADMM, ProximalStep])
@pytest.mark.parametrize("keyword", [True, False])
def test_a_closure_given_to_the_step_takes_the_same_steps(kind: type[Regularized], keyword: bool) -> None:
    def part(w: nn.Parameter) -> Regularized:
        return kind([Term(get_regularizer("l1", strength=3.0), [Slot(w)])])

    w, other = weight(), weight()
    path = descend(w, SGD([w], lr=0.02), part(w), 5)
    optimizer = SGD([other], lr=0.02)
    part(other).attach(optimizer)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (X @ other - Y).square().sum()
        loss.backward()
        return float(loss.detach())

    for at in path:
        before = float((X @ other.detach() - Y).square().sum())
        loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        assert loss == before
        assert torch.equal(other.detach(), at)


def test_an_optimizer_that_calls_its_closure_again_and_again_finds_the_regularized_optimum() -> None:
    w = weight()
    optimizer = LBFGS([w], lr=0.5, max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14)
    regularizer = get_regularizer("elastic-net", strength=2.0, l1_ratio=0.0)
    LossTerm([Term(regularizer, [Slot(w)])]).attach(optimizer)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (X @ w - Y).square().sum()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    ridge = torch.linalg.solve(X.T @ X + torch.eye(5, dtype=X.dtype), X.T @ Y)
    torch.testing.assert_close(w.detach(), ridge, rtol=0, atol=1e-6)


@pytest.mark.parametrize("unscaled", [True, False])
def test_a_fused_step_with_a_gradient_scaler_regularizes_as_much_as_one_without(unscaled: bool) -> None:
    def step(scaled: bool) -> Tensor:
        w = nn.Parameter(torch.ones(5))
        optimizer = SGD([w], lr=0.01, fused=True)
        LossTerm([Term(get_regularizer("l1", strength=3.0), [Slot(w)])]).attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        scaler.scale((X.float() @ w - Y.float()).square().sum()).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        return w.detach()

    torch.testing.assert_close(step(scaled=True), step(scaled=False))


def test_a_snapshot_of_admm_stays_when_it_goes_on() -> None:
    w = weight()
    part = ADMM([Term(get_regularizer("keep-k", k=2), [Slot(w)])])
    descend(w, SGD([w], lr=0.01), part, 5)
    part.update(0.2)
    state = part.state_dict()
    before = copy.deepcopy(state)
    descend(w, SGD([w], lr=0.01), None, 5)
    part.update(0.4)
    for key in ("sparse", "dual"):
        assert torch.equal(state[key][0], before[key][0])
        assert not torch.equal(part.state_dict()[key][0], before[key][0])


@pytest.mark.parametrize("kind", [LossTerm, ProximalStep])
def test_a_training_that_diverged_is_named_with_its_weight(kind: type[Regularized]) -> None:
    a, b = nn.Parameter(torch.ones(5)), nn.Parameter(torch.full((16,), float("inf")))
    part = kind([Term(get_regularizer("l1"), [Slot(a, name="conv1"), Slot(b, name="conv2")])])
    optimizer = SGD([a, b], lr=0.1)
    part.attach(optimizer)
    a.grad, b.grad = torch.zeros_like(a), torch.zeros_like(b)
    with pytest.raises(ModelError, match=r"conv2: 16 of 16 .* the training diverged; lower lr"):
        optimizer.step()


def test_what_cannot_be_is_refused() -> None:
    w, other = weight(), weight()
    term = Term(get_regularizer("keep-k", k=2), [Slot(w), Slot(other)])
    with pytest.raises(RecipeError, match=r"not in the optimizer: give it all of the model's"):
        ProximalStep([term]).attach(SGD([w], lr=0.1))
    groups = [{"params": [w], "lr": 0.1}, {"params": [other], "lr": 0.2}]
    with pytest.raises(RecipeError, match=r"one learning rate and momentum; give scope='uniform'"):
        ProximalStep([term]).attach(SGD(groups))
    for rho in ((0.0, 1.0), (1.0, 0.5), (1.0, float("inf"))):
        with pytest.raises(RecipeError, match=r"use finite numbers > 0 that do not fall"):
            ADMM([term], rho)
    part = ProximalStep([term])
    optimizer = SGD([w, other], lr=0.1)
    part.attach(optimizer)
    w.grad = torch.full_like(w, float("nan"))
    with pytest.raises(ModelError, match=r"a regularized weight: 5 of 5 numbers are NaN or inf"):
        optimizer.step()
