"""Quantization without labels: images are read once, and what cannot be done is said before a change."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comparisons import assert_below
from comparisons.compression import four_bits_without_labels
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.passes import quantize, quantize_without_labels, reconstruct_blocks, share
from pithnet.surgery import fold_into_layers_

NOISE = torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES = nn.functional.avg_pool2d(NOISE, 3, 1) * 2 + 0.5


class Block(nn.Module):
    """Two convolutions with BN around a shortcut; called with `given` from the network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        out: Tensor = (x + scale * self.second(self.norm(self.first(x)).relu())).relu()
        return out


class Net(nn.Module):
    def __init__(self, call: Callable[[nn.Module, Tensor], Any] = lambda block, x: block(x)) -> None:
        super().__init__()
        self.stem, self.norm, self.call = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), call
        self.block, self.head = Block(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        found = self.call(self.block, self.norm(self.stem(x)).relu())
        out: Tensor = self.head(found.mean((2, 3)))
        return out


def net(call: Callable[[nn.Module, Tensor], Any] = lambda block, x: block(x)) -> Net:
    torch.manual_seed(0)
    model = Net(call)
    for _ in range(30):
        model(IMAGES)
    return model.eval().requires_grad_(False)


class Shuffled:
    """Batches in another order every time."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(self.passes))
        return iter([(part, torch.zeros(len(part))) for part in IMAGES[order].split(50)])


def test_blocks_learn_from_a_loader_that_shuffles_and_from_a_generator() -> None:
    reference, loader = net(), Shuffled()
    found = {}
    for what, calibrate in (("list", list(Shuffled())), ("loader", loader), ("iterator", iter(Shuffled()))):
        model = net()
        quantize_without_labels(model, 4, calibrate, steps=30)
        found[what] = model(IMAGES)
    assert loader.passes == 1
    assert torch.equal(found["list"], found["loader"])
    assert torch.equal(found["list"], found["iterator"])
    assert_below(four_bits_without_labels)
    blocks = net()
    quantize(blocks, 4, fit="mse")
    reconstruct_blocks(blocks, reference, loader, steps=30)
    assert loader.passes == 2


def test_sorted_images_are_still_warned_about() -> None:
    labels = torch.arange(200) % 5
    loader = list(zip(IMAGES.split(40), labels.sort().values.split(40), strict=True))
    with pytest.warns(UserWarning, match="sorted by class"):
        quantize_without_labels(net(), 4, iter(loader), steps=0)


def test_blocks_learn_what_a_reference_in_train_mode_computes_in_eval_mode() -> None:
    models = [net(), net().train()]
    for model in models:
        reference = copy.deepcopy(model)
        quantize(model, 3, fit="mse")
        reconstruct_blocks(model, reference, IMAGES, steps=10)
        assert torch.equal(reference.norm.running_mean, net().norm.running_mean)
    assert models[1].training
    assert torch.equal(models[0](IMAGES), models[1].eval()(IMAGES))


def folded() -> nn.Module:
    model = net()
    fold_into_layers_(model)
    return model


def with_activations() -> nn.Module:
    model = net()
    quantize(model, None, activations=8, calibrate=IMAGES, fit="range")
    return model


def shared() -> nn.Module:
    model = net()
    share(model, 3, skip=["stem", "block.*"])
    return model


def silent() -> nn.Module:
    """The block gives inf, and the network makes numbers of it."""
    model = net()
    model.call = lambda block, x: block(x * torch.inf).nan_to_num(0, 1, 0)
    return model


class Counts(Block):
    """Gives nothing at all."""

    def forward(self, x: Tensor, scale: float = 1.0) -> Any:
        super().forward(x, scale)


def without_tensors() -> nn.Module:
    model = net()
    model.call = lambda block, x: (block(x), x)[1]
    model.block.__class__ = Counts
    return model


class Nowhere(nn.Module):
    """Has a layer and computes without it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x


def nowhere() -> nn.Module:
    return Nowhere()


@pytest.mark.parametrize(
    ("make", "bits", "images", "fault", "message"),
    [
        (net, 0, IMAGES, RecipeError, "no layer is left with levels; give bits from 1 to 8"),
        (net, 9, IMAGES, RecipeError, "not 9"),
        (net, 4, [], DataError, "calibration data is empty"),
        (shared, 4, IMAGES, ModelError, "head is shared and cannot be reconstructed"),
        (with_activations, 4, IMAGES, ModelError, "reconstruct before quantizing activations"),
        (silent, 4, IMAGES, ModelError, r"block \(Block\) gives NaN or inf and cannot"),
        (without_tensors, 4, IMAGES, ModelError, r"block \(Counts\) gives None, no floating-point tensor"),
        (nowhere, 4, IMAGES, ModelError, "reads none of the weights for these images, layer first"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_changes(
    make: Callable[[], nn.Module], bits: int, images: Any, fault: type, message: str
) -> None:
    model = make()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(fault, match=message):
        quantize_without_labels(model, bits, images, steps=5)
    assert model.state_dict().keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_activations, "the activations are quantized already; reconstruct before"),
        (folded, r"differ in their BatchNorm layers \(block.norm\)"),
    ],
)
def test_blocks_are_left_alone_where_one_cannot_learn(make: Callable[[], nn.Module], message: str) -> None:
    model, reference = make(), net()
    quantize(model, 3, fit="mse")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=message):
        reconstruct_blocks(model, reference, IMAGES, steps=5)
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value), key
