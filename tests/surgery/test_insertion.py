"""Where activation quantizers go, what they do, and that the network stays the user's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pithnet import zoo
from pithnet.errors import ModelError
from pithnet.surgery import (
    ActivationQuantizer,
    LearnedClip,
    activation_quantizers,
    fold_into_layers_,
    insert_activation_quantizers_,
)
from pithnet.tensor.observers import get_observer


def make(place: str) -> ActivationQuantizer:
    return ActivationQuantizer(8, get_observer("min-max"), place)


class Block(nn.Module):
    """A residual block with everything functional, and a padded shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 1, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(x), inplace=True)
        y = F.relu(self.conv2(y) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)), inplace=True)
        y = F.max_pool2d(y, 2)
        return self.head(y.mean((2, 3)).flatten(1))


def settled(model: nn.Module, x: Tensor) -> nn.Module:
    found = insert_activation_quantizers_(model, x[:1], make)
    with torch.no_grad():
        model(x)
    for quantizer in found.values():
        quantizer.settle()
    return model


def test_quantizers_follow_what_makes_new_numbers() -> None:
    model, x = Block().eval(), torch.randn(4, 3, 8, 8)
    found = insert_activation_quantizers_(model, x[:1], make)
    assert list(found) == ["x", "relu", "conv2", "relu_1", "mean"]
    assert activation_quantizers(model) == found
    assert {q.place for q in found.values()} == set(found)


def test_while_observing_nothing_changes_and_after_it_numbers_are_on_the_grid() -> None:
    model, x = Block().eval().requires_grad_(False), torch.randn(8, 3, 8, 8)
    expected = model(x)
    found = insert_activation_quantizers_(model, x[:1], make)
    assert torch.equal(model(x), expected)
    assert isinstance(model, Block)
    for quantizer in found.values():
        quantizer.settle()
    seen: list[Tensor] = []
    model.conv2.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    assert 0 < float((model(x) - expected).abs().max()) < 0.1
    steps = seen[0] / found["relu"].scale
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert seen[0].unique().numel() <= 256
    assert int(found["relu"].zero_point) == 0
    assert 0 < int(found["x"].zero_point) < 255


def test_padding_and_pooling_stay_on_the_grid_of_what_they_move() -> None:
    model, x = Block().eval(), torch.randn(8, 3, 8, 8)
    settled(model, x)
    graph = fx.Tracer().trace(model)
    calls = [str(n.target) for n in graph.nodes if n.op == "call_function"]
    assert sum("fake_quantize" in name for name in calls) == 5 + 4  # slice, padding, pooling, flattening


@pytest.mark.parametrize("name", ["resnet20", "resnet20b", "digits-cnn"])
def test_zoo_networks_take_them_at_every_layer(name: str) -> None:
    model = zoo.build(name).eval()
    fold_into_layers_(model)
    x = torch.rand(2, *zoo.input_shape(name))
    found = insert_activation_quantizers_(model, x, make)
    layers = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert len(found) >= layers + 1
    if name == "resnet20":
        assert len(found) == 1 + 19 + 9 + 1  # the input, convolutions, additions, the mean


def test_a_copy_and_a_state_dict_carry_the_quantizers() -> None:
    model, x = Block().eval(), torch.randn(8, 3, 8, 8)
    settled(model, x)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    twin.conv1.weight.data.zero_()
    assert not torch.equal(twin(x), model(x))
    other = settled(Block().eval(), 2 * x)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_a_traced_network_keeps_them_through_a_copy() -> None:
    model, x = fx.symbolic_trace(Block().eval()), torch.randn(8, 3, 8, 8)
    settled(model, x)
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_gradients_pass_inside_the_range_and_not_beyond() -> None:
    model, x = nn.Sequential(nn.Conv2d(1, 1, 1)), torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    settled(model, x)
    wide = (2 * x).requires_grad_()
    model(wide).sum().backward()
    assert wide.grad is not None
    assert torch.equal(wide.grad != 0, wide.detach().abs() <= 1.01)


def test_a_learned_clip_starts_where_the_observed_one_is() -> None:
    quantizer = make("relu")
    quantizer.observer.observe(torch.linspace(0, 5.1, 100))  # type: ignore[union-attr]
    quantizer.settle()
    clip, x = LearnedClip(quantizer), torch.linspace(-1, 7, 50)
    assert torch.allclose(clip(x), quantizer(x), atol=1e-6)
    assert float(clip.scale) == pytest.approx(0.02)
    clip(x).sum().backward()
    assert float(clip.alpha.grad) == int((x > 5.1).sum())  # type: ignore[arg-type]


def test_constant_and_broken_activations_are_named() -> None:
    quantizer = make("relu_3")
    quantizer(torch.full((2, 3), 0.5))
    with pytest.raises(ModelError, match=r"activations at relu_3 are 0.5 everywhere, for every image"):
        quantizer.settle()
    with pytest.raises(ModelError, match=r"at relu_3: 1 of 2 activations are NaN or inf"):
        quantizer(torch.tensor([1.0, float("nan")]))


def test_twice_is_refused_and_nothing_to_do_is_said() -> None:
    model, x = Block().eval(), torch.randn(2, 3, 8, 8)
    settled(model, x)
    with pytest.raises(ModelError, match="quantized already"):
        insert_activation_quantizers_(model, x, make)


def test_a_network_in_training_mode_is_left_with_its_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4))
    before = copy.deepcopy(model.state_dict())
    insert_activation_quantizers_(model, torch.randn(1, 5), make)  # one image: too few to train with
    assert model.training
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in before.items())


class Dropping(nn.Module):
    """`drop` is called as a function or a module; what it gets besides x is known to the caller."""

    def __init__(self, drop: Callable[[nn.Module, Tensor], Tensor], p: float = 0.5) -> None:
        super().__init__()
        self.layer, self.module, self.drop, self.p = nn.Linear(5, 5), nn.Dropout(p), drop, p

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self, self.layer(x))


DROPOUTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "dropout": lambda m, x: F.dropout(x, m.p, m.training),
    "dropout1d": lambda m, x: F.dropout1d(x, p=m.p, training=m.training),
    "alpha_dropout": lambda m, x: F.alpha_dropout(x, m.p, m.training),
    "dropout of torch": lambda m, x: torch.dropout(x, m.p, m.training),
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_a_dropout_that_training_could_not_turn_on_is_refused(name: str) -> None:
    model, x = Dropping(DROPOUTS[name]), torch.randn(4, 5)
    with pytest.raises(ModelError, match=rf"^{name.split()[0]} would be off .* use nn.Dropout"):
        insert_activation_quantizers_(model, x, make)
    assert not activation_quantizers(model)
    assert type(model) is Dropping


def test_dropouts_that_stay_what_they_are_pass() -> None:
    x = torch.randn(4, 5)
    never = Dropping(DROPOUTS["dropout"], p=0.0)
    assert insert_activation_quantizers_(never, x, make)
    always = Dropping(lambda m, x: F.dropout(x, 0.5, True))
    assert insert_activation_quantizers_(always, x, make)
    module = settled(Dropping(lambda m, x: m.module(x)).eval(), x)
    assert torch.equal(module(x), module(x))
    assert float((module.train()(x.expand(50, 4, 5)) == 0).float().mean()) > 0.3
