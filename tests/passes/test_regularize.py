"""Regularization of a network: exact counts, every kind and way, masks, resuming, and what is refused."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from comparisons import assert_below, training
from torch import nn

from pithnet import zoo
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.errors import ModelError, RecipeError
from pithnet.learn import Trainer, Training
from pithnet.passes import Regularization, prune, regularize, share
from pithnet.surgery import Mask, parametrization, restore, weighted_layers
from pithnet.tensor import REGULARIZERS

GROUPED = ("group-lasso", "group-hoyer-square", "keep-k-groups")
WAYS = [
    (kind, how)
    for kind, cls in REGULARIZERS.items()
    for how, able in (("proximal", cls.has_prox), ("loss", cls.has_subgradient), ("admm", cls.has_prox))
    if able
]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build("digits-cnn", width=4)


def batches() -> Batches:
    g = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (70, 1, 8, 8), dtype=torch.uint8, generator=g)
    data = ArrayData(pixels, torch.randint(0, 10, (70,), generator=g))
    return Batches(data, 16, Normalization((0.4,), (0.3,)), shuffle=True, seed=3)


def sizes(model: nn.Module) -> dict[str, int]:
    return {name: layer.weight.numel() for name, layer in weighted_layers(model)}


def zeros(model: nn.Module) -> dict[str, int]:
    return {name: int((layer.weight == 0).sum()) for name, layer in weighted_layers(model)}


def train(model: nn.Module, schedule: Any, epochs: int = 2) -> Trainer:
    trainer = Trainer(model, batches(), Training(epochs, lr=0.05, warmup=0.2), before_step=schedule)
    for _ in trainer.run():
        pass
    return trainer


@pytest.mark.parametrize(("kind", "how"), WAYS)
def test_every_kind_and_way_ends_at_the_wanted_zeros(kind: str, how: str) -> None:
    model = network()
    schedule = Regularization(model, kind, strength=0.01, sparsity=0.6, how=how, until=0.5, skip=("linear",))
    assert schedule.record is None
    train(model, schedule)
    record = schedule.record
    assert record is not None
    found = zeros(model)
    assert {row.name: row.zeros for row in record.layers} == {n: z for n, z in found.items() if n != "linear"}
    total = sum(size for name, size in sizes(model).items() if name != "linear")
    if kind not in GROUPED:
        assert sum(row.zeros for row in record.layers) == round(0.6 * total)
        assert all(row.zero_groups is None for row in record.layers)
        return
    assert record.sparsity == pytest.approx(0.6, abs=0.1)
    for name, row in zip(("conv1", "conv2", "conv3"), record.layers, strict=True):
        filters = getattr(model, name).weight.flatten(1)
        assert row.zero_groups == tuple((~filters.any(1)).nonzero().flatten().tolist())
        assert row.zeros == len(row.zero_groups or ()) * filters.shape[1]
        assert len(row.zero_groups or ()) < len(filters)


def test_kinds_that_know_k_and_strong_ones_make_their_zeros_themselves() -> None:
    own = {}
    for kind, strength in (("keep-k", 1.0), ("trimmed-l1", 0.5), ("l1", 0.02), ("l0", 1e-3)):
        model = network()
        schedule = Regularization(model, kind, strength=strength, sparsity=0.6)
        train(model, schedule)
        assert schedule.record is not None
        own[kind] = sum(row.own_zeros or 0 for row in schedule.record.layers)
    wanted = round(0.6 * sum(sizes(network()).values()))
    assert own["keep-k"] == own["trimmed-l1"] == wanted
    assert min(own["l1"], own["l0"]) > 100


def test_the_loss_term_reaches_no_exact_zeros() -> None:
    model = network()
    schedule = Regularization(model, "l1", strength=0.02, how="loss")
    train(model, schedule)
    assert schedule.record is not None
    assert schedule.record.sparsity == 0
    assert_below(training.proximal_zeros)
    proximal = network()
    train(proximal, exact := Regularization(proximal, "l1", strength=0.02))
    assert exact.record is not None
    assert sum(zeros(proximal).values()) == sum(row.own_zeros or 0 for row in exact.record.layers)


def test_without_a_strength_one_is_found_that_makes_the_zeros() -> None:
    model = network()
    schedule = Regularization(model, "l1", sparsity=0.6, updates=30)
    assert schedule.searches
    train(model, schedule)
    assert schedule.strength > 1e-4
    assert_below(training.found_strengths)


@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
def test_the_scope_says_which_zeros_are_counted_together(scope: str) -> None:
    model = network()
    schedule = Regularization(model, "keep-k", sparsity=0.5, scope=scope)
    train(model, schedule)
    found = zeros(model)
    assert sum(found.values()) == pytest.approx(0.5 * sum(sizes(model).values()), abs=1)
    if scope == "uniform":
        assert found == {name: size // 2 for name, size in sizes(model).items()}
    assert (len(schedule.method.terms) == 1) == (scope == "global")


def test_after_the_mask_training_is_free_and_zeros_stay() -> None:
    model = network()
    schedule = Regularization(model, "trimmed-l1", strength=0.1, sparsity=0.6, until=0.4)
    train(model, schedule, epochs=3)
    assert not schedule.method.active
    before = {name: layer.weight.detach().clone() for name, layer in weighted_layers(model)}
    train(model, None, epochs=1)
    for name, layer in weighted_layers(model):
        assert torch.equal(layer.weight == 0, before[name] == 0)
        assert not torch.equal(layer.weight, before[name])


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.6), (0.6, 0.3)])
@pytest.mark.parametrize("kind", ["l1", "group-lasso"])
def test_what_was_pruned_before_stays_pruned(kind: str, before: float, after: float) -> None:
    model = network()
    prune(model, before)
    gone = {name: layer.weight == 0 for name, layer in weighted_layers(model)}
    schedule = Regularization(model, kind, strength=0.05, sparsity=after)
    train(model, schedule)
    assert schedule.record is not None
    masked = sum(row.zeros for row in schedule.record.layers)
    if kind == "l1":
        assert masked == round(0.6 * sum(sizes(model).values()))
    train(model, None, epochs=1)
    for name, layer in weighted_layers(model):
        assert not layer.weight[gone[name]].any()


@pytest.mark.parametrize("how", ["proximal", "loss", "admm"])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_training_stopped_after_any_epoch_ends_in_the_same_bits(how: str, stop: int) -> None:
    options: dict[str, Any] = {"sparsity": 0.6, "how": how, "until": 0.6, "updates": 5}
    options["strength"] = None if how == "proximal" else 0.01

    def begin(model: nn.Module) -> tuple[Regularization, Trainer]:
        schedule = Regularization(model, "trimmed-l1", **options)
        return schedule, Trainer(model, batches(), Training(3, lr=0.05, warmup=0.2), before_step=schedule)

    whole = network()
    uncut, trainer = begin(whole)
    list(trainer.run())

    first, file = network(), io.BytesIO()
    _, trainer = begin(first)
    for record in trainer.run():
        if record.epoch == stop:
            torch.save({"model": first.state_dict(), "trainer": trainer.state_dict()}, file)
            break
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second = restore(network(seed=9), state["model"])
    resumed, trainer = begin(second)
    trainer.load_state_dict(state["trainer"])
    list(trainer.run())
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in whole.state_dict().items())
    assert resumed.record == uncut.record


def test_a_loop_of_your_own() -> None:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    penalty = regularize(model, optimizer, "trimmed-l1", strength=30.0, sparsity=0.7)
    for step in range(8):
        penalty(step / 8)
        for x, y in batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    record = penalty.finish()
    total = sum(sizes(model).values())
    assert sum(row.zeros for row in record.layers) == round(0.7 * total)
    assert sum(row.own_zeros or 0 for row in record.layers) == round(0.7 * total)
    assert penalty.finish() == record


def test_channels_and_transposed_filters_are_found_along_their_axis() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 3), nn.Conv2d(6, 5, 3))
    for groups, axes in (("filters", (1, 0)), ("channels", (0, 1))):
        trial = copy.deepcopy(model)
        record = Regularization(trial, "group-lasso", strength=0.1, sparsity=0.5, groups=groups).finish()
        for layer, axis, row in zip(trial, axes, record.layers, strict=True):
            empty = ~layer.weight.movedim(axis, 0).flatten(1).any(1)
            assert row.zero_groups == tuple(empty.nonzero().flatten().tolist())
            assert 0 < len(row.zero_groups or ()) < layer.weight.shape[axis]


def test_a_frozen_layer_is_masked_but_not_trained() -> None:
    model = network()
    model.conv2.weight.requires_grad_(False)
    before = model.conv2.weight.clone()
    schedule = Regularization(model, "l1", strength=0.1, sparsity=0.5)
    assert len(schedule.method.terms) == 3
    train(model, schedule)
    kept = model.conv2.weight != 0
    assert torch.equal(model.conv2.weight[kept], before[kept])
    assert schedule.record is not None
    assert sum(row.zeros for row in schedule.record.layers) == round(0.5 * sum(sizes(model).values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "l11"}, r"unknown regularizer 'l11'. Did you mean l1"),
        ({"strength": -1.0}, r"strength is -1.0: use a finite number >= 0"),
        ({"strength": float("nan")}, r"strength is nan"),
        ({"kind": "mcp", "gama": 2.0}, r"'mcp' has no parameter 'gama'. Did you mean gamma"),
        ({"strength": None}, r"'l1' needs a strength here; only proximal steps of single weights"),
        ({"strength": None, "how": "loss", "sparsity": 0.5}, r"'l1' needs a strength here"),
        ({"strength": None, "kind": "group-lasso", "sparsity": 0.5}, r"'group-lasso' needs a strength here"),
        ({"sparsity": 1.1}, r"from 0 to 1, not 1.1"),
        ({"kind": "trimmed-l1"}, r"'trimmed-l1' keeps a number of weights; give the sparsity"),
        ({"how": "proximall"}, r"unknown way to regularize 'proximall'. Did you mean proximal"),
        (
            {"kind": "hoyer-square", "how": "admm"},
            r"'hoyer-square' has no prox, which 'admm' needs; use how='loss'",
        ),
        (
            {"kind": "l0", "how": "loss"},
            r"'l0' has no subgradient for a loss term; use how='proximal' or 'admm'",
        ),
        ({"until": 0.0}, r"until is a share of the training, above 0 and up to 1, not 0.0"),
        ({"updates": 0}, r"updates is 0; use 1 or more"),
        ({"scope": "globl"}, r"unknown pruning scope 'globl'. Did you mean global"),
        ({"groups": "filter"}, r"unknown groups 'filter'. Did you mean filters"),
        ({"rho": (0.1, 0.01)}, r"rho goes from 0.1 to 0.01"),
        ({"skip": ("conv9",)}, r"skip: 'conv9' matches no layer"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_changes(options: dict[str, Any], message: str) -> None:
    model = network()
    keys = list(model.state_dict())
    with pytest.raises(RecipeError, match=message):
        Regularization(model, **{"kind": "l1", "strength": 0.1, **options})
    assert list(model.state_dict()) == keys


def test_models_that_cannot_be_regularized_are_refused() -> None:
    shared = network()
    share(shared, 2)
    with pytest.raises(ModelError, match="is shared"):
        Regularization(shared, "l1", strength=0.1)
    frozen = network().requires_grad_(False)
    with pytest.raises(RecipeError, match="every layer is frozen"):
        Regularization(frozen, "l1", strength=0.1)
    model = network()
    with torch.no_grad():
        model.conv1.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(ModelError, match=r"conv1\.weight holds NaN or inf"):
        Regularization(model, "l1", strength=0.1)
    model = network()
    with pytest.raises(RecipeError, match="not in the optimizer"):
        regularize(model, torch.optim.SGD(model.linear.parameters(), lr=0.1), "l1", strength=0.1)
    assert all(parametrization(layer, Mask) is None for _, layer in weighted_layers(model))
