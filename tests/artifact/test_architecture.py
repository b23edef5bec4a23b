"""A file names an architecture of the zoo only where loading by that name gives the same function."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from artifact.models import trained_like
from pithnet import zoo
from pithnet.artifact import Metadata, encode, inspect, load, own_architecture, read, save
from pithnet.passes import prune, quantize, share
from pithnet.surgery import finalize

RECORDS = sorted((Path(__file__).parents[2] / "records").glob("*.pith"))


def test_every_network_of_the_zoo_is_its_own() -> None:
    for name in zoo.ARCHITECTURES:
        small = {"width": 4} if name.startswith(("vgg", "digits", "mobilenet")) else {}
        model = zoo.build(name, **small, **({"hidden": 8} if name == "vgg16-imagenet" else {}))
        assert own_architecture(model) == model.architecture, name


def test_passes_and_finalize_leave_the_name() -> None:
    for change in (lambda m: prune(m, 0.5), lambda m: share(m, 2), lambda m: quantize(m, 4, fit="range")):
        model = trained_like("digits-cnn", width=4)
        change(model)
        assert own_architecture(model) == own_architecture(finalize(model)) == ("digits-cnn", {"width": 4})


def test_what_only_training_sees_leaves_the_name() -> None:
    model = zoo.build("vgg16", width=4)
    model.features[1].momentum = 0.01
    model.features[2] = nn.ReLU()
    assert own_architecture(nn.SyncBatchNorm.convert_sync_batchnorm(model)) == ("vgg16", {"width": 4})


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda m: m.features.__setitem__(2, nn.GELU()), r"features\.2 is a GELU and no ReLU"),
        (lambda m: setattr(m.features[1], "eps", 0.1), r"features\.1\.eps is 0\.1, not 1e-05"),
        (lambda m: setattr(m.features[0], "stride", (2, 2)), r"features\.0\.stride is \(2, 2\)"),
        (lambda m: m.features.append(nn.Tanh()), r"features\.\d+ is added"),
        (lambda m: m.features.__delitem__(-1), r"features\.\d+ is missing"),
    ],
)
def test_another_function_is_stored_without_the_name(
    change: Callable[[nn.Module], object], difference: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, again = trained_like("vgg16", width=4).eval(), trained_like("vgg16", seed=1, width=4)
    change(model)
    change(again)
    save(tmp_path / "x.pith", encode(model))
    assert inspect(read(tmp_path / "x.pith")).architecture is None
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert re.search(f"the model is no longer vgg16: {difference}", caplog.text)
    loaded = load(tmp_path / "x.pith", model=again)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items() if v.ndim)


def test_a_changed_layer_of_other_sizes_keeps_the_name_for_loading_to_say_where() -> None:
    model = zoo.build("digits-cnn", width=4)
    model.linear = nn.Linear(8, 3)
    assert own_architecture(model) == ("digits-cnn", {"width": 4})


@pytest.mark.parametrize(
    "said",
    [
        ("unet", {}),
        ("unet", 50),
        ("resnet20", 50),
        ("resnet20",),
        ([], {}),
        "resnet20",
        ("resnet20", {"x": 1}),
    ],
)
def test_an_attribute_of_that_name_that_is_not_the_zoos_is_ignored(said: object) -> None:
    model = nn.Linear(2, 2)
    model.architecture = said  # type: ignore[assignment]
    assert own_architecture(model) is None
    assert inspect(encode(model)).architecture is None


def test_a_name_that_the_metadata_gives_is_kept() -> None:
    model = zoo.build("digits-cnn", width=4)
    model.bn1.eps = 0.1
    meta = Metadata(architecture="digits-cnn", arguments={"width": 4})
    assert inspect(encode(model, meta)).architecture == "digits-cnn"


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_the_records_keep_their_names_and_bytes(path: Path) -> None:
    model = load(path)
    assert own_architecture(model) == ("resnet20", {})
    assert encode(model, model.pith) == read(path)  # type: ignore[arg-type]
