"""Networks with quantized activations in train mode: what is random stays so, or the network is refused."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.passes import quantize
from pithnet.surgery import activation_quantizers

from .dropping import DROPS, DropPath, Residual, images, residual


@pytest.mark.parametrize("kind", DROPS)
def test_what_drops_in_training_goes_on_dropping_and_is_nothing_in_eval_mode(kind: str) -> None:
    model, plain = residual(DROPS[kind]()), residual(nn.Identity())
    x = images()
    for each in (model, plain):
        quantize(each, activations=8, calibrate=x, bits=8, fit="range")
    assert isinstance(model, Residual)
    assert activation_quantizers(model).keys() == activation_quantizers(plain).keys()
    assert torch.equal(model(x), plain(x))
    model.train()
    torch.manual_seed(0)
    random.seed(0)
    answers = [model(x) for _ in range(12)]
    different = [a for a in answers if not torch.equal(a, answers[0])]
    assert different
    different[0].sum().backward()
    assert torch.equal(model.eval()(x), plain(x))


class ActiveNorm(nn.BatchNorm2d):
    """BN with its activation, which moves its statistics in train mode (as timm's BatchNormAct2d)."""

    def forward(self, input: Tensor) -> Tensor:
        moving = self.momentum if self.training else 0.0
        out = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self.training, moving or 0.0
        )
        return F.relu(out)


def test_a_norm_that_looks_at_the_mode_goes_on_learning_its_statistics() -> None:
    torch.manual_seed(0)
    x, model = images(), nn.Sequential(nn.Conv2d(3, 4, 3), ActiveNorm(4), nn.Conv2d(4, 2, 3)).eval()
    expected = model(x).detach()
    record = quantize(model, activations=8, calibrate=x, bits=8, fit="range")
    assert float(((model(x) - expected).norm() / expected.norm()).detach()) < 0.02
    assert "it (ActiveNorm) has a forward of its own" in record.norms_in_float["1"]
    before = model[1].running_mean.clone()  # type: ignore[union-attr,operator]
    model.train()(x)
    assert not torch.equal(model[1].running_mean, before)


class Auxiliary(nn.Module):
    """A second answer in train mode, where it has a second head."""

    def __init__(self, second: bool = True) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.second = nn.Sequential(nn.Linear(4, 2)) if second else None

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        if self.training and self.second is not None:
            return self.head(x), self.second(x)
        return self.head(x)


class Attention(nn.Module):
    """A part with weights, whose dropout is a function that is told the mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.project, self.p = nn.Linear(4, 4), p

    def forward(self, x: Tensor) -> Tensor:
        p = self.p if self.training else 0.0
        return F.scaled_dot_product_attention(self.project(x), x, x, dropout_p=p)


class Jittered(nn.Module):
    """Adds a number in train mode that is drawn while the forward is followed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        level = random.random() if self.training else 0.5
        return self.layer(x) * 2.0 if level < 2.0 else x


class ByShape(nn.Module):
    """Its forward in train mode cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.sum() > 0:
            x = x * 2
        return self.layer(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "an auxiliary output": (Auxiliary, r"^Auxiliary does something else in train mode"),
    "a part with an auxiliary output": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Sequential(Auxiliary())),
        r"^1\.0 \(Auxiliary\) does something else",
    ),
    "dropout in attention": (
        lambda: nn.Sequential(nn.Linear(4, 4), Attention(0.5)),
        r"^1 \(Attention\) does something else in train mode.* move what looks at self.training",
    ),
    "a number drawn": (Jittered, r"^Jittered does something else"),
    "a training that depends on the data": (
        ByShape,
        r"^ByShape does something else.*requires_grad_\(False\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_part_with_weights_that_does_something_else_in_training_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    model, x = make(), torch.randn(8, 3, 4)
    kind, keys, drawn = type(model), list(model.state_dict()), random.getstate()
    with pytest.raises(ModelError, match=message):
        quantize(model, activations=8, calibrate=x, bits=8, fit="range")
    assert (type(model), list(model.state_dict()), random.getstate()) == (kind, keys, drawn)
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("case", REFUSED)
def test_a_frozen_model_is_for_inference_and_quantized(case: str) -> None:
    torch.manual_seed(0)
    model, x = REFUSED[case][0]().requires_grad_(False).eval(), torch.randn(8, 3, 4)
    expected = model(x)
    quantize(model, activations=8, calibrate=x, bits=8, fit="range")
    assert float((model(x) - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("make", [lambda: Auxiliary(second=False), lambda: nn.Sequential(Attention(0.0))])
def test_a_look_at_the_mode_that_changes_nothing_is_no_obstacle(make: Callable[[], nn.Module]) -> None:
    model, x = make(), torch.randn(8, 3, 4)
    quantize(model, activations=8, calibrate=x, bits=8, fit="range")
    assert torch.equal(model.train()(x), model.eval()(x))


def test_a_copy_drops_on_its_own() -> None:
    model, x = residual(DropPath()), images()
    quantize(model, activations=8, calibrate=x, bits=8, fit="range")
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert twin.drop is not model.drop
    twin.drop.p = 1.0 - 1e-9
    twin.train()
    torch.manual_seed(0)
    assert not torch.equal(twin(x), model(x))
    assert not model.training
