"""Networks whose layers or BatchNorms are not torch's: quantized as without folding, and each BN named."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from pithnet.errors import ModelError
from pithnet.passes import correct_biases, equalize, quantize
from pithnet.surgery import Folding, finalize

IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ALLOWED = 0.02


class StandardisedConv(nn.Conv2d):
    """A convolution that standardises its weight in every forward pass (Qiao et al. 2019)."""

    def forward(self, input: Tensor) -> Tensor:
        rows = self.weight.flatten(1)
        rows = (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-5)
        return F.conv2d(input, rows.view_as(self.weight), self.bias, self.stride, self.padding)


class LoraConv(nn.Conv2d):
    """A convolution with a low-rank branch beside it (Hu et al. 2022)."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size)
        self.down, self.up = nn.Conv2d(inputs, 2, size, bias=False), nn.Conv2d(2, outputs, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + self.up(self.down(input))


class ActiveConv(nn.Conv2d):
    """A convolution with the activation inside, where torch's other classes look for it."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.silu(super()._conv_forward(input, weight, bias))


class GainNorm(nn.BatchNorm2d):
    """BN whose gain is 1 + weight, as where weight decay should pull the gain to 1."""

    def forward(self, input: Tensor) -> Tensor:
        gain = 1 + self.weight
        return F.batch_norm(input, self.running_mean, self.running_var, gain, self.bias, False, 0.0, self.eps)


def _hooked(model: nn.Module, place: int, before: bool = False) -> nn.Module:
    """The model with a hook on one layer that halves what comes in or goes out."""
    if before:
        model[place].register_forward_pre_hook(lambda m, inputs: (inputs[0] / 2,))  # type: ignore[index]
    else:
        model[place].register_forward_hook(lambda m, inputs, y: y / 2)  # type: ignore[index]
    return model


def _patched(model: nn.Module) -> nn.Module:
    """The model with a forward set on one convolution itself, as wrappers do."""
    conv = model[0]  # type: ignore[index]
    conv.forward = lambda x: F.relu(F.conv2d(x, conv.weight, conv.bias))
    return model


def _net(conv: nn.Module | None = None, norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        conv or nn.Conv2d(3, 8, 3), norm or nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)
    )


def _lively(model: nn.Module) -> nn.Module:
    """In eval mode, with the statistics of some data, and a scale and shift that are none of the first."""
    norm = model[1]  # type: ignore[index]
    with torch.no_grad():
        seen = model[0](IMAGES) + torch.arange(8.0).view(-1, 1, 1)  # type: ignore[index]
        norm.running_mean.copy_(seen.mean((0, 2, 3)))
        norm.running_var.copy_(seen.var((0, 2, 3)))
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
    return model.eval()


# The network, and what the record says about its BN.
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "standardised weight": (
        lambda: _net(StandardisedConv(3, 8, 3)),
        "0 (StandardisedConv) has a forward of its own",
    ),
    "low-rank branch": (lambda: _net(LoraConv(3, 8, 3)), "0 (LoraConv) has a forward of its own"),
    "activation inside": (lambda: _net(ActiveConv(3, 8, 3)), "0 (ActiveConv) has a _conv_forward of its own"),
    "hook on the layer": (lambda: _hooked(_net(), 0), "0 (Conv2d) has a hook"),
    "pre-hook on BN": (lambda: _hooked(_net(), 1, before=True), "it (BatchNorm2d) has a hook"),
    "forward of an instance": (lambda: _patched(_net()), "0 (Conv2d) has a forward of its own"),
    "hook between": (lambda: _hooked(_net(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Identity())), 0), "alone"),
}


def _error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())


def _unfolded(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A copy, quantized without folding."""
    found = copy.deepcopy(model)
    with monkeypatch.context() as patch:
        home = import_module("pithnet.passes.quantize")  # the package has a function of that name
        patch.setattr(home, "fold_into_layers_", lambda *_: Folding((), {}))
        quantize(found, activations=8, calibrate=IMAGES, bits=8, fit="range")
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_layer_that_is_not_torchs_keeps_its_bn_in_float(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, why = CASES[case]
    model = _lively(make())
    expected = _unfolded(model, monkeypatch)
    record = quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")
    assert _error(model(IMAGES), expected(IMAGES)) < ALLOWED
    assert list(record.norms_in_float) == ["1"]
    assert why in record.norms_in_float["1"]
    assert f"1 stays in float: {record.norms_in_float['1']}" in str(record)


def test_a_norm_with_a_gain_of_its_own_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _lively(_net(norm=GainNorm(8)))
    expected = _unfolded(model, monkeypatch)
    quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")
    assert _error(model(IMAGES), expected(IMAGES)) < ALLOWED


def test_torchs_own_layers_are_folded_and_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _lively(_net())
    expected = _unfolded(model, monkeypatch)
    record = quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")
    assert _error(model(IMAGES), expected(IMAGES)) < ALLOWED
    assert record.norms_in_float == {}
    assert isinstance(model[1], nn.Identity)


@contextmanager
def _global_hook() -> Iterator[None]:
    handle = register_module_forward_hook(lambda m, x, y: y / 2 if isinstance(m, nn.Conv2d) else None)
    try:
        yield
    finally:
        handle.remove()


def test_nothing_is_folded_under_a_global_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _lively(_net())
    with _global_hook():
        expected = _unfolded(model, monkeypatch)
        record = quantize(model, activations=8, calibrate=IMAGES, bits=8, fit="range")
        assert _error(model(IMAGES), expected(IMAGES)) < ALLOWED
    assert "global hook" in record.norms_in_float["1"]


class TwoNorms(nn.Module):
    """One BN that is folded, and one after an addition, which is not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.bn2, self.conv2 = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.bn2(self.bn1(self.conv1(x)) + x))
        return out


def test_biases_are_corrected_beside_a_reference_folded_at_the_same_places() -> None:
    torch.manual_seed(0)
    model = TwoNorms()
    for _ in range(20):
        model(IMAGES + 1)
    reference = copy.deepcopy(model.eval())
    expected = reference(IMAGES).detach()
    record = quantize(model, 8, activations=8, calibrate=IMAGES, fit="range")
    assert list(record.norms_in_float) == ["bn2"]
    correct_biases(model, reference, IMAGES)
    assert _error(model(IMAGES), expected) < ALLOWED
    reference.conv1.register_forward_hook(lambda m, x, y: None)
    with pytest.raises(ModelError, match=r"BatchNorm bn1 .* cannot be folded: conv1 \(Conv2d\) has a hook"):
        correct_biases(model, reference, IMAGES)


def test_channels_are_equalized_only_between_layers_of_torchs() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)]
    model, x = nn.Sequential(*layers), torch.randn(8, 6)
    model[2].register_forward_hook(lambda m, inputs, y: y.sin())
    expected = model(x).detach()
    with pytest.raises(ModelError, match="no two layers"):
        equalize(model)
    model.append(nn.Linear(2, 3))
    expected = model(x).detach()
    assert equalize(model) == 1
    assert _error(model(x), expected) < 1e-5


def test_finalize_leaves_a_norm_with_a_gain_of_its_own() -> None:
    model = _lively(_net(norm=GainNorm(8)))
    final = finalize(model)
    assert _error(final(IMAGES), model(IMAGES)) < 2e-3  # what float16 rounds
    assert torch.equal(final[1].running_mean, model[1].running_mean)
