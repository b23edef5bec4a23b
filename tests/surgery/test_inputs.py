"""Networks of several inputs and of arguments with defaults, wherever a forward is followed."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.passes import quantize
from pithnet.passes.ptq.equalize import equalize
from pithnet.surgery import activation_quantizers, fold_into_layers_, relu_zeros, restore
from pithnet.surgery.graph.inputs import one_sample
from pithnet.surgery.graph.tracing import traced


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Pair(nn.Module):
    """An image and numbers; a mask may be given, and a flag doubles the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(
        self, image: Tensor, numbers: Tensor, mask: Tensor | None = None, *, twice: bool = False
    ) -> Tensor:
        x = F.relu(self.bn(self.conv(image))).mean((2, 3))
        if mask is not None:
            x = x * mask
        x = x + self.second(F.relu(self.first(numbers)))
        return self.head(x) * 2 if twice else self.head(x)


IMAGES, NUMBERS, MASK = normal(64, 2, 6, 6), normal(64, 5, seed=1), normal(64, 4, seed=2).sigmoid()


def pair() -> nn.Module:
    torch.manual_seed(0)
    model = Pair()
    model.bn.running_mean += normal(4) / 4
    model.bn.running_var += normal(4, seed=3).square()
    return model.eval()


def near(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).detach().norm() / expected.detach().norm()) < 0.05


@pytest.mark.parametrize(
    "calibrate",
    [
        [((IMAGES, NUMBERS), None)],
        {"image": IMAGES, "numbers": NUMBERS},
        [{"numbers": NUMBERS, "image": IMAGES}],
    ],
    ids=["tuple", "tensors by name", "batches by name"],
)
def test_activations_of_two_inputs_are_quantized(calibrate: object) -> None:
    model = pair()
    expected = model(IMAGES, NUMBERS)
    record = quantize(model, activations=8, calibrate=calibrate, bits=8, fit="range")
    assert record.norms_in_float == {}
    assert isinstance(model.bn, nn.Identity)
    places = activation_quantizers(model)
    assert list(places) == ["image", "numbers", "relu", "mean", "relu_1", "second", "add"]
    assert int(places["image"].zero_point) > 0 == int(places["relu"].zero_point)
    found = model(IMAGES, NUMBERS)
    assert near(found, expected)
    assert torch.equal(model(numbers=NUMBERS, image=IMAGES), found)
    assert torch.equal(restore(pair(), model.state_dict())(IMAGES, NUMBERS), found)
    assert list(model.state_dict()) == list(copy.deepcopy(model).state_dict())


def test_an_argument_with_a_default_that_is_given_is_followed_and_kept() -> None:
    model = pair()
    expected = model(IMAGES, NUMBERS, MASK, twice=True)
    batch = {"image": IMAGES, "numbers": NUMBERS, "mask": MASK, "twice": True}
    quantize(model, activations=8, calibrate=[batch], bits=8, fit="range")
    assert {"mask", "mul", "mul_1"} <= activation_quantizers(model).keys()
    found = model(IMAGES, NUMBERS, MASK, twice=True)
    assert near(found, expected)
    assert not near(found, pair()(IMAGES, NUMBERS, twice=True))
    assert torch.equal(model(**batch), model(IMAGES, NUMBERS, MASK))
    with pytest.raises(ModelError, match=r"followed with twice=True, .* cannot be called with twice=False"):
        model(IMAGES, NUMBERS, MASK, twice=False)
    assert torch.equal(restore(pair(), model.state_dict())(IMAGES, NUMBERS, MASK), found)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(IMAGES, NUMBERS, MASK), found)
    other = pair()
    quantize(
        other,
        activations=8,
        calibrate=[{"image": IMAGES, "numbers": NUMBERS, "mask": MASK, "twice": False}],
        bits=8,
        fit="range",
    )
    with pytest.raises(ModelError, match="quantized with other arguments; load it with"):
        other.load_state_dict(model.state_dict(), strict=False)


@pytest.mark.parametrize("example", [None, (IMAGES[:2], NUMBERS[:2])], ids=["random inputs", "an example"])
def test_batch_norm_of_two_inputs_is_folded(example: object) -> None:
    model = pair()
    expected = model(IMAGES, NUMBERS)
    assert fold_into_layers_(model, example).folded == ("bn",)
    assert torch.allclose(model(IMAGES, NUMBERS), expected, atol=1e-5)


def test_layers_of_two_inputs_are_equalized() -> None:
    model = pair()
    expected = model(IMAGES, NUMBERS)
    model.first.weight.data[0] *= 100
    model.first.bias.data[0] *= 100
    model.second.weight.data[:, 0] /= 100
    assert equalize(model) == 1
    assert torch.allclose(model(IMAGES, NUMBERS), expected, atol=1e-5)
    ranges = model.first.weight.abs().amax(1) / model.second.weight.abs().amax(0)
    assert torch.allclose(ranges, torch.ones(6), atol=1e-2)


def test_a_leaky_relu_between_layers_lets_a_factor_pass() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv1d(4, 2, 1))
    x = normal(2, 3, 7)
    expected = model(x)
    assert equalize(model) == 1
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_zeros_of_two_inputs_are_counted() -> None:
    found = relu_zeros(pair(), [(IMAGES[:32], NUMBERS[:32]), {"image": IMAGES[32:], "numbers": NUMBERS[32:]}])
    expected = float((pair().first(NUMBERS) <= 0).double().mean())
    assert found["first"] == pytest.approx(expected)
    assert list(found) == ["conv", "first"]


class Pieces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 6), nn.Linear(3, 2)

    def forward(self, *inputs: Tensor) -> Tensor:
        low, high = self.layer(inputs[0] + inputs[1]).chunk(2, -1)
        return self.head(low * high)


def test_parts_of_a_split_and_inputs_without_names_are_quantized() -> None:
    torch.manual_seed(0)
    model, x, y = Pieces(), normal(40, 4), normal(40, 4, seed=1)
    expected = model(x, y)
    quantize(model, activations=8, calibrate=[((x, y), None)], bits=8, fit="range")
    assert list(activation_quantizers(model)) == ["inputs_0", "inputs_1", "add", "layer", "mul"]
    assert near(model(x, y), expected)


class ByShapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.shape[0] > 1 else x


def test_what_needs_a_forward_of_modules_refuses_by_name_what_only_an_export_follows() -> None:
    model = ByShapes()
    with pytest.raises(ModelError, match=r"follows the forward of ByShapes.*out of forward"):
        quantize(model, activations=8, calibrate=normal(8, 4), bits=8, fit="range")
    assert type(model) is ByShapes
    assert not activation_quantizers(model)


def test_an_example_that_does_not_fit_is_refused_with_what_forward_takes() -> None:
    with pytest.raises(
        ModelError, match=r"forward of Pair takes \(image.*missing a required argument: 'numbers'"
    ):
        traced(pair(), "a test", IMAGES)
    with pytest.raises(ModelError, match="unexpected keyword argument 'picture'"):
        traced(pair(), "a test", {"picture": IMAGES, "numbers": NUMBERS, "image": IMAGES})


def test_one_sample_of_a_batch_leaves_tables_and_numbers_whole() -> None:
    table = normal(7, 2)
    found = one_sample(
        {"x": normal(4, 3), "table": table, "parts": [normal(4), 2.5], "scale": torch.tensor(3.0)}
    )
    assert torch.equal(found["x"], normal(4, 3)[:1])
    assert found["table"] is table
    assert torch.equal(found["parts"][0], normal(4)[:1])
    assert found["parts"][1] == 2.5
    assert found["scale"].shape == ()
    assert one_sample("no tensor") == "no tensor"
