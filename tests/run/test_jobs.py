"""From settings to a run: defaults for normalisation, teachers, seeds, and the plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.data import NORMALIZATIONS, Normalization
from pithnet.errors import DataError, ModelError, PithError
from pithnet.recipe import parse
from pithnet.run.inputs import check_fit, load_images, load_teacher, normalization_of, parse_normalization
from pithnet.run.jobs import compress, resume
from pithnet.run.measure import measure
from pithnet.run.plan import make_plan
from pithnet.run.settings import CompressSettings, DataSettings, absolute

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


def test_source_files_need_shared_weights(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: prune\nsteps:\n  - prune: {sparsity: 0.5}\n")
    recipe = str(tmp_path / "r.yaml")
    chosen = CompressSettings(model="digits-cnn", weights=str(weights), recipe=recipe, source_files=True)
    with pytest.raises(PithError, match="needs a recipe that shares weights"):
        compress(DIGITS, chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_teacher_has_its_own_normalization(weights: Path) -> None:
    data = DataSettings(data="digits", normalize="0/1")
    images = load_images(data, train=False, seed=0)
    assert images.train is None
    assert load_teacher(f"digits-cnn:{weights}", images, data).normalization == NORMALIZATIONS["digits"]
    for text in ("digits-cnn", ":x.pt", "digits-cnn:"):
        with pytest.raises(ModelError, match="is not ARCH:FILE"):
            load_teacher(text, images, data)


def test_too_few_outputs() -> None:
    images = load_images(DIGITS, train=False, seed=0)
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
    # 32 positions and 16 symbols of a bit each, two float16 levels; 8 positions and 4 float16 weights
    assert first.bytes == (32 + 16 + 32) // 8 + 8
    assert (last.zeros, last.levels, last.bytes) == (4, None, (8 + 64) // 8 + 8)
    # float16: folded normalisation 2 x 4, bias 2
    assert plan.rest == 60 + 2 * (8 + 2)
    assert plan.float_bytes == 4 * (32 + 4 * 4 + 8 + 2)
    assert plan.bytes == plan.rest + first.bytes + last.bytes
    assert json.dumps(plan.to_json())
    assert model[0].weight.count_nonzero() == 32


def test_plan_refuses_what_a_pass_would() -> None:
    model = zoo.build("digits-cnn")
    steps = [{"share": {"bits": 2}}, {"prune": {"sparsity": 0.5}}]
    with pytest.raises(ModelError, match="prune before sharing"):
        make_plan(model, parse({"name": "x", "steps": steps}, "x"))
