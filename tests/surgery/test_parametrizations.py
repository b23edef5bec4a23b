"""Masks, codebooks and trained levels under plain training loops, state_dicts and copies."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.passes import LevelTraining, freeze_levels, prune, share
from pithnet.surgery import (
    Codebook,
    Mask,
    TrainedLevels,
    latent_weight,
    parametrization,
    release,
    restore,
    set_codebook,
    set_mask,
    set_trained_levels,
    shared_parameters,
    weighted_layers,
)

Compress = Callable[[nn.Module], object]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )


def train_plainly(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """An ordinary loop that knows nothing of compression."""
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(32, 1, 8, 8, generator=g), torch.randint(0, 5, (32,), generator=g)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def masked(model: nn.Module) -> None:
    prune(model, 0.6)


def masked_and_shared(model: nn.Module) -> None:
    prune(model, 0.6)
    share(model, 3)


def recoverable(model: nn.Module) -> None:
    prune(model, 0.6, recoverable=True)


def levels(model: nn.Module) -> None:
    prune(model, 0.6)
    LevelTraining(model, levels=5, rate_weight=0.1)


CHAINS: dict[str, Compress] = {
    "mask": masked,
    "recoverable": recoverable,
    "shared": lambda model: share(model, 3),
    "mask then shared": masked_and_shared,
    "levels": lambda model: LevelTraining(model, levels=5),
    "mask then levels": levels,
    "mask, one layer free": lambda model: prune(model, 0.5, skip=("5",)),
    "shared, then levels on top": lambda model: (share(model, 4), LevelTraining(model, levels=3)),
}


def effective(model: nn.Module) -> list[Tensor]:
    return [layer.weight.detach().clone() for _, layer in weighted_layers(model)]


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


@pytest.mark.parametrize("name", CHAINS)
def test_restore_rebuilds_every_chain_from_its_state(name: str) -> None:
    model = net()
    CHAINS[name](model)
    train_plainly(model, sgd(model), 2)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    restored = restore(net(), state)
    for old, new in zip(effective(model), effective(restored), strict=True):
        assert torch.equal(old, new)
    for key, value in restored.state_dict().items():
        assert torch.equal(value, state[key]), key
    # It trains on as the original does, so what is trainable and what is recoverable came back too.
    train_plainly(model, sgd(model), 3)
    train_plainly(restored, sgd(restored), 3)
    for old, new in zip(effective(model), effective(restored), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", CHAINS)
def test_restore_replaces_what_is_on_the_model_already(name: str) -> None:
    model, other = net(), net()
    CHAINS[name](model)
    levels(other)
    restore(other, model.state_dict())
    for old, new in zip(effective(model), effective(other), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", CHAINS)
def test_a_deep_copy_is_equal_and_independent(name: str) -> None:
    model = net()
    CHAINS[name](model)
    before, twin = effective(model), copy.deepcopy(model)
    assert all(torch.equal(a, b) for a, b in zip(before, effective(twin), strict=True))
    train_plainly(twin, sgd(twin), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, effective(model), strict=True))
    for _, layer in weighted_layers(twin):
        release(layer)
    # Releasing the copy leaves the original parametrized.
    assert all(torch.equal(a, b) for a, b in zip(before, effective(model), strict=True))
    train_plainly(model, sgd(model), 1)


def test_a_layer_alone_is_restored_too() -> None:
    layer = nn.Linear(6, 4)
    prune(layer, 0.5)
    share(layer, 2)
    twin = restore(nn.Linear(6, 4), layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)


def test_a_layer_used_twice_is_restored_once() -> None:
    def twice() -> nn.Module:
        layer = nn.Linear(4, 4)
        return nn.Sequential(layer, nn.ReLU(), layer)

    model = twice()
    levels(model)
    twin = restore(twice(), model.state_dict())
    assert torch.equal(twin[0].weight, model[0].weight)
    assert twin[0] is twin[2]


def test_restore_names_what_does_not_fit() -> None:
    model = net()
    masked(model)
    state = model.state_dict()
    with pytest.raises(ModelError, match="compressed layer '5', the model has no such layer"):
        restore(nn.Sequential(*list(net())[:5]), state)
    with pytest.raises(ModelError, match="compressed layer '3', the model a ReLU there"):
        restore(nn.Sequential(*list(net())[:3], nn.ReLU()), state)
    wider = net()
    wider[1] = nn.BatchNorm2d(7)
    with pytest.raises(ModelError, match=r"1\.weight"):
        restore(wider, state)
    odd = {k.replace("mask", "mystery"): v for k, v in state.items()}
    with pytest.raises(ModelError, match="unknown parametrization"):
        restore(net(), odd)


def test_a_weight_assigned_to_a_codebook_becomes_the_mean_of_its_members() -> None:
    layer = nn.Linear(4, 1, bias=False)
    set_codebook(layer, torch.tensor([[0, 1, 1, 2]]), torch.tensor([1.0, 2.0, 3.0]))
    layer.weight = torch.tensor([[9.0, 2.0, 4.0, 7.0]])
    assert layer.weight.tolist() == [[0.0, 3.0, 3.0, 7.0]]
    assert latent_weight(layer).tolist() == [3.0, 7.0, 0.0], "the third has no members"


@pytest.mark.parametrize(("levels_", "dtype"), [(255, torch.uint8), (256, torch.int32)])
def test_an_index_takes_the_smallest_type_that_holds_it(levels_: int, dtype: torch.dtype) -> None:
    layer = nn.Linear(32, 32)
    index = torch.arange(32 * 32).remainder(levels_ + 1).view(32, 32)
    set_codebook(layer, index, torch.arange(1.0, levels_ + 1))
    codebook = parametrization(layer, Codebook)
    assert isinstance(codebook, Codebook)
    assert codebook.index.dtype == dtype
    assert torch.equal(layer.weight, index.float())


def test_a_shared_weight_cannot_be_masked() -> None:
    layer = nn.Linear(4, 4)
    share(layer, 1)
    with pytest.raises(ModelError, match="prune before sharing"):
        set_mask(layer, torch.ones(4, 4, dtype=torch.bool))


def test_release_keeps_values_and_gives_plain_parameters() -> None:
    model = net()
    levels(model)
    values = effective(model)
    for _, layer in weighted_layers(model):
        release(layer)
        assert isinstance(layer.weight, nn.Parameter)
        assert parametrization(layer, Mask) is None
    assert all(torch.equal(a, b) for a, b in zip(values, effective(model), strict=True))
    assert sorted(model.state_dict()) == sorted(net().state_dict())


def test_shared_parameters_say_how_many_weights_share_a_value() -> None:
    layer = nn.Linear(10, 1, bias=False)
    set_codebook(layer, torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2, 2, 2]]), torch.tensor([1.0, 2.0]))
    ((centroids, members),) = shared_parameters(nn.Sequential(layer))
    assert centroids is latent_weight(layer)
    assert members == 4.0


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
