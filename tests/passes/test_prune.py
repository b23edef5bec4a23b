"""Pruning: exact counts, scopes, schedules, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pithnet.errors import ModelError, RecipeError
from pithnet.passes import GradualPruning, prune, prune_by_std, quantize, share
from pithnet.surgery import Mask, latent_weight, parametrization
from pithnet.tensor import erk, uniform

from .networks import SIZES, TOTAL, net, zeros


@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.333, 0.7, 0.95, 1.0])
def test_every_scope_prunes_exactly_what_it_says(scope: str, sparsity: float) -> None:
    model = net()
    record = prune(model, sparsity, scope=scope)
    assert zeros(model) == round(sparsity * TOTAL) == sum(row.zeros for row in record.layers)
    assert {row.name: row.size for row in record.layers} == SIZES
    assert record.sparsity == pytest.approx(sparsity, abs=0.5 / TOTAL)
    per_layer = [row.zeros for row in record.layers]
    if scope == "uniform":
        assert per_layer == uniform(list(SIZES.values()), sparsity)
    if scope == "erk":
        assert per_layer == erk([model[int(n)].weight.shape for n in SIZES], sparsity)


def test_a_global_ranking_removes_the_smallest_of_all() -> None:
    model = net()
    magnitudes = torch.cat([model[int(n)].weight.detach().abs().flatten() for n in SIZES])
    prune(model, 0.4)
    kept = torch.cat([model[int(n)].weight.detach().flatten() for n in SIZES]) != 0
    assert float(magnitudes[~kept].max()) < float(magnitudes[kept].min())


def test_skipped_layers_are_neither_touched_nor_counted() -> None:
    model = net()
    record = prune(model, 0.5, skip=("0", "[6]"))
    assert [row.name for row in record.layers] == ["3"]
    assert zeros(model) == record.layers[0].zeros == 108


def test_by_standard_deviations_each_layer_has_its_own_threshold() -> None:
    model = net()
    expected = {}
    for name in SIZES:
        weight = model[int(name)].weight.detach()
        expected[name] = int((weight.abs() <= 0.8 * weight.std(correction=0)).sum())
    record = prune_by_std(model, 0.8)
    assert {row.name: row.zeros for row in record.layers} == expected
    assert zeros(model) == sum(expected.values()) > 100


def test_ties_do_not_break_the_count() -> None:
    model = net()
    with torch.no_grad():
        for name in SIZES:
            model[int(name)].weight.fill_(0.5)
    prune(model, 0.5)
    assert zeros(model) == round(TOTAL / 2)


def test_the_random_criterion_repeats_with_its_generator() -> None:
    first, second, third = net(), net(), net()
    for model, seed in ((first, 1), (second, 1), (third, 2)):
        prune(model, 0.5, criterion="random", generator=torch.Generator().manual_seed(seed))
    assert torch.equal(first[6].weight, second[6].weight)
    assert not torch.equal(first[6].weight, third[6].weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.1}, "from 0 to 1, not 1.1"),
        ({"sparsity": float("nan")}, "from 0 to 1, not nan"),
        ({"sparsity": 0.5, "scope": "globl"}, "scope 'globl'. Did you mean global"),
        ({"sparsity": 0.5, "criterion": "magnitud"}, "criterion 'magnitud'. Did you mean magnitude"),
        ({"sparsity": 0.5, "granularity": "filtr"}, "granularity 'filtr'. Did you mean filter"),
        (
            {"sparsity": 0.5, "granularity": "block"},
            "N of every M neighbouring weights write N:M, such as 2:4",
        ),
        (
            {"sparsity": 0.5, "granularity": "4:4"},
            "granularity '4:4' keeps none or all; write N:M with N from 1",
        ),
        ({"sparsity": 0.7, "granularity": "2:4"}, "'2:4' has the sparsity 0.5 and no other, not 0.7; leave"),
        ({}, "sparsity is missing; give the share of the weights that is to be zero"),
        ({"sparsity": 0.5, "skip": ("7",)}, "'7' matches no layer. Known: 0, 3, 6"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_changes(arguments: dict, message: str) -> None:
    model = net()
    with pytest.raises(RecipeError, match=message.replace("(", r"\(")):
        prune(model, **arguments)
    assert parametrization(model[0], Mask) is None


@pytest.mark.parametrize("s", [-0.1, float("nan")])
def test_a_negative_number_of_deviations_is_refused(s: float) -> None:
    with pytest.raises(RecipeError, match="standard deviations"):
        prune_by_std(net(), s)


def test_a_shared_layer_is_refused_by_name_before_the_others_change() -> None:
    model = net()
    share(model, 2, skip=("0", "3"))
    for again in (lambda: prune(model, 0.5), lambda: prune_by_std(model, 1.0)):
        with pytest.raises(ModelError, match=r"6\.weight is shared .* prune before sharing"):
            again()
        assert parametrization(model[0], Mask) is None
    prune(model, 0.5, skip=("6",))


def test_a_quantized_layer_is_refused_by_name_unless_it_was_pruned_before() -> None:
    model = net()
    prune(model, 0.3, skip=("6",))
    quantize(model, 4, fit="range")
    with pytest.raises(ModelError, match=r"6\.weight is quantized .* prune before quantizing"):
        prune(model, 0.5)
    record = prune(model, 0.5, skip=("6",))
    assert record.sparsity == pytest.approx(0.5, abs=5e-3)
    assert str(record).startswith("prune global 0.5: 50.")


def test_random_scores_prune_what_is_gone_first() -> None:
    model = net()
    prune(model, 0.5)
    prune(model, 0.6, criterion="random", generator=torch.Generator().manual_seed(3))
    assert zeros(model) == round(0.6 * TOTAL)
    pruning = GradualPruning(model, 0.8, ramp=0.5, updates=4, criterion="random")
    for done in (0.0, 0.2, 0.3, 0.45, 0.6):
        pruning(done)
        assert zeros(model) == sum(layer.zeros for layer in pruning.record.layers)
    assert zeros(model) == round(0.8 * TOTAL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"ramp": 2.0}, "ramp is a share of the training"),
        ({"scope": "globl"}, "Did you mean global?"),
        ({"criterion": "magnitud"}, "Did you mean magnitude?"),
    ],
)
def test_gradual_pruning_refuses_before_anything_changes(wrong: dict[str, object], message: str) -> None:
    model = net()
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        gradual(model, **wrong)
    assert parametrization(model[0], Mask) is None


def gradual(model: nn.Module, **options: object) -> GradualPruning:
    return GradualPruning(model, **{"sparsity": 0.8, "ramp": 0.5, "updates": 10, **options})


def run(schedule: GradualPruning, steps: int) -> list[int]:
    """The zeros after each of `steps` steps and after the last."""
    counts = []
    for done in [step / steps for step in range(steps)] + [1.0]:
        schedule(done)
        counts.append(zeros(schedule.model))
    return counts


@pytest.mark.parametrize("schedule", ["cubic", "linear"])
@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
def test_gradual_pruning_rises_in_updates_to_the_exact_count(scope: str, schedule: str) -> None:
    model = net()
    counts = run(gradual(model, scope=scope, schedule=schedule), 100)
    shape = {"cubic": lambda t: 1 - (1 - t) ** 3, "linear": lambda t: t}[schedule]
    steps = [round(0.8 * shape(update / 10) * TOTAL) for update in range(1, 11)]
    # Ten updates over the first fifty steps.
    assert counts[:50] == [s for s in steps for _ in range(5)]
    assert set(counts[50:]) == {round(0.8 * TOTAL)}
    assert not any(parametrization(model[int(n)], Mask).recoverable for n in SIZES)


@pytest.mark.parametrize("ramp", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_gradual_pruning_ends_at_the_exact_count_however_short_the_training(steps: int, ramp: float) -> None:
    model = net()
    schedule = gradual(model, ramp=ramp, updates=40)
    assert run(schedule, steps)[-1] == round(0.8 * TOTAL)
    assert not parametrization(model[3], Mask).recoverable
    assert schedule.record is not None
    assert sum(row.zeros for row in schedule.record.layers) == round(0.8 * TOTAL)


def test_masks_are_recoverable_until_the_last_update() -> None:
    model = net()
    schedule = gradual(model)
    assert schedule.record is None
    schedule(0.0)
    assert parametrization(model[3], Mask).recoverable
    with torch.no_grad():
        latent_weight(model[3]).add_(1.0)
    schedule(0.1)
    assert int((model[3].weight == 0).sum()) == 0, "grown weights were not taken back"


@pytest.mark.parametrize("recoverable", [False, True])
def test_a_pruned_weight_starts_again_from_zero(recoverable: bool) -> None:
    model = net()
    prune(model, 0.5, recoverable=recoverable)
    for name in SIZES:
        layer = model[int(name)]
        assert torch.equal(latent_weight(layer), layer.weight)
        assert 0 < int((latent_weight(layer) == 0).sum()) < SIZES[name]


def test_gradual_pruning_starts_from_the_sparsity_there_is() -> None:
    model = net()
    prune(model, 0.5)
    counts = run(gradual(model), 100)
    assert counts[0] >= round(0.5 * TOTAL)
    assert counts == sorted(counts)
    assert counts[-1] == round(0.8 * TOTAL)


def test_random_masks_grow() -> None:
    model = net()
    schedule = gradual(model, criterion="random", seed=3)
    gone = torch.zeros(8, 3, 3, 3, dtype=torch.bool)
    for step in range(10):
        schedule(step / 20)
        pruned = model[3].weight == 0
        assert bool((pruned | ~gone).all()), "a pruned weight came back"
        gone = pruned
    assert int(gone.sum()) > 100


def test_a_schedule_goes_on_from_its_state() -> None:
    whole, first, second = net(), net(), net()
    prune(first, 0.2)
    for model in (whole, second):
        prune(model, 0.2)
    counts = run(gradual(whole), 20)
    before = gradual(first)
    for step in range(4):
        before(step / 20)
    second.load_state_dict(first.state_dict())
    after = gradual(second)
    after.load_state_dict(before.state_dict())
    for step in range(4, 20):
        after(step / 20)
        assert zeros(second) == counts[step]
    assert after.record is not None
    for name in SIZES:
        assert torch.equal(whole[int(name)].weight, second[int(name)].weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "cubik"}, "schedule 'cubik'. Did you mean cubic"),
        ({"sparsity": -0.1}, "from 0 to 1"),
        ({"scope": "local"}, "unknown pruning scope 'local'"),
        ({"criterion": "magnitude2"}, "Did you mean magnitude"),
    ],
)
def test_a_wrong_schedule_is_refused_when_it_is_made(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        gradual(net(), **options)


def test_filters_of_all_layers_are_ranked_by_their_mean_magnitude() -> None:
    model = net()
    means = {n: model[int(n)].weight.detach().abs().flatten(1).mean(1) for n in SIZES}
    record = prune(model, 0.5, granularity="filter")
    gone = {row.name: row.zero_groups for row in record.layers}
    lost = [m for n, mean in means.items() for i, m in enumerate(mean.tolist()) if i in gone[n]]
    kept = [m for n, mean in means.items() for i, m in enumerate(mean.tolist()) if i not in gone[n]]
    assert max(lost) < min(kept)
    # Filters of 9, 27 and 72 weights: half of the last one's is as far away as the sparsity can be.
    assert abs(zeros(model) - TOTAL / 2) <= 36
    assert record.what == "prune filter global 0.5"


@pytest.mark.parametrize(("granularity", "count"), [("kernel", 24), ("filter", 8), ("channel", 3)])
def test_a_uniform_share_of_each_layers_groups_goes(granularity: str, count: int) -> None:
    model = net()
    record = prune(model, 0.25, scope="uniform", granularity=granularity, skip=("0", "6"))
    (row,) = record.layers
    assert row.zeros == round(0.25 * count) * 216 // count


def test_a_group_that_stays_keeps_its_zeros_and_one_that_is_gone_goes_first() -> None:
    model = net()
    prune(model, 0.5, skip=("0", "6"))
    prune(model, 0.25, granularity="filter", skip=("0", "6"))
    single = ~parametrization(model[3], Mask).mask
    assert int(single.sum()) > 108, "single weights of other filters came back"
    record = prune(model, 0.5, granularity="filter", skip=("0", "6"))
    assert len(record.layers[0].zero_groups) == 4
    assert not (parametrization(model[3], Mask).mask & single).any()
    less = prune(model, 0.125, granularity="filter", skip=("0", "6"))
    assert set(less.layers[0].zero_groups) < set(record.layers[0].zero_groups)
    assert len(less.layers[0].zero_groups) == 1


@pytest.mark.parametrize("sparsity", [None, 0.5])
def test_two_of_four_inputs_stay_wherever_the_inputs_lie(sparsity: float | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 6, 3), nn.ConvTranspose2d(6, 4, 3), nn.Conv2d(4, 4, 3, groups=4))
    record = prune(model, sparsity, granularity="2:4", scope="erk")
    first, second, depthwise = (parametrization(layer, Mask).mask for layer in model)
    assert all(bool((part.sum(1) == 2).all()) for part in first.split(4, 1))
    assert [part.sum(0).unique().tolist() for part in second.split(4, 0)] == [[2], [2]]
    assert bool(depthwise.all()), "a layer of one input has nothing to lose"
    assert record.what == "prune 2:4"


def test_gradual_pruning_takes_whole_filters() -> None:
    model = net()
    counts = run(gradual(model, granularity="filter", sparsity=0.6), 20)
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert abs(counts[-1] - 0.6 * TOTAL) <= 36
    for name in SIZES:
        rows = parametrization(model[int(name)], Mask).mask.flatten(1)
        assert torch.equal(rows, rows[:, :1].expand_as(rows))
