"""The public names: what they are, and the README's promise for any nn.Module and any loader."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pithnet as pn
from pithnet import api
from tests.run.running import Crash, crash_after

# The file of a network so small is mostly its header, and a trivial way may be smaller.
pytestmark = pytest.mark.filterwarnings("ignore:.* bytes and this file:pithnet.PithWarning")

RECIPE = pn.recipe.parse(
    {
        "name": "api",
        "batch_size": 32,
        "steps": [
            {"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 2, "lr": 0.05}},
            {"share": {"bits": 3}, "train": {"epochs": 1, "lr": 0.01}},
        ],
        "distill": {"weight": 0.5},
    },
    "api",
)


class Net(nn.Module):
    """Nothing of the zoo."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.fixture
def loader() -> DataLoader[tuple[torch.Tensor, ...]]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(96, 1, 6, 6, generator=g)
    return DataLoader(TensorDataset(x, (x.mean((1, 2, 3)) > 0).long()), batch_size=32)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Net()


def test_compress_any_module(
    model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], tmp_path: Path
) -> None:
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    result = pn.compress(model, train=loader, val=loader, recipe=RECIPE)
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    result.save(tmp_path / "net.pith")
    assert result.bytes == (tmp_path / "net.pith").stat().st_size
    assert result.ratio == pytest.approx(4 * 98 / result.bytes)
    assert result.before is not None
    assert result.after is not None
    assert (result.before.n, result.after.n) == (96, 96)
    assert f"{result.bytes:,} bytes" in str(result)
    loaded = pn.load(tmp_path / "net.pith", model=Net())
    assert not loaded.training
    x = next(iter(loader))[0]
    assert torch.equal(loaded(x), result.model(x))
    assert (result.model.conv.weight == 0).sum() + (result.model.head.weight == 0).sum() == 44
    page = result.report(tmp_path / "page.html")
    assert "api" in page.read_text()
    with pytest.raises(pn.ArtifactError, match="names no zoo architecture"):
        pn.load(tmp_path / "net.pith")


def test_a_network_of_the_zoo_is_named_in_the_file(tmp_path: Path) -> None:
    data = pn.data.load("digits", None, "test").take(torch.arange(64))
    batches = pn.data.Batches(data, 64, pn.data.NORMALIZATIONS["digits"])
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: one\nsteps:\n  - share: {bits: 2}\n")
    result = pn.compress(
        pn.zoo.build("digits-cnn", width=8), val=batches, recipe=recipe, out=tmp_path / "run"
    )
    found = pn.inspect(tmp_path / "run" / "model.pith")
    assert (found.architecture, dict(found.arguments)) == ("digits-cnn", {"width": 8})
    assert found.normalization == ((0.3053,), (0.3758,))
    assert found.bytes == result.bytes
    assert found.dataset == "digits"
    assert pn.load(tmp_path / "run" / "model.pith").conv1.weight.shape == (8, 1, 3, 3)
    with pytest.raises(
        pn.PithError, match="holds a run already; continue it with resume=True, or choose another `out`"
    ):
        pn.compress(pn.zoo.build("digits-cnn"), recipe=recipe, out=tmp_path / "run")


@pytest.mark.parametrize("said", [("unet", {}), ("unet", 50)])
def test_an_architecture_of_ones_own_is_no_name_of_the_zoo(model: nn.Module, said: object) -> None:
    model.architecture = said  # type: ignore[assignment]
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "x")
    result = pn.compress(model, recipe=recipe)
    assert result.results["architecture"] is None


def test_names_that_cannot_be_printed_are_refused_before_anything_is_trained(
    loader: DataLoader[tuple[torch.Tensor, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    net.add_module("a\nb", nn.Linear(2, 2))
    monkeypatch.setattr("pithnet.api.carry_out", None)
    with pytest.raises(pn.ArtifactError, match=r"'a\\nb\.weight' cannot be printed"):
        pn.compress(net, train=loader, recipe=RECIPE)


def test_temporary_files_go_with_the_result(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "x")
    result = pn.compress(model, recipe=recipe)
    assert len(list(tmp_path.iterdir())) == 1
    assert result.before is None
    del result
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_quantized_activations_are_refused_before_anything_is_done() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    pn.quantize(net, activations=8, calibrate=torch.randn(9, 1, 8, 8), bits=8, fit="range")
    recipe = pn.recipe.parse({"name": "x", "steps": [{"train": {"epochs": 1}}]}, "x")
    with pytest.raises(pn.ArtifactError, match="has activation quantizers"):
        pn.compress(net, train=[(torch.randn(9, 1, 8, 8), torch.zeros(9).long())], recipe=recipe)


def test_what_compress_refuses(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> None:
    with pytest.raises(pn.RecipeError, match="needs training data"):
        pn.compress(model, recipe=RECIPE)
    with pytest.raises(pn.DataError, match="start anew every epoch"):
        pn.compress(model, train=iter(loader), recipe=RECIPE)
    with pytest.raises(pn.DataError, match="start anew every epoch"):
        pn.compress(model, train=(b for b in loader), recipe=RECIPE)
    with pytest.raises(pn.RecipeError, match=r"Did you mean deep-compression\?"):
        pn.compress(model, train=loader, recipe="deep-compresion")
    with torch.no_grad():
        model.head.weight[0, 0] = torch.inf
    with pytest.raises(pn.ModelError, match=r"head\.weight holds NaN or inf"):
        pn.compress(model, train=loader, recipe=RECIPE)


def test_passes_alone(model: nn.Module, tmp_path: Path) -> None:
    record = pn.prune(model, sparsity=0.5)
    assert record.sparsity == 0.5
    pn.share(model, bits=2)
    final = pn.finalize(model)
    pn.save(final, tmp_path / "m.pith")
    restored = pn.restore(Net(), model.state_dict())
    assert torch.equal(restored.conv.weight, model.conv.weight)
    assert torch.equal(pn.load(tmp_path / "m.pith", model=Net()).conv.weight, final.conv.weight)


@pytest.mark.parametrize("name", pn.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pn, name) is not None
    assert name in dir(pn)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="pithnet has no 'prunne'"):
        _ = pn.prunne


def test_a_run_that_was_stopped_is_resumed_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net, batches = pn.zoo.build("digits-cnn", width=4), list(_random_batches())
    steps = [{"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 3}}, {"share": {"bits": 2}}]
    whole = pn.compress(net, batches, recipe={"steps": steps}, out=tmp_path / "whole")
    kept = api.carry_out

    def stopped(problem: Any, store: Any, show: Any, **options: Any) -> Any:
        show.epoch = crash_after(2)
        return kept(problem, store, show, **options)

    monkeypatch.setattr(api, "carry_out", stopped)
    with pytest.raises(Crash):
        pn.compress(net, batches, recipe={"steps": steps}, out=tmp_path / "cut", resume=True)
    monkeypatch.setattr(api, "carry_out", kept)
    assert not (tmp_path / "cut" / "model.pith").exists()
    again = pn.compress(net, batches, recipe={"steps": steps}, out=tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "model.pith").read_bytes() == (tmp_path / "whole" / "model.pith").read_bytes()
    assert again.bytes == whole.bytes
    for change, said in (
        ({"model": pn.zoo.build("digits-cnn", width=4)}, "the model's weights are not those"),
        ({"recipe": {"steps": steps[1:]}}, "the recipe is not the one"),
        ({"train": batches[1:]}, "the training data are not those"),
    ):
        given = {"model": net, "train": batches, "recipe": {"steps": steps}, **change}
        with pytest.raises(pn.PithError, match=said):
            pn.compress(**given, out=tmp_path / "cut", resume=True)
    with pytest.raises(pn.RecipeError, match="say which by out="):
        pn.compress(net, batches, recipe={"steps": steps}, resume=True)


def _random_batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(3)
    for _ in range(3):
        yield torch.randn(16, 1, 8, 8, generator=g), torch.randint(0, 10, (16,), generator=g)
