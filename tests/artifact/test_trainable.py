"""load(path, trainable=True): the same function and file, and zeros and levels that outlive training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from artifact.models import Tied, trained_like
from pithnet.artifact import encode, load, read, save
from pithnet.errors import ArtifactError
from pithnet.passes import prune, share
from pithnet.surgery import Codebook, Mask, Storage, finalize, parametrization, restore, weighted_layers


class Mixed(nn.Module):
    """A shared layer, a pruned one, a dense one, one of many levels, one of zeros, an LSTM, folded BN."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.pruned = nn.Conv2d(8, 8, 3, groups=2)
        self.many = nn.Linear(128, 128)
        self.lstm = nn.LSTM(128, 4)
        self.nothing = nn.Linear(4, 5, bias=False)
        self.dense = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.pruned(self.norm(self.shared(x)).relu()).relu().flatten(1)
        out, _ = self.lstm(self.many(hidden))
        return self.dense(out) + self.nothing(out)


def mixed() -> nn.Module:
    torch.manual_seed(0)
    model = Mixed()
    with torch.no_grad():
        model.nothing.weight.zero_()
        model.shared.weight[0] = 0.0
        model.many.weight.copy_(torch.randn(128, 128).mul(99).round().div(99 * 8))
        model.many.weight[0, :3] = torch.tensor([-0.0, 0.0, 1e-42])
    share(model, 2, skip=("many", "pruned", "lstm", "dense", "nothing"))
    prune(model, 0.6, skip=("shared", "many", "lstm", "dense", "nothing"))
    return finalize(model, Storage(other="float32"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trainable") / "mixed.pith"
    save(path, encode(mixed()))
    return path


def images(n: int = 16) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def train_(model: nn.Module, x: torch.Tensor, steps: int) -> None:
    """In place, with momentum and weight decay; BN as it is."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(len(x)) % 5).backward()
        optimizer.step()


def loss(model: nn.Module) -> float:
    with torch.no_grad():
        return F.cross_entropy(model(images()), torch.arange(16) % 5).item()


def census(model: nn.Module) -> dict[str, tuple[torch.Tensor, int]]:
    """Where each layer's exact zeros are, and how many other values it has; -0.0 is one of them."""
    found = {}
    for name, layer in weighted_layers(model):
        bits = layer.weight.detach().view(torch.int32)
        found[name] = (bits == 0, bits[bits != 0].unique().numel())
    return found


def test_each_weight_gets_the_form_it_trains_in(file: Path) -> None:
    model = load(file, model=Mixed(), trainable=True)
    kinds = {name: parametrization(getattr(model, name), Codebook) for name in ("shared", "many")}
    assert all(isinstance(kind, Codebook) for kind in kinds.values())
    assert len(model.shared.parametrizations["weight"].original) == 4
    assert len(model.many.parametrizations["weight"].original) > 256
    assert isinstance(parametrization(model.pruned, Mask), Mask)
    assert parametrization(model.dense, Mask) is None
    assert isinstance(model.lstm.weight_ih_l0, nn.Parameter)
    assert not parametrization(model.nothing, Mask).mask.any()


def test_untouched_it_is_the_plain_load_to_the_bit(file: Path) -> None:
    plain, trainable = load(file, model=Mixed()), load(file, model=Mixed(), trainable=True)
    assert not trainable.training
    assert torch.equal(trainable(images()), plain(images()))
    assert torch.signbit(plain.many.weight[0, 0])
    for name, layer in weighted_layers(trainable):
        bits = plain.get_parameter(layer.keys[0]).view(torch.int32)
        assert torch.equal(layer.weight.view(torch.int32), bits), name
    assert encode(trainable, trainable.pith) == read(file)
    assert encode(finalize(trainable, Storage("float32", "float32", "float32")), plain.pith) == read(file)


def test_training_keeps_zeros_and_levels(file: Path, tmp_path: Path) -> None:
    model = load(file, model=Mixed(), trainable=True)
    before, dense = census(model), model.dense.weight.detach().clone()
    start = loss(model)
    train_(model, images(), 20)
    assert loss(model) < start
    for name, (zeros, levels) in census(model).items():
        assert torch.equal(zeros, before[name][0]), name
        assert levels == before[name][1], name
    assert not torch.equal(model.dense.weight, dense)
    save(tmp_path / "again.pith", encode(finalize(model)))
    assert torch.equal(load(tmp_path / "again.pith", model=Mixed())(images()), finalize(model)(images()))


@pytest.mark.parametrize("bits", [2, 4])
def test_a_network_of_the_zoo_trains_on_from_its_file(bits: int, tmp_path: Path) -> None:
    model = trained_like("digits-cnn", width=8)
    prune(model, 0.7)
    share(model, bits)
    path = tmp_path / "digits.pith"
    save(path, encode(finalize(model)))
    plain, trainable = load(path), load(path, trainable=True)
    assert torch.equal(plain(images()), trainable(images()))
    assert encode(trainable, trainable.pith) == read(path)
    before = census(trainable)
    train_(trainable, images(), 20)
    for name, (zeros, levels) in census(trainable).items():
        assert torch.equal(zeros, before[name][0])
        assert levels == before[name][1]
        assert not torch.equal(getattr(trainable, name).weight, getattr(plain, name).weight)
    restored = restore(load(path), trainable.state_dict())
    assert torch.equal(restored.eval()(images()), trainable(images()))


@pytest.mark.parametrize(("levels", "kind"), [(None, Mask), (600, Codebook), (200, Codebook)])
def test_rounding_is_not_taken_for_sharing(levels: int | None, kind: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 256))
    prune(model, 0.6)
    if levels:
        share(model, levels=levels, init="linear")
    final = finalize(model, Storage(codebook="float16", other="float16"))
    path = tmp_path / "x.pith"
    save(path, encode(final))
    loaded = load(path, model=nn.Sequential(nn.Linear(256, 256)), trainable=True)
    assert isinstance(parametrization(loaded[0], kind), kind)
    assert torch.equal(loaded[0].weight, final[0].weight)


def test_ties_stay_ties(tmp_path: Path) -> None:
    model = Tied()
    share(model, 2)
    save(tmp_path / "tied.pith", encode(finalize(model)))
    loaded = load(tmp_path / "tied.pith", model=Tied(), trainable=True)
    assert loaded.out.parametrizations["weight"] is loaded.embed.parametrizations["weight"]
    assert len(list(loaded.parameters())) == 4
    train_(loaded, torch.arange(11), 5)
    assert torch.equal(loaded.out.weight, loaded.embed.weight)
    assert loaded.embed.weight.unique().numel() == 4
    assert finalize(loaded).out.weight.unique().numel() == 4


def test_frozen_parameters_of_the_model_stay_frozen(file: Path) -> None:
    mine = Mixed()
    mine.shared.weight.requires_grad_(False)
    model = load(file, model=mine, trainable=True)
    before = model.shared.weight.clone()
    train_(model, images(), 3)
    assert not model.shared.weight.requires_grad
    assert torch.equal(model.shared.weight, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_cannot_be_trained_is_refused_by_name_and_the_model_kept(bad: float, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight[2, 2] = bad
    save(tmp_path / "bad.pith", encode(model))
    mine = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    kept = mine[0].weight.clone()
    with pytest.raises(ArtifactError, match=r"bad\.pith: 1\.weight holds NaN or inf and cannot be trained"):
        load(tmp_path / "bad.pith", model=mine, trainable=True)
    assert torch.equal(mine[0].weight, kept)
    load(tmp_path / "bad.pith", model=mine)
    assert not torch.equal(mine[0].weight, kept)


def test_a_parametrized_model_is_refused(file: Path) -> None:
    model = load(file, model=Mixed(), trainable=True)
    with pytest.raises(
        ArtifactError, match=r"the model is parametrized \(shared\.weight\), .* build it afresh"
    ):
        load(file, model=model, trainable=True)
