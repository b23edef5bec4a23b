"""Models that torch.compile or DataParallel wrapped, and models in half precision, are taken as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.surgery import unwrapped, weighted_layers

RECIPE = {"steps": [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 3}}]}
Wrap = Callable[[nn.Module], nn.Module]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).eval()


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


def partly_compiled(model: nn.Module) -> nn.Module:
    model[0] = torch.compile(model[0], backend="eager")  # type: ignore[index,operator]
    return model


@pytest.fixture(params=[compiled, partly_compiled, nn.DataParallel], ids=["compiled", "partly", "parallel"])
def wrap(request: pytest.FixtureRequest) -> Wrap:
    chosen: Wrap = request.param
    return chosen


def same(a: nn.Module, b: nn.Module) -> bool:
    one, other = (pn.artifact.plain_state(m) for m in (a, b))
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def test_compress_takes_the_network_inside(wrap: Wrap, tmp_path: Path) -> None:
    result = pn.compress(wrap(network()), recipe=RECIPE, rivals=False)
    expected = pn.compress(network(), recipe=RECIPE, rivals=False)
    assert result.result.data == expected.result.data
    result.save(tmp_path / "model.pith")
    assert same(pn.load(tmp_path / "model.pith", model=network(1)), expected.model)


def test_passes_finalize_and_encode_take_the_network_inside(wrap: Wrap) -> None:
    plain, wrapped = network(), wrap(network())
    for model in (plain, wrapped):
        record = pn.prune(model, 0.5, skip=["4"])
        assert [row.name for row in record.layers] == ["0"]
        pn.quantize(model, 4, skip=["4"], fit="range")
    assert pn.encode(pn.finalize(wrapped)) == pn.encode(pn.finalize(plain))
    assert [name for name, _ in weighted_layers(wrapped)] == ["0", "4"]


def test_a_file_is_loaded_into_the_network_inside(wrap: Wrap, tmp_path: Path) -> None:
    pn.save(network(), tmp_path / "model.pith")
    wrapped = wrap(network(1))
    loaded = pn.load(tmp_path / "model.pith", model=wrapped)
    assert loaded is wrapped
    assert same(wrapped, network())


def test_a_state_of_a_wrapped_model_is_restored(wrap: Wrap) -> None:
    wrapped = wrap(network())
    pn.prune(wrapped, 0.5)
    state = wrapped.state_dict()
    assert any("_orig_mod" in key or key.startswith("module.") for key in state)
    assert same(pn.restore(network(1), state), wrapped)
    assert same(pn.restore(wrap(network(1)), state), wrapped)


def test_what_is_not_wrapped_is_itself() -> None:
    model = nn.Sequential()
    model.add_module("module", nn.Linear(2, 2))
    assert unwrapped(model) is model
    assert unwrapped(nn.DataParallel(compiled(model))) is model


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_are_converted_to_the_models_format(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.arange(p.numel()).view(p.shape) / 4)
    pn.save(model, tmp_path / "model.pith")
    loaded = pn.load(tmp_path / "model.pith", model=nn.Linear(4, 4).to(dtype))
    assert loaded.weight.dtype == dtype
    assert torch.equal(loaded.weight.float(), model.weight)


def test_rounding_to_the_models_format_is_said(tmp_path: Path) -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.weight[0, :3] = 1 / 3
        model.bias.fill_(0.5)
    pn.save(model, tmp_path / "model.pith")
    with pytest.warns(UserWarning, match=r"^3 of 20 numbers were rounded .* weight \(float32 to float16\)"):
        loaded = pn.load(tmp_path / "model.pith", model=nn.Linear(4, 4).half())
    assert torch.equal(loaded.weight, model.weight.half())


def test_numbers_beyond_the_models_format_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.bias[1] = 1e6
    pn.save(model, tmp_path / "model.pith")
    target = nn.Linear(4, 4).half()
    before = target.weight.clone()
    with pytest.raises(pn.ArtifactError, match=r"bias holds 1e\+06, beyond the range .* float16"):
        pn.load(tmp_path / "model.pith", model=target)
    assert torch.equal(target.weight, before)


def test_a_model_of_the_files_format_loads_without_a_word(tmp_path: Path) -> None:
    pn.save(network(), tmp_path / "model.pith")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = pn.load(tmp_path / "model.pith", model=network(1))
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network().parameters(), strict=True))
