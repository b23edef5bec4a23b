"""A recipe carried out: what comes out, what is refused beforehand, and crashes that change nothing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import artifact, zoo
from pithnet.artifact import Metadata
from pithnet.data import ArrayData, Augmentation, Batches, Normalization
from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import evaluate
from pithnet.passes import share
from pithnet.recipe import Recipe, parse
from pithnet.results import Store
from tests.run.running import Crash, Parts, Shown, crash_after, run

NORMALIZATION = Normalization((0.4,), (0.3,))

LEVELS = {
    "name": "levels",
    "steps": [
        {"prune": {"sparsity": 0.6, "ramp": 0.7, "updates": 5}, "train": {"epochs": 2, "lr": 0.05}},
        {"share": {"levels": 4, "rate_weight": 0.02, "trained": True}, "train": {"epochs": 2, "lr": 0.02}},
        {"train": {"epochs": 1, "lr": 0.005}},
    ],
    "distill": {"weight": 0.5, "views": 2},
}
CODEBOOKS = {
    "name": "codebooks",
    "steps": [
        {"prune": {"std": 0.5}, "train": {"epochs": 1}},
        {"prune": {"sparsity": 0.7, "criterion": "random"}, "train": {"epochs": 1}},
        {"share": {"bits": 2, "init": "kmeans++"}, "train": {"epochs": 2}},
    ],
    "storage": {"norm": "fixed8", "fold": False},
}

PRICED = {
    "name": "priced",
    "steps": [
        {"prune": {"sparsity": 0.2}},
        {
            "post_training": {"bytes": 0.25, "calibrate": 40, "trained": True, "updates": 9},
            "train": {"epochs": 3, "optimizer": "adamw", "lr": 0.01},
        },
    ],
    "distill": {"weight": 1.0, "views": 2},
}


def network(seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build("digits-cnn", width=width)


def images(n: int, labelled: bool = True) -> ArrayData:
    g = torch.Generator().manual_seed(n)
    pixels = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=g)
    return ArrayData(pixels, torch.randint(0, 10, (n,), generator=g) if labelled else None)


def training(labelled: bool = True, **options: Any) -> Batches:
    arguments = {"augmentation": Augmentation(1), "shuffle": True, "seed": 2, **options}
    return Batches(images(50, labelled), 16, NORMALIZATION, **arguments)


def problem(**changes: Any) -> Parts:
    test = Batches(images(40), 20, NORMALIZATION)
    return {"model": network(), "train": training(), "test": test, **changes}


def recipe(content: dict[str, Any], **changes: Any) -> Recipe:
    return parse({**content, **changes}, "test")


_encode, _encoded = artifact.encode, {}


@pytest.fixture(autouse=True)
def equal_models_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tensors give the same file (tests/artifact); here the question is which tensors come out."""

    def remembered(model: nn.Module, meta: Metadata) -> bytes:
        state = artifact.plain_state(model)
        key = (repr(meta), *((name, value.numpy().tobytes()) for name, value in state.items()))
        if key not in _encoded:
            _encoded[key] = _encode(model, meta)
        return _encoded[key]

    monkeypatch.setattr(artifact, "encode", remembered)


def logged(folder: Store) -> list[dict[str, Any]]:
    """The run's events, without wall times."""
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("content", [LEVELS, CODEBOOKS, PRICED], ids=lambda c: c["name"])
def test_a_crash_after_any_epoch_or_step_ends_in_the_same_bytes(
    content: dict[str, Any], tmp_path: Path
) -> None:
    what = recipe(content)
    whole_folder = Store.create(tmp_path / "whole", {})
    whole = run(problem(test=None), what, whole_folder)
    crashes = [("epoch", at) for at in range(1, what.epochs + 1)] + [("step", len(what.steps) - 1)]
    for after, at in crashes:
        path = tmp_path / f"{after}-{at}"
        show = Shown(crash_at=at if after == "epoch" else 0)
        crash = crash_after(at) if after == "step" else None
        with Store.create(path, {}) as folder, pytest.raises(Crash):
            run(problem(test=None), what, folder, show, after_step=crash)
        folder, seen = Store.open(path), Shown()
        result = run(problem(test=None), what, folder, seen)
        assert result.data == whole.data
        assert logged(folder) == logged(whole_folder)
        if after == "epoch":
            assert len(seen.epochs) == what.epochs - at, "epochs were trained again"


def test_a_finished_run_gives_its_result_again_without_training(tmp_path: Path) -> None:
    what = recipe(LEVELS)
    with Store.create(tmp_path / "run", {}) as folder:
        first = run(problem(), what, folder)
    again = run(problem(), what, Store.open(tmp_path / "run"), Shown(crash_at=1))
    assert again.data == first.data


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    results = [run(problem(), recipe(CODEBOOKS, seed=seed)).data for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_the_result_is_the_file_and_the_file_the_result(tmp_path: Path) -> None:
    given = problem()
    result = run(given, recipe(LEVELS))
    result.save(tmp_path / "m.pith")
    loaded = artifact.load(tmp_path / "m.pith")
    x = next(iter(given["test"]))[0]
    result.model.eval()
    assert torch.equal(loaded(x), result.model(x))
    assert result.bytes == (tmp_path / "m.pith").stat().st_size == len(result.data)
    assert result.after is not None
    assert result.after.accuracy == evaluate(loaded, given["test"]).accuracy
    assert result.before is not None
    assert result.before.accuracy == evaluate(given["model"], given["test"]).accuracy
    assert result.inspection.claimed == (40, int(result.after.correct.sum()))
    floats = sum(v.numel() for v in given["model"].state_dict().values() if v.is_floating_point())
    assert result.ratio == 4 * floats / result.bytes
    weights = [m.weight for m in result.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(int((w == 0).sum()) for w in weights) == round(0.6 * sum(w.numel() for w in weights))
    assert all(w[w != 0].unique().numel() <= 4 for w in weights)
    content = json.loads(json.dumps(result.to_json()))
    assert content["bytes"] == result.bytes
    assert content["difference"]["low"] <= content["difference"]["points"] <= content["difference"]["high"]
    assert f"{result.bytes:,} bytes" in str(result)
    assert "int8 + zstd" in str(result)


def test_model_and_teacher_are_left_as_they_were() -> None:
    teacher = network(seed=5, width=6).train()
    given = problem(teacher=teacher)
    before = copy.deepcopy((given["model"].state_dict(), teacher.state_dict()))
    run(given, recipe(LEVELS))
    for state, module in zip(before, (given["model"], teacher), strict=True):
        assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
        assert module.training
    assert teacher.conv2.weight.is_contiguous()


def test_distillation_works_without_labels_from_batches_and_from_any_loader() -> None:
    what = recipe(LEVELS)
    teacher = network(seed=5)
    cached = run(problem(train=training(labelled=False), teacher=teacher), what)
    loader = [(x, None) for x, _ in training(labelled=False)]
    live = run(problem(train=loader, teacher=teacher), what)
    assert cached.data != live.data, "fixed views and one epoch of images are not the same training"
    other = run(problem(train=training(labelled=False), teacher=network(seed=6)), what)
    assert other.data != cached.data, "the teacher made no difference"


def test_logits_in_the_batches_are_learnt_from_unless_a_teacher_is_given() -> None:
    what = recipe({"name": "x", "steps": [{"train": {"epochs": 3, "lr": 0.05}}], "distill": {"weight": 1.0}})
    mine = torch.randn(2, 50, 10, generator=torch.Generator().manual_seed(7))
    plain = run(problem(), what).data
    first = run(problem(train=training(soft=mine)), what).data
    assert first != plain, "the float model's logits came in their place"
    assert first != run(problem(train=training(soft=-mine)), what).data
    taught = [
        run(problem(train=t, teacher=network(seed=5)), what).data for t in (training(soft=mine), training())
    ]
    assert taught[0] == taught[1]


def test_the_teachers_answers_are_kept_between_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = recipe(LEVELS)
    first = run(problem(cache=tmp_path), what)
    monkeypatch.setattr("pithnet.learn.teacher.teacher_logits", None)
    assert run(problem(cache=tmp_path), what).data == first.data


def test_progress_and_epochs_are_told() -> None:
    seen = Shown()
    run(problem(), recipe(LEVELS), show=seen)
    assert seen.batches[0] == ("teacher", 1, 8)
    assert ("prune 0.6", 3, 3) in seen.batches
    assert seen.epochs == [
        ("prune 0.6", 1, 2),
        ("prune 0.6", 2, 2),
        ("share 4 levels", 1, 2),
        ("share 4 levels", 2, 2),
        ("train", 1, 1),
    ]


def test_a_recipe_without_training_needs_no_data() -> None:
    what = recipe({"name": "x", "steps": [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 2}}]})
    result = run(problem(train=None, test=None), what)
    assert result.before is None
    assert result.to_json()["difference"] is None
    assert result.ratio > 1


def test_a_model_that_is_compressed_already_can_be_compressed_further() -> None:
    model = network()
    share(model, 4)
    what = recipe({"name": "x", "steps": [{"share": {"bits": 2}, "train": {"epochs": 1}}]})
    result = run(problem(model=model), what)
    assert max(t.levels for t in result.inspection.tensors if len(t.shape) > 1) <= 4
    assert result.float_bytes == artifact.float32_bytes(network().state_dict())


def bad_model() -> nn.Module:
    model = network()
    with torch.no_grad():
        model.conv2.weight[1, 0, 2, 2] = float("nan")
    return model


STEPS = {
    "criterion": [{"prune": {"sparsity": 0.5, "criterion": "magnitud"}}],
    "skip": [{"train": {"epochs": 1}}, {"share": {"bits": 2, "skip": ["fc"]}}],
    "order": [{"share": {"bits": 2}}, {"prune": {"sparsity": 0.5}}],
}


@pytest.mark.parametrize(
    ("changes", "content", "error", "message"),
    [
        ({"model": bad_model()}, LEVELS, ModelError, r"conv2\.weight holds NaN or inf"),
        ({"train": None}, LEVELS, RecipeError, "'levels' trains for 5 epochs and needs training data"),
        (
            {"test": Batches(images(40, labelled=False), 20, NORMALIZATION)},
            LEVELS,
            DataError,
            "test data has none",
        ),
        ({"teacher_batches": training(seed=3)}, LEVELS, RecipeError, "teacher must see the same images"),
        ({}, {"name": "x", "steps": STEPS["criterion"]}, RecipeError, "Did you mean magnitude"),
        ({}, {"name": "x", "steps": STEPS["skip"]}, RecipeError, "skip: 'fc' matches no layer"),
        ({}, {"name": "x", "steps": STEPS["order"]}, RecipeError, "'prune 0.5' comes after sharing"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    changes: dict[str, Any], content: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(problem(**changes), recipe(content))
