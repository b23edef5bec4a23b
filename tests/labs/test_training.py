from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet.labs.notebook import Notebook
from pithnet.labs.training import (
    Trained,
    exactly_zero,
    rival_columns,
    train,
    training_columns,
    zero_places,
    zeros,
)
from pithnet.labs.workbench import Workbench
from pithnet.learn import EpochRecord, Training
from pithnet.passes import GradualPruning, prune, share
from pithnet.run.progress import Quiet

TRAINING = Training(epochs=2, lr=0.05)


class Stops(Quiet):
    """Stops the process, so to say, after the first epoch."""

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        raise KeyboardInterrupt


def gradual(model: nn.Module) -> GradualPruning:
    return GradualPruning(model, 0.6, ramp=1.0, schedule="linear", updates=2, scope="uniform")


def run(book: Notebook, bench: Workbench) -> Trained:
    return train(book, bench, "a run", bench.model(), TRAINING, gradual)


def test_zeros_are_compared_bit_for_bit(small_bench: Workbench) -> None:
    model = small_bench.model()
    prune(model, 0.5)
    places = zero_places(model)
    assert sum(int(at.sum()) for at in places.values()) == zeros(model) == 28_112
    assert exactly_zero(model, places)
    plain = small_bench.model()
    assert not exactly_zero(plain, places)
    with torch.no_grad():
        for name, at in places.items():
            plain.get_submodule(name).weight[at] = 0.0  # type: ignore[operator,union-attr]
        assert exactly_zero(plain, places)
        plain.conv2.weight[places["conv2"]] = -0.0  # type: ignore[operator,union-attr]
    assert not exactly_zero(plain, places)


def test_places_of_a_codebook_are_its_zeros(small_bench: Workbench) -> None:
    model = small_bench.model()
    prune(model, 0.5)
    before = zero_places(model)
    share(model, 3)
    after = zero_places(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_training_that_was_stopped_ends_in_the_same_weights(small_bench: Workbench, tmp_path: Path) -> None:
    whole = run(Notebook(tmp_path / "whole", {}, progress=Quiet()), small_bench)
    with pytest.raises(KeyboardInterrupt):
        run(Notebook(tmp_path / "cut", {"lab": "a"}, progress=Stops()), small_bench)
    with Notebook(tmp_path / "cut", {"lab": "a"}, resume=True, progress=Quiet()) as book:
        continued = run(book, small_bench)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, continued.model.state_dict()[key]), key
    assert [h["loss"] for h in continued.history] == [h["loss"] for h in whole.history]
    # Half of the sparsity before each epoch; every layer rounds for itself.
    assert training_columns(whole)["zeros_by_epoch"] == [16_867, 33_734]
    assert training_columns(whole)["masks_exact"] is True
    # A training that is done is read, not repeated.
    finished = run(Notebook(tmp_path / "cut", {"lab": "a"}, resume=True, progress=Stops()), small_bench)
    assert torch.equal(finished.evaluation.correct, whole.evaluation.correct)
    assert finished.history == continued.history


def test_masks_that_do_not_hold_are_noticed(small_bench: Workbench, tmp_path: Path) -> None:
    model = small_bench.model()
    prune(model, 0.5, recoverable=True)

    class Redraws:
        """Lets half of the pruned weights come back behind the training's back."""

        def __call__(self, done: float) -> None:
            if done >= 0.5:
                prune(model, 0.25, recoverable=True)

        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, state: dict[str, int]) -> None: ...

    places = zero_places(model)
    assert exactly_zero(model, places)
    trained = train(
        Notebook(tmp_path, {}, progress=Quiet()), small_bench, "x", model, TRAINING, lambda _: Redraws()
    )
    assert not exactly_zero(model, places)
    assert [h["zeros"] for h in trained.history] == [28_112, 14_056]


def test_the_bench_says_which_precision_is_trained_in(small_bench: Workbench, tmp_path: Path) -> None:
    losses = []
    for precision in ("float32", "bf16"):
        bench = replace(small_bench, precision=precision)
        book = Notebook(tmp_path / precision, {}, progress=Quiet())
        (row,) = train(book, bench, "x", bench.model(), Training(epochs=1, lr=0.05)).history
        losses.append(row["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_rival_is_named_with_what_is_gained_over_it() -> None:
    theirs = torch.tensor([True, True, False, False] * 25)
    mine = torch.tensor([True, True, True, False] * 25)
    row = rival_columns("by hand", theirs, mine)
    assert row["rival"] == "by hand"
    assert row["rival_difference"] == pytest.approx(25.0)
    assert 10 < row["rival_difference_low"] < 25 < row["rival_difference_high"] < 40
