"""From settings to a run: defaults for normalisation, teachers, seeds, and the plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.commands.compress import compress, resume
from pithnet.commands.evaluate import measure
from pithnet.commands.export import calibration_split
from pithnet.commands.inputs import (
    check_fit,
    load_images,
    load_network,
    load_teacher,
    normalization_of,
    parse_normalization,
    training_images,
)
from pithnet.commands.settings import CompressSettings, DataSettings, ExportSettings
from pithnet.commands.settings_file import absolute
from pithnet.data import NORMALIZATIONS, Normalization
from pithnet.errors import DataError, ModelError, PithError, RecipeError
from pithnet.recipe import parse
from pithnet.run.plan import make_plan

DIGITS = DataSettings(data="digits")
SHARE = (
    "name: share\nsteps:\n  - prune: {sparsity: 0.5, criterion: random}\n  - share: {bits: 2, init: random}\n"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "digits.pt"
    torch.save(zoo.build("digits-cnn").state_dict(), path)
    return path


@pytest.fixture
def prefixed(weights: Path, tmp_path: Path) -> Path:
    """The same checkpoint as DataParallel saves it."""
    state = torch.load(weights, weights_only=True)
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "prefixed.pt")
    return tmp_path / "prefixed.pt"


def test_normalization_defaults(weights: Path, prefixed: Path) -> None:
    assert normalization_of(DataSettings()) == NORMALIZATIONS["cifar10"]
    assert normalization_of(DIGITS, weights) == NORMALIZATIONS["digits"]
    assert normalization_of(DataSettings(), prefixed) == NORMALIZATIONS["imagenet"]
    assert normalization_of(DataSettings(normalize="cifar10"), prefixed) == NORMALIZATIONS["cifar10"]


def test_parse_normalization() -> None:
    assert parse_normalization("0.5,0.25/1,2") == Normalization((0.5, 0.25), (1.0, 2.0))
    for text in ("0.5,0.5/1", "1/0", "nan/1", "1/2/3", "/", "imagent"):
        with pytest.raises(DataError):
            parse_normalization(text)


def test_the_file_says_how_images_are_normalised(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(SHARE)
    chosen = CompressSettings(model="digits-cnn", weights=str(weights), recipe=str(tmp_path / "r.yaml"))
    data = DataSettings(data="digits", normalize="0.25/0.5", val=100)
    finished = compress(data, chosen, tmp_path / "run")
    assert finished.result.inspection.normalization == ((0.25,), (0.5,))
    assert finished.result.inspection.source is not None
    assert finished.result.after is not None
    assert finished.result.after.n == 100
    found = measure(tmp_path / "run" / "model.pith", DataSettings(val=100))
    assert found["dataset"] == "digits"
    assert found["loss"] == pytest.approx(finished.result.after.loss)


def test_seed_overrides_the_recipes(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(SHARE)

    def run(name: str, seed: int | None) -> bytes:
        chosen = CompressSettings(
            model="digits-cnn", weights=str(weights), recipe=str(tmp_path / "r.yaml"), seed=seed
        )
        finished = compress(DIGITS, chosen, tmp_path / name)
        assert finished.results["seed"] == (seed or 0)
        return finished.result.data

    first, other = run("first", None), run("other", 1)
    assert first != other
    (tmp_path / "r.yaml").unlink()  # the run has its own copy
    assert resume(tmp_path / "other").result.data == other


def test_teacher_has_its_own_normalization(weights: Path) -> None:
    data = DataSettings(data="digits", normalize="0/1")
    images = load_images(data, train=False)
    assert images.train is None
    assert load_teacher(f"digits-cnn:{weights}", images, data).normalization == NORMALIZATIONS["digits"]
    for text in ("digits-cnn", ":x.pt", "digits-cnn:"):
        with pytest.raises(ModelError, match="is not ARCH:FILE"):
            load_teacher(text, images, data)


def test_of_images_of_ones_own_the_teacher_sees_what_normalize_says(weights: Path, tmp_path: Path) -> None:
    data = saved(tmp_path / "mine.npz", train=range(10), test=range(10))
    images = load_images(data, train=False)
    for chosen in ("0/1", "digits"):
        given = replace(data, normalize=chosen)
        assert load_teacher(f"digits-cnn:{weights}", images, given).normalization == normalization_of(given)


def saved(path: Path, train: range, test: range, seed: int = 0) -> DataSettings:
    """An npz with grey 8 x 8 images, a few of every class."""
    rng = np.random.default_rng(seed)
    labels = {"train": np.repeat(train, 4), "test": np.repeat(test, 2)}
    pixels = {f"x_{k}": rng.integers(0, 256, (len(y), 1, 8, 8), np.uint8) for k, y in labels.items()}
    np.savez(path, **pixels, **{f"y_{k}": y for k, y in labels.items()})
    return DataSettings(data="npz", data_root=str(path), normalize="digits")


def split(folder: Path, data: DataSettings) -> DataSettings:
    """The same images as train.npz and test.npz: neither file knows the other's labels."""
    folder.mkdir()
    arrays = np.load(str(data.data_root))
    for part in ("train", "test"):
        np.savez(folder / f"{part}.npz", images=arrays[f"x_{part}"], labels=arrays[f"y_{part}"])
    return replace(data, data_root=str(folder))


def test_test_labels_need_not_have_all_classes(weights: Path, tmp_path: Path) -> None:
    data = split(tmp_path / "split", saved(tmp_path / "all.npz", train=range(10), test=range(9)))
    images = load_images(data, train=True)
    assert (images.classes, load_images(data, train=False).classes) == (10, 9)
    assert measure(weights, data, "digits-cnn")["n"] == 18
    assert zoo.outputs(load_network("digits-cnn", images, weights)) == 10
    few = saved(tmp_path / "few.npz", train=range(4), test=range(3))
    with pytest.raises(ModelError, match="has 10 outputs, npz has 4 classes"):
        load_network("digits-cnn", load_images(few, train=True), weights)
    many = saved(tmp_path / "many.npz", train=range(10), test=range(11))
    with pytest.raises(ModelError, match="digits-cnn has 10 outputs, npz has 11 classes"):
        measure(weights, many, "digits-cnn")


def test_only_classes_that_are_not_the_default_are_an_argument(tmp_path: Path) -> None:
    ten, four = (
        load_images(saved(tmp_path / f"{n}.npz", train=range(n), test=range(n)), train=True) for n in (10, 4)
    )
    assert load_network("digits-cnn", ten, None).architecture == ("digits-cnn", {})
    assert load_network("digits-cnn", four, None).architecture == ("digits-cnn", {"classes": 4})
    assert (zoo.default_classes("resnet20"), zoo.default_classes("vgg16-imagenet")) == (10, 1000)


Change = Callable[[Path], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "weights": (lambda run: rewritten(run / "w.pt"), r"the checkpoint .*w\.pt is not the one this run began"),
    "teacher": (lambda run: rewritten(run / "t.pt"), r"the checkpoint .*t\.pt is not the one this run began"),
    "images": (
        lambda run: saved(run / "d.npz", range(10), range(10), seed=1),
        r"the images of npz at .*d\.npz are not those this run began with",
    ),
}


def rewritten(path: Path) -> None:
    """Another trained network of the same architecture."""
    torch.manual_seed(1)
    torch.save(zoo.build("digits-cnn").state_dict(), path)


@pytest.fixture
def begun(weights: Path, tmp_path: Path) -> Path:
    """A finished compression in RUN/run, of RUN/w.pt, RUN/t.pt and RUN/d.npz."""
    for name in ("w.pt", "t.pt"):
        (tmp_path / name).write_bytes(weights.read_bytes())
    (tmp_path / "r.yaml").write_text(SHARE)
    w, t, r = (str(tmp_path / name) for name in ("w.pt", "t.pt", "r.yaml"))
    chosen = CompressSettings(model="digits-cnn", weights=w, teacher=f"digits-cnn:{t}", recipe=r, seed=1)
    compress(saved(tmp_path / "d.npz", range(10), range(10)), chosen, tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_run_began_with_must_be_there_again(what: str, begun: Path) -> None:
    change, message = CHANGES[what]
    change(begun)
    with pytest.raises(PithError, match=message):
        resume(begun / "run")


def test_what_a_run_began_with_is_kept_in_its_settings(begun: Path) -> None:
    content = json.loads((begun / "run" / "settings.json").read_text())
    assert set(content["inputs"]) == {"images", "weights", "teacher"}
    assert resume(begun / "run").result.data == (begun / "run" / "model.pith").read_bytes()


def test_the_same_images_are_held_out_whatever_the_seed(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(SHARE)
    data, recipe = replace(DIGITS, val=200), str(tmp_path / "r.yaml")
    held = {}
    for seed in (1, 2):
        chosen = CompressSettings(model="digits-cnn", weights=str(weights), recipe=recipe, seed=seed)
        held[seed] = compress(data, chosen, tmp_path / str(seed)).results["before"]["loss"]
    assert held[1] == held[2] == measure(weights, data, "digits-cnn")["loss"]
    learn, test = training_images(data)
    assert test is not None
    pixels = {image.numpy().tobytes() for image in test.images}
    assert not pixels & {image.numpy().tobytes() for image in learn.images}
    seen, unseen = calibration_split(data, ExportSettings(calibrate=900, seed=3))
    assert not pixels & {image.numpy().tobytes() for part in (seen, unseen) for image in part.images}


def test_too_few_outputs() -> None:
    images = load_images(DIGITS, train=False)
    with pytest.raises(ModelError, match="4 outputs, digits has 10 classes"):
        check_fit(zoo.build("digits-cnn", classes=4), images, NORMALIZATIONS["digits"], "digits-cnn")


def test_settings_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = absolute(CompressSettings(weights="w.pt", teacher="resnet44:t.pt", cache="/c"))
    assert (chosen.weights, chosen.cache) == (str(tmp_path / "w.pt"), "/c")
    assert chosen.teacher == f"resnet44:{tmp_path / 't.pt'}"
    assert absolute(DataSettings(data_root="d")).data_root == str(tmp_path / "d")


def test_plan_of_a_known_model() -> None:
    model = nn.Sequential(nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(1.0, 33.0).view(4, 8))
        model[2].weight.copy_(torch.arange(1.0, 9.0).view(2, 4))
    steps = [{"prune": {"sparsity": 0.5, "scope": "uniform"}}, {"share": {"bits": 1, "skip": ["2"]}}]
    plan = make_plan(model, parse({"name": "x", "steps": steps}, "x"))
    first, last = plan.layers
    assert (first.name, first.weights, first.zeros, first.levels) == ("0", 32, 16, 2)
    assert (first.passes, last.passes) == ("prune, share", "prune")
    # Whole outputs are zero and the others full: no positions, 16 symbols of a bit each, two float16 levels.
    assert first.bytes == (16 + 32) // 8 + 8
    assert (last.zeros, last.levels, last.bytes) == (4, None, 64 // 8 + 8)
    # float16: folded normalisation 2 x 4, bias 2
    assert plan.rest == 60 + 2 * (8 + 2)
    assert plan.float_bytes == 4 * (32 + 4 * 4 + 8 + 2)
    assert plan.bytes == plan.rest + first.bytes + last.bytes
    assert json.dumps(plan.to_json())
    assert model[0].weight.count_nonzero() == 32


def test_plan_refuses_what_a_pass_would() -> None:
    model = zoo.build("digits-cnn")
    steps = [{"share": {"bits": 2}}, {"prune": {"sparsity": 0.5}}]
    with pytest.raises(RecipeError, match="prune before sharing"):
        make_plan(model, parse({"name": "x", "steps": steps}, "x"))
