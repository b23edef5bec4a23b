"""Training repeats with its seed and goes on after a stop as if there had been none."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comparisons import assert_below
from comparisons.training import training_learns
from torch import nn

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import Objective, StepSchedule, Trainer, Training, parameter_groups
from pithnet.passes import GradualPruning, LevelTraining, freeze_levels, prune, share
from pithnet.surgery import latent_weight, restore

from .problems import batches, equal, network

EPOCHS = 3
Begin = Callable[[nn.Module], StepSchedule | None]


def gradual(model: nn.Module) -> StepSchedule:
    return GradualPruning(model, 0.7, ramp=0.9, updates=7)


def random_pruning(model: nn.Module) -> StepSchedule:
    return GradualPruning(model, 0.7, ramp=0.9, updates=7, criterion="random", seed=5)


def levels(model: nn.Module) -> StepSchedule:
    prune(model, 0.3)
    return LevelTraining(model, levels=4, rate_weight=0.05, updates=7)


def shared(model: nn.Module) -> None:
    share(model, 2)


BEGIN: dict[str, Begin] = {
    "plain": lambda model: None,
    "gradual pruning": gradual,
    "random pruning": random_pruning,
    "levels": levels,
    "codebooks": shared,
}


def levels_again(model: nn.Module) -> StepSchedule:
    return LevelTraining(model, levels=4, rate_weight=0.05, updates=7)


# How a resumed run begins on a restored model: one-shot passes are on it already.
RESUME: dict[str, Begin] = {**BEGIN, "levels": levels_again, "codebooks": lambda model: None}


def trainer(model: nn.Module, before_step: StepSchedule | None) -> Trainer:
    return Trainer(model, batches(), Training(EPOCHS, lr=0.05, warmup=0.2), before_step=before_step)


@pytest.mark.parametrize("name", BEGIN)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_training_stopped_after_any_epoch_ends_in_the_same_bits(name: str, stop: int) -> None:
    whole = network()
    uninterrupted = list(trainer(whole, BEGIN[name](whole)).run())

    first = network()
    before = trainer(first, BEGIN[name](first))
    file = io.BytesIO()
    for record in before.run():
        if record.epoch == stop:
            torch.save({"model": first.state_dict(), "trainer": before.state_dict()}, file)
            break
    file.seek(0)
    state = torch.load(file, weights_only=True)

    second = restore(network(seed=9), state["model"])
    after = trainer(second, RESUME[name](second))
    after.load_state_dict(state["trainer"])
    resumed = list(after.run())
    assert equal(second, whole)
    assert [r.loss for r in resumed] == [r.loss for r in uninterrupted[stop:]]
    if name == "levels":
        assert freeze_levels(second) == freeze_levels(whole)
        assert equal(second, whole)


def test_the_seed_decides_and_nothing_else_does() -> None:
    def run(seed: int) -> nn.Module:
        model = network()
        torch.manual_seed(torch.seed())
        list(Trainer(model, batches(seed=seed), Training(1, lr=0.05)).run())
        return model

    assert equal(run(1), run(1))
    assert not equal(run(1), run(2))


def test_training_learns_and_records_what_it_did() -> None:
    model = network()
    seen: list[tuple[int, int]] = []
    work = Trainer(model, batches(), Training(6, lr=0.05), on_batch=lambda *at: seen.append(at))
    records = list(work.run())
    assert [r.epoch for r in records] == [1, 2, 3, 4, 5, 6]
    assert_below(training_learns)
    assert all(r.images == 64 and r.accuracy is not None for r in records), "70 images in 4 batches of 16"
    assert seen[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(work.run()) == [], "there is nothing left to train"


def test_the_learning_rate_follows_the_schedule_and_scales_shared_values() -> None:
    model = network()
    share(model, 2)
    rates: list[dict[int, float]] = []
    work = trainer(model, None)
    work.before_step = lambda done: rates.append(  # type: ignore[assignment]
        {len(g["params"][0]): g["lr"] for g in work.optimizer.param_groups}
    )
    list(work.run())
    assert len(rates) == 13
    steps = [group[4] for group in rates[:12]]
    assert steps.index(max(steps)) == 3, "the rise ends at step 0.2 * 12, rounded up"
    shared_groups = [g for g in work.optimizer.param_groups if "lr_scale" in g]
    sizes = {id(latent_weight(getattr(model, n))): getattr(model, n).weight.numel() for n in LAYERS}
    assert len(shared_groups) == 4
    for group in shared_groups:
        assert group["lr_scale"] == pytest.approx((sizes[id(group["params"][0])] / 4) ** -0.5)


LAYERS = ("conv1", "conv2", "conv3", "linear")


def test_weight_decay_touches_matrices_only() -> None:
    model = network()
    share(model, 2, skip=("conv2", "linear"))
    groups = parameter_groups(model, 0.1)
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(model.conv2.weight), id(model.linear.weight)}
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    model.linear.weight.requires_grad_(False)
    assert {id(p) for g in parameter_groups(model, 0.1) if g["weight_decay"] for p in g["params"]} == {
        id(model.conv2.weight)
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_network_without_trainable_parameters_is_refused(optimizer: str) -> None:
    model = network().requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable parameter: set requires_grad"):
        Trainer(model, batches(), Training(1, optimizer=optimizer))


def test_masks_are_exact_after_each_epoch() -> None:
    model = network()
    prune(model, 0.6)
    zero = model.conv3.weight == 0
    for _ in trainer(model, None).run():
        assert torch.equal(model.conv3.weight == 0, zero)
    assert 0 < int(zero.sum()) < zero.numel()


def test_a_schedule_shorter_than_its_updates_still_ends() -> None:
    model = network()
    schedule = GradualPruning(model, 0.5, ramp=1.0, updates=1000)
    list(trainer(model, schedule).run())
    assert schedule.record is not None
    assert schedule.record.sparsity == pytest.approx(0.5, abs=1e-3)


def test_training_from_a_teacher_needs_no_labels() -> None:
    model, teacher = network(), network(seed=4).eval()
    objective = Objective(distill=1.0, temperature=2.0)
    work = Trainer(model, batches(labelled=False), Training(4, lr=0.05, objective=objective), teacher=teacher)
    records = list(work.run())
    assert records[-1].loss < records[0].loss
    assert records[0].accuracy is None
    assert not any(p.grad is not None for p in teacher.parameters())


def test_a_teacher_in_train_mode_answers_in_eval_mode_and_keeps_its_statistics() -> None:
    def train(teacher: nn.Module) -> nn.Module:
        model = network()
        training = Training(1, lr=0.05, objective=Objective(distill=0.5))
        list(Trainer(model, batches(), training, teacher=teacher).run())
        return model

    live, still = network(seed=4).train(), network(seed=4).eval()
    assert equal(train(live), train(still))
    assert equal(live, still)
    assert live.training


def test_frozen_batchnorm_stays_frozen_and_a_model_in_eval_mode_trains_as_a_whole() -> None:
    frozen, whole, plain = network().train(), network().eval(), network().train()
    frozen.bn2.eval()
    before = copy.deepcopy(frozen.bn2.state_dict())
    for model in (frozen, whole, plain):
        for _ in trainer(model, None).run():
            model.eval()  # as a loop that measures in between may leave it
    assert torch.equal(frozen.bn2.running_mean, before["running_mean"])
    assert torch.equal(frozen.bn2.running_var, before["running_var"])
    assert not torch.equal(frozen.bn1.running_mean, network().bn1.running_mean)
    assert not torch.equal(frozen.bn2.weight, before["weight"]), "its scale trains"
    assert equal(whole, plain)


def test_neither_labels_nor_teacher_is_refused() -> None:
    work = Trainer(network(), batches(labelled=False), Training(1))
    with pytest.raises(RecipeError, match="needs labels or a teacher"):
        next(work.run())


def test_a_diverging_loss_is_refused() -> None:
    work = Trainer(network(), batches(), Training(2, lr=1e30, warmup=0.0))
    with pytest.raises(
        ModelError, match=r"the training loss is (nan|inf) in epoch 1; lower the learning rate"
    ):
        list(work.run())


def test_batches_without_length_or_images_are_refused() -> None:
    def stream() -> Iterator[Any]:
        yield from batches()

    with pytest.raises(DataError, match=r"start anew every epoch.* this is a generator"):
        next(Trainer(network(), stream(), Training(1)).run())
    with pytest.raises(DataError, match="the training data is empty"):
        next(Trainer(network(), [], Training(1)).run())


def test_bfloat16_trains_float32_weights() -> None:
    model = network()
    records = list(Trainer(model, batches(), Training(4, lr=0.05, precision="bf16")).run())
    assert records[-1].loss < records[0].loss
    assert {p.dtype for p in model.parameters()} == {torch.float32}


class Promises(list[Any]):
    """Says a length of its own."""

    def __init__(self, content: Any, length: int) -> None:
        super().__init__(content)
        self.length = length

    def __len__(self) -> int:
        return self.length


def test_a_length_that_is_not_kept_is_refused() -> None:
    with pytest.raises(DataError, match="has length 3 and gave more batches"):
        list(Trainer(network(), Promises(batches(), 3), Training(1)).run())
    with pytest.raises(DataError, match="gave no batch in an epoch"):
        list(Trainer(network(), Promises([], 3), Training(1)).run())


def test_data_that_is_not_finite_is_told_from_a_diverging_training() -> None:
    data = list(batches())
    data[2][0][0, 0, 0, 0] = torch.nan
    model = network()
    with pytest.raises(DataError, match="the inputs of training batch 3 hold NaN or inf"):
        list(Trainer(model, data, Training(1)).run())
    assert all(torch.isfinite(p).all() for p in model.parameters()), "the step was taken"


def test_a_single_sample_for_batchnorm_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    data = list(batches())
    data.append((data[0][0][:1], data[0][1][:1]))
    with pytest.raises(DataError, match=r"BatchNorm: .* a batch has one sample: set drop_last=True"):
        list(Trainer(model, data, Training(1)).run())


def test_labels_are_looked_at_in_every_batch() -> None:
    data = list(batches())
    data[3][1][0] = 10
    with pytest.raises(DataError, match="the model has 10 classes, and a label is 10"):
        list(Trainer(network(), data, Training(1)).run())


def test_dicts_and_a_loss_of_the_users_train_too() -> None:
    plain, named = network(), network()
    dicts = [{"x": x, "labels": y} for x, y in batches()]
    objective = Objective(loss=torch.nn.functional.cross_entropy)
    first = list(Trainer(plain, list(batches()), Training(2, lr=0.05)).run())
    second = list(Trainer(named, dicts, Training(2, lr=0.05, objective=objective)).run())
    assert equal(plain, named)
    assert [r.loss for r in first] == [r.loss for r in second]
    assert [r.accuracy for r in first] == [r.accuracy for r in second] != [None, None]
    regression = [(x, x.mean((1, 2, 3))) for x, _ in batches()]
    loss = Objective(loss=lambda outputs, targets: (outputs[:, 0] - targets).square().mean())
    records = list(Trainer(network(), regression, Training(4, lr=0.05, objective=loss)).run())
    assert records[-1].loss < records[0].loss
    assert records[0].accuracy is None


def test_dropout_and_shuffling_repeat_with_the_seed_also_after_a_stop() -> None:
    def run(seed: int, stop: int | None = None) -> nn.Module:
        model = nn.Sequential(nn.Dropout(0.3), network())
        data = torch.utils.data.DataLoader(next(iter(batches()))[0], 4, shuffle=True)  # type: ignore[arg-type]
        training = Training(3, lr=0.05, seed=seed, objective=Objective(loss=lambda o, t: o.square().mean()))
        work = Trainer(model, data, training)
        for record in work.run():
            if record.epoch == stop:
                torch.rand(5)
                state = copy.deepcopy(work.state_dict())
                work = Trainer(model, data, training)
                work.load_state_dict(state)
                list(work.run())
                break
        return model

    assert equal(run(1), run(1))
    assert equal(run(1), run(1, stop=2))
    assert not equal(run(1), run(2))


def test_3d_convolutions_train() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(2 * 7 * 7, 10))
    data = [(torch.stack([x, x], 2), y) for x, y in batches()]
    records = list(Trainer(model, data, Training(2, lr=0.01)).run())
    assert records[-1].loss < records[0].loss


def test_a_loss_of_the_users_may_meet_bfloat16_outputs() -> None:
    seen: list[torch.dtype] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(outputs.dtype)
        return torch.nn.functional.mse_loss(outputs[:, 0], targets)

    data = [(x, x.mean((1, 2, 3))) for x, _ in batches()]
    training = Training(4, lr=0.05, precision="bf16", objective=Objective(loss=loss))
    records = list(Trainer(network(), data, training).run())
    assert set(seen) == {torch.bfloat16}
    assert records[-1].loss < records[0].loss
