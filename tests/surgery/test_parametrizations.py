"""Masks, codebooks and trained levels under plain training loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pithnet.passes import freeze_levels, prune
from pithnet.surgery import (
    TrainedLevels,
    latent_weight,
    parametrization,
    set_codebook,
    set_mask,
    set_trained_levels,
    shared_parameters,
)

from .compressed import Compress, adamw, effective, levels, masked, masked_and_shared, net, sgd, train_plainly


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("compress", [masked, masked_and_shared], ids=["mask", "mask and codebook"])
def test_zeros_and_levels_outlive_fifty_steps(
    compress: Compress, optimizer: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    model = net()
    compress(model)
    before = effective(model)
    train_plainly(model, optimizer(model), 50)
    after = effective(model)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old == 0, new == 0)
        assert not torch.equal(old, new), "nothing was trained"
        if compress is masked_and_shared:
            # The same weights hold the same value as one another, whatever it is now.
            pairs = {(float(a), float(b)) for a, b in zip(old.flatten(), new.flatten(), strict=True)}
            assert len(pairs) == len(old.unique()) == len(new.unique())


def test_a_masked_weight_has_no_gradient_and_no_negative_zero() -> None:
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 2.0, float("inf")]]))
    set_mask(layer, torch.tensor([[False, True, False]]))
    assert layer.weight.tolist() == [[0.0, 2.0, 0.0]]
    assert not torch.signbit(layer.weight).any()
    layer(torch.ones(1, 3)).sum().backward()
    assert latent_weight(layer).grad.tolist() == [[0.0, 1.0, 0.0]]


def test_a_recoverable_weight_learns_and_comes_back() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 1.0]]))
    set_mask(layer, torch.tensor([[False, True]]), recoverable=True)
    optimizer = torch.optim.SGD([latent_weight(layer)], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (-layer(torch.tensor([[1.0, 0.0]]))).sum().backward()
        optimizer.step()
    assert layer.weight.tolist() == [[0.0, 1.0]]
    record = prune(nn.Sequential(layer), 0.5)
    assert layer.weight.tolist() == [[pytest.approx(3.1), 0.0]]
    assert record.layers[0].zeros == 1
    optimizer.zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    assert latent_weight(layer).grad.tolist() == [[1.0, 0.0]], "the last mask is final"


@pytest.mark.parametrize("kind", ["codebook", "levels"])
def test_a_shared_value_gets_the_sum_of_its_members_gradients(kind: str) -> None:
    torch.manual_seed(3)
    layer, index = nn.Conv2d(2, 3, 2, bias=False), torch.randint(0, 4, (3, 2, 2, 2))
    values = torch.tensor([-1.0, 0.5, 2.0])
    weight = torch.cat([torch.zeros(1), values])[index]
    if kind == "codebook":
        set_codebook(layer, index, values)
    else:
        with torch.no_grad():
            layer.weight.copy_(weight)
        set_trained_levels(layer, values, torch.zeros(3))
    plain = weight.clone().requires_grad_()
    x = torch.randn(4, 2, 5, 5)
    F.conv2d(x, plain).square().sum().backward()
    layer(x).square().sum().backward()
    by_hand = torch.stack([plain.grad[index == i].sum() for i in (1, 2, 3)])
    found = next(p for p, _ in shared_parameters(nn.Sequential(layer)))
    torch.testing.assert_close(found.grad, by_hand)
    if kind == "levels":
        # Straight through to the weights under the levels, and not to the zeros.
        torch.testing.assert_close(latent_weight(layer).grad, torch.where(index == 0, 0.0, plain.grad))


def test_gradients_of_shared_values_repeat_bit_for_bit_on_two_threads() -> None:
    threads = torch.get_num_threads()
    layer = nn.Conv2d(64, 64, 3, bias=False)
    index = torch.randint(0, 6, layer.weight.shape)
    set_codebook(layer, index, torch.randn(5))
    # More weights than torch leaves to one thread.
    seen, upstream = set(), torch.randn(64, 64, 3, 3)
    try:
        torch.set_num_threads(2)
        for _ in range(8):
            layer.zero_grad()
            (layer.weight * upstream).sum().backward()
            seen.add(tuple(latent_weight(layer).grad.tolist()))
    finally:
        torch.set_num_threads(threads)
    assert len(seen) == 1


def test_levels_round_to_the_nearest_and_prices_move_the_choice() -> None:
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.4, 0.6, 1.2]]))
    set_trained_levels(layer, torch.tensor([0.1, 1.0]), torch.zeros(2))
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.0, 0.1, 1.0, 1.0]]))
    chosen = parametrization(layer, TrainedLevels)
    assert isinstance(chosen, TrainedLevels)
    # (0.6 - 1.0)^2 + 0.5 > (0.6 - 0.1)^2, while 1.2 still pays the price of 0.5.
    chosen.prices.copy_(torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.0, 0.1, 0.1, 1.0]]))


def test_a_weight_assigned_to_a_codebook_becomes_the_mean_of_its_members() -> None:
    layer = nn.Linear(4, 1, bias=False)
    set_codebook(layer, torch.tensor([[0, 1, 1, 2]]), torch.tensor([1.0, 2.0, 3.0]))
    layer.weight = torch.tensor([[9.0, 2.0, 4.0, 7.0]])
    assert layer.weight.tolist() == [[0.0, 3.0, 3.0, 7.0]]
    assert latent_weight(layer).tolist() == [3.0, 7.0, 0.0], "the third has no members"


def test_a_mean_of_many_in_half_precision_is_their_mean() -> None:
    layer = nn.Linear(200, 200, bias=False, dtype=torch.bfloat16)
    set_codebook(layer, torch.ones(200, 200, dtype=torch.uint8), torch.ones(1, dtype=torch.bfloat16))
    layer.weight = torch.full((200, 200), 0.1, dtype=torch.bfloat16)
    assert latent_weight(layer).tolist() == [pytest.approx(0.1, rel=1e-2)]


def test_frozen_levels_are_those_of_the_last_forward_pass() -> None:
    model = net()
    levels(model)
    train_plainly(model, sgd(model), 5)
    before = effective(model)
    record = freeze_levels(model)
    for old, new, row in zip(before, effective(model), record.layers, strict=True):
        assert torch.equal(old, new)
        assert row.levels == old[old != 0].unique().numel()
        assert row.zeros == int((old == 0).sum())
