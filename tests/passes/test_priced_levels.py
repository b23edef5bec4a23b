"""Levels that train at a price of bits: within the budget, nearer than before, masks and statistics kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.errors import RecipeError
from pithnet.learn import Objective, Trainer, Training
from pithnet.passes import PricedLevels, prune, quantize_without_labels
from pithnet.passes.ptq.rate.priced_weights import priced_weights
from pithnet.policies import divergence
from pithnet.surgery import Mask, parametrization, weighted_layers


def size(model: nn.Module) -> int:
    return len(pn.encode(pn.finalize(model)))


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """Digits to learn from, and others to measure on, without labels."""
    data = pn.data.load("digits", None, "train")
    batches = pn.data.Batches(data, 64, pn.data.NORMALIZATIONS["digits"])
    pixels = torch.cat([x for x, _ in batches])  # type: ignore[misc]
    return pixels[:-400], pixels[-400:]


@pytest.fixture(scope="module")
def reference(images: tuple[Tensor, Tensor]) -> nn.Module:
    """A network that tells digits apart."""
    labels = pn.data.load("digits", None, "train").labels
    assert labels is not None
    torch.manual_seed(0)
    model = pn.zoo.build("digits-cnn", width=8)
    loader = list(zip(images[0].split(64), labels[:-400].split(64), strict=True))
    for _ in Trainer(model, loader, Training(4, lr=0.1, warmup=0.1)).run():
        pass
    return model.eval()


@pytest.fixture(scope="module")
def start(reference: nn.Module, images: tuple[Tensor, Tensor]) -> nn.Module:
    """The network a twentieth as large, without training."""
    model = copy.deepcopy(reference)
    quantize_without_labels(model, bytes=0.05, calibrate=images[0][:400])
    return model


def training(epochs: int, **options: Any) -> Training:
    return Training(epochs, objective=Objective(distill=1.0), **{"lr": 0.01, "optimizer": "adamw", **options})


def train(
    model: nn.Module, teacher: nn.Module, images: tuple[Tensor, Tensor], epochs: int, **options: Any
) -> PricedLevels:
    """Trains a network in place to the bytes that it takes, and returns what priced its levels."""
    work = PricedLevels(model, bytes=size(model))
    batches = images[0].split(64)
    for _ in Trainer(model, batches, training(epochs, **options), teacher=teacher, before_step=work).run():
        pass
    return work


def distance(model: nn.Module, reference: nn.Module, images: tuple[Tensor, Tensor]) -> float:
    return divergence(pn.finalize(model.eval()), reference, images[1], "kl")


def test_training_brings_the_network_nearer_within_the_same_bytes(
    reference: nn.Module, start: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    model = copy.deepcopy(start)
    work = train(model, reference, images, 15)
    assert size(model) != size(start)
    record = work.finish()
    assert 0.97 * size(start) < size(model) <= size(start)
    assert record.what == f"train levels to {size(start):,} bytes"
    assert distance(model, reference, images) < 0.9 * distance(start, reference, images)
    for weight in priced_weights(copy.deepcopy(model)):
        assert torch.allclose(weight.scaled(), weight.scaled().round(), rtol=1e-5)


def test_the_price_rises_until_the_bits_are_those_of_the_budget(
    reference: nn.Module, start: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    free, priced = copy.deepcopy(start), copy.deepcopy(start)
    work = train(priced, reference, images, 15)
    assert work.price.value > work.price.first > 0
    work = PricedLevels(free, bytes=10 * size(start))  # as much as it likes
    for _ in Trainer(free, images[0].split(64), training(15), teacher=reference, before_step=work).run():
        pass
    assert size(priced) < size(start) + 0.3 * (size(free) - size(start))


def test_what_was_pruned_stays_zero_and_what_bn_remembers_stays(
    reference: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    model = copy.deepcopy(reference)
    prune(model, 0.5, scope="uniform")
    quantize_without_labels(model, bytes=0.04, calibrate=images[0][:200])
    weights = dict(weighted_layers(model))
    zeros = {name: layer.weight == 0 for name, layer in weights.items()}
    pruned = {name: ~found.mask for name, layer in weights.items() if (found := parametrization(layer, Mask))}
    free = {name: zeros[name] & ~mask for name, mask in pruned.items()}
    assert any(bool(zero.any()) for zero in free.values())
    before = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    train(model, reference, images, 2, lr=0.1).finish()
    assert all(not weights[name].weight[mask].any() for name, mask in pruned.items())
    assert any(bool(weights[name].weight[zero].any()) for name, zero in free.items())
    assert all(torch.equal(value, dict(model.named_buffers())[name]) for name, value in before.items())


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(
    reference: nn.Module, start: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    batches = images[0].split(64)[:8]
    whole = copy.deepcopy(start)
    work = PricedLevels(whole, bytes=size(start))
    trainer = Trainer(whole, batches, training(3), teacher=reference, before_step=work)
    runs = trainer.run()
    next(runs)
    kept, weights = copy.deepcopy(trainer.state_dict()), copy.deepcopy(whole)
    for _ in runs:
        pass
    later = PricedLevels(weights, bytes=size(start))
    resumed = Trainer(weights, batches, training(3), teacher=reference, before_step=later)
    resumed.load_state_dict(kept)
    for _ in resumed.run():
        pass
    work.finish()
    later.finish()
    assert pn.encode(pn.finalize(weights.eval())) == pn.encode(pn.finalize(whole.eval()))


def test_a_budget_far_below_is_kept_by_the_cheapest_levels(start: nn.Module) -> None:
    """Without any training: rounding alone makes the network a third smaller."""
    model = copy.deepcopy(start)
    small = size(start) * 2 // 3
    PricedLevels(model, bytes=small).finish()
    assert 0.97 * small < size(model) <= small


def test_weights_that_do_not_train_keep_their_levels(
    reference: nn.Module, start: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    """They have no gradient, and count for nothing by that only if nobody looks."""
    model, small = copy.deepcopy(start), size(start) * 4 // 5
    model.conv2.requires_grad_(False)  # type: ignore[union-attr]
    before = model.conv2.weight.detach().clone()  # type: ignore[union-attr]
    work = PricedLevels(model, bytes=small)
    for _ in Trainer(model, images[0].split(64), training(1), teacher=reference, before_step=work).run():
        pass
    work.finish()
    assert torch.equal(model.conv2.weight, before)  # type: ignore[union-attr]
    assert 0.97 * small < size(model) <= small


class Words(nn.Module):
    """An embedding and attention, whose weights have one step each or one for every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_embeddings_and_attention_train_whether_channels_share_a_step_or_not() -> None:
    torch.manual_seed(0)
    model = Words()
    words = torch.randint(0, 20, (64, 6))
    quantize_without_labels(model, bytes=0.3, calibrate=words)
    small = size(model) * 9 // 10
    work = PricedLevels(model, bytes=small)
    shared = [w for w in work.weights if w.name == "words" and len(w.part.scale) == 1]  # type: ignore[arg-type]
    assert [tuple(w.scaled().shape) for w in shared] == [(20, 8)]
    for weight in work.weights:
        assert torch.allclose(weight.unscaled(weight.scaled()), weight.layer.weight, rtol=1e-5)
    batches = [(words, torch.arange(64) % 4)]
    for _ in Trainer(model, batches, Training(3, lr=0.05, optimizer="adamw"), before_step=work).run():
        pass
    work.finish()
    assert 0.9 * small < size(model) <= small


def test_an_optimizer_gets_rates_in_levels_and_decays_nothing_that_is_rounded(start: nn.Module) -> None:
    model = copy.deepcopy(start)
    work = PricedLevels(model, bytes=0.1)
    weights = {id(weight.parameter): weight.step for weight in work.weights}
    adaptive = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.1)
    plain = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.1)
    for optimizer, rate, rest in ((adaptive, weights.get, 1 / 60), (plain, lambda key: 1.0, 1.0)):
        work.attach(optimizer)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                own = id(parameter) in weights
                assert group.get("lr_scale", 1.0) == (rate(id(parameter)) if own else rest)
                assert group["weight_decay"] == (0.1 if optimizer is plain and not own else 0.0)


def test_what_cannot_be_trained_is_refused(reference: nn.Module, start: nn.Module) -> None:
    with pytest.raises(RecipeError, match=r"no layer that trains has levels .* run quantize_without_labels"):
        PricedLevels(copy.deepcopy(reference), bytes=0.1)
    with pytest.raises(RecipeError, match=r"leave requires_grad on"):
        PricedLevels(copy.deepcopy(start).requires_grad_(False), bytes=0.1)
    eval_mode = copy.deepcopy(start).eval()
    with pytest.raises(
        RecipeError, match=r"zeros for all weights would take \d+ bytes already, more than the 90"
    ):
        PricedLevels(eval_mode, bytes=90)
    assert not any(module.training for module in eval_mode.modules())
    model = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(model.parameters())
    PricedLevels(model, bytes=0.1).attach(optimizer)
    with pytest.raises(RecipeError, match=r"no bits are counted yet; call PricedLevels"):
        optimizer.step()
    with pytest.raises(RecipeError, match="exactly one of bytes= "):
        PricedLevels(copy.deepcopy(start))
    with pytest.raises(RecipeError, match="updates is 0"):
        PricedLevels(copy.deepcopy(start), rate=2.0, updates=0)


def test_norms_that_are_not_frozen_follow_the_batches(
    reference: nn.Module, start: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    found = []
    for frozen in (True, False):
        model = copy.deepcopy(start)
        work = PricedLevels(model, bytes=size(start), freeze_norms=frozen)
        batches = images[0].split(64)[:4]
        for _ in Trainer(model, batches, training(1), teacher=reference, before_step=work).run():
            pass
        now = dict(model.named_buffers())
        names = [name for name in now if "running" in name]
        found.append([torch.equal(now[name], dict(start.named_buffers())[name]) for name in names])
    assert all(found[0])
    assert not any(found[1])
