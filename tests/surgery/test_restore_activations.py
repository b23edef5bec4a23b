"""Quantized activations, saved whole or as a state, and back: the same numbers, the same training."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.passes import LevelTraining, prune, quantize, share
from pithnet.surgery import LearnedClip, activation_quantizers, chain, restore, weighted_layers

from .dropping import DropPath, Residual, images, residual

X = images()
HOME = Residual.__module__  # where the networks are, as this run imports them


def quantized(clip: str = "observed", bits: int = 4) -> Residual:
    """Pruned, folded, weights and activations quantized."""
    model = residual(DropPath())
    prune(model, 0.5)
    quantize(model, bits, activations=bits, clip=clip, fit="mse", calibrate=X)
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    model.train()
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
    model.eval()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 0.01)


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def restored(model: nn.Module) -> nn.Module:
    """From the state alone, as a checkpoint has it, onto a new network."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return restore(residual(DropPath()), torch.load(file, weights_only=True)).eval()


@pytest.mark.parametrize("back", [saved_and_loaded, restored, copy.deepcopy])
@pytest.mark.parametrize("clip", ["observed", "learned"])
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(
    clip: str, back: Callable[[nn.Module], nn.Module]
) -> None:
    model = quantized(clip)
    first = adam(model)
    train(model, first, 3)
    twin = back(model)
    second = adam(twin)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert isinstance(twin, Residual)
    assert torch.equal(twin(X), model(X))
    zeros = [layer.weight == 0 for _, layer in weighted_layers(model)]
    for each, optimizer in ((model, first), (twin, second)):
        train(each, optimizer, 3)
    assert torch.equal(twin(X), model(X))
    state = model.state_dict()
    assert list(twin.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in twin.state_dict().items())
    for (_, layer), zero in zip(weighted_layers(twin), zeros, strict=True):
        assert not layer.weight[zero].any()
    assert any(isinstance(q, LearnedClip) for q in activation_quantizers(twin).values()) == (
        clip == "learned"
    )


_IN_A_NEW_PROCESS = """
import sys, torch
import pithnet as pn
from HOME import DropPath, images, residual
whole = torch.load(sys.argv[1] + "/model.pt", weights_only=False)
plain = pn.restore(residual(DropPath()), torch.load(sys.argv[1] + "/state.pt", weights_only=True)).eval()
expected = torch.load(sys.argv[1] + "/expected.pt", weights_only=True)
print(torch.equal(whole(images()), expected), torch.equal(plain(images()), expected), whole.training)
torch.manual_seed(0)
print(torch.equal(whole.train()(images()), whole(images())))
"""


def test_a_new_process_gives_the_same_numbers(tmp_path: Path) -> None:
    model = quantized("learned")
    torch.save(model, tmp_path / "model.pt")
    torch.save(model.state_dict(), tmp_path / "state.pt")
    torch.save(model(X).detach(), tmp_path / "expected.pt")
    command = [sys.executable, "-c", _IN_A_NEW_PROCESS.replace("HOME", HOME), str(tmp_path)]
    root = Path(__file__).parents[HOME.count(".")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["True", "True", "False", "False"], done.stderr


def test_a_saved_model_can_be_copied_and_saved_again() -> None:
    model = quantized()
    again = saved_and_loaded(copy.deepcopy(saved_and_loaded(model)))
    assert torch.equal(again(X), model(X))
    shallow = copy.copy(model)
    assert torch.equal(shallow(X), model(X))
    assert shallow.conv1 is model.conv1


COMPRESSED: dict[str, Callable[[nn.Module], object]] = {
    "masks": lambda m: prune(m, 0.5),
    "codebooks": lambda m: share(m, 2),
    "levels": lambda m: LevelTraining(m, 4),
    "weights": lambda m: quantize(m, 3, fit="range"),
}


@pytest.mark.parametrize("how", COMPRESSED)
def test_any_compressed_model_is_saved_whole_and_ties_stay(how: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))
    model[2].weight = model[0].weight
    COMPRESSED[how](model)
    twin, x = saved_and_loaded(model), torch.randn(4, 6)
    assert torch.equal(twin(x), model(x))
    assert twin[2].parametrizations["weight"] is twin[0].parametrizations["weight"]  # type: ignore[index]
    assert [type(p) for p in chain(twin[3])] == [type(p) for p in chain(model[3])]  # type: ignore[index]
    assert list(twin.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        twin[0].parametrizations["weight"].original.mul_(0)  # type: ignore[index,union-attr]
    assert not torch.equal(twin(x), model(x))


def test_a_compressed_lstm_is_saved_whole() -> None:
    torch.manual_seed(0)
    model, x = nn.LSTM(4, 3), torch.randn(5, 2, 4)
    prune(model, 0.5)
    twin = saved_and_loaded(model)
    assert torch.equal(twin(x)[0], model(x)[0])
    with torch.no_grad():
        twin.parametrizations["weight_ih_l0"].original.mul_(0)  # type: ignore[index,union-attr]
    assert not torch.equal(twin(x)[0], model(x)[0])


def test_a_state_comes_back_onto_a_part_and_onto_a_network_that_is_quantized_already() -> None:
    def around(part: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Identity(), part, nn.Linear(3, 2)).eval()

    model = around(quantized())
    twin = restore(around(residual(DropPath())), model.state_dict())
    twin[2].load_state_dict(model[2].state_dict())  # type: ignore[index]
    assert torch.equal(twin(X), model(X))
    other = quantized("learned", bits=8)
    restore(other, quantized().state_dict())
    assert torch.equal(other(X), quantized()(X))
    assert not any(isinstance(q, LearnedClip) for q in activation_quantizers(other).values())


def test_a_traced_network_is_saved_and_restored() -> None:
    def make() -> nn.Module:
        return fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval())

    torch.manual_seed(0)
    model = make()
    quantize(model, activations=8, calibrate=X, bits=8, fit="range")
    assert torch.equal(saved_and_loaded(model)(X), model(X))
    assert torch.equal(restore(make(), model.state_dict())(X), model(X))


class Other(Residual):
    """The same layers in another order."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv2(torch.tanh(self.bn(self.conv1(x)))).amax((2, 3)))
        return out


def test_a_state_of_another_forward_is_refused_and_the_model_as_it_was() -> None:
    state = quantized().state_dict()
    model = Other(DropPath()).eval()
    expected, keys = model(X), list(model.state_dict())
    with pytest.raises(
        ModelError, match=r"Other has no operation \w+, after which activations were quantized"
    ):
        restore(model, state)
    assert list(model.state_dict()) == keys
    assert torch.equal(model(X), expected)
    odd = {k: v + 9 if k.endswith("conv2._extra_state") else v for k, v in state.items()}
    with pytest.raises(ModelError, match="unknown quantizer of the activations at conv2"):
        restore(residual(DropPath()), odd)


def test_a_state_of_other_bits_is_refused_by_torchs_own_loading() -> None:
    with pytest.raises(ModelError, match=r"quantized otherwise; load it with pithnet.restore"):
        quantized(bits=8).load_state_dict(quantized(bits=4).state_dict())


def test_a_float_state_takes_the_quantizers_off_again() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    state, x = copy.deepcopy(model.state_dict()), torch.randn(8, 3)
    expected = model(x)
    quantize(model, 4, activations=4, calibrate=x, fit="range")
    assert torch.equal(restore(model, state)(x), expected)
    assert type(model) is nn.Sequential
