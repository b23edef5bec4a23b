"""ResNet-18, VGG-16 and VGG-19: published sizes, and the names of public checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet import zoo


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_173_962), ("vgg16", 14_728_266), ("vgg19", 20_040_522)]
)
def test_the_cifar_forms_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    model = zoo.build(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.eval()(torch.randn(2, *zoo.input_shape(name))).shape == (2, 10)


def test_the_imagenet_form_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = zoo.build("vgg16-imagenet")
        answer = model(torch.randn(2, *zoo.input_shape("vgg16-imagenet")))
    assert sum(p.numel() for p in model.parameters()) == 138_357_544
    assert answer.shape == (2, 1000)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    shapes = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(4096, 25_088), (4096, 4096), (1000, 4096)]


def test_resnet18_has_the_names_of_public_checkpoints() -> None:
    state = zoo.build("resnet18", width=4).state_dict()
    for key in (
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer2.0.shortcut.0.weight",
        "layer4.0.shortcut.1.running_mean",
        "layer4.1.bn2.bias",
        "linear.bias",
    ):
        assert key in state
    assert not any(key.startswith("layer1") and "shortcut" in key for key in state)
    assert state["layer4.1.conv2.weight"].shape == (32, 32, 3, 3)


def test_vgg16_has_the_names_of_public_checkpoints() -> None:
    model = zoo.build("vgg16", width=2)
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    places = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
    assert convolutions == [f"features.{i}" for i in places]
    assert {"features.41.num_batches_tracked", "classifier.weight"} <= model.state_dict().keys()


def vgg19_public() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a public checkpoint: convolution, BN and ReLU, and a pooling after each stage."""
    keys: dict[str, tuple[int, ...]] = {}
    place, c_in = 0, 3
    for channels, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            conv, norm = f"features.{place}", f"features.{place + 1}"
            keys |= {f"{conv}.weight": (channels, c_in, 3, 3), f"{conv}.bias": (channels,)}
            keys |= {f"{norm}.{k}": (channels,) for k in ("weight", "bias", "running_mean", "running_var")}
            keys[f"{norm}.num_batches_tracked"] = ()
            place, c_in = place + 3, channels
        place += 1
    return keys | {"classifier.weight": (10, 512), "classifier.bias": (10,)}


def test_a_public_vgg19_checkpoint_loads_with_its_prefix(tmp_path: Path) -> None:
    with torch.device("meta"):
        own = zoo.build("vgg19").state_dict()
    assert {key: tuple(value.shape) for key, value in own.items()} == vgg19_public()
    # One number seen as a whole tensor: 80 MB of weights are not needed to compare names and shapes.
    state = {
        f"module.{k}": torch.full((), i / 99).expand(s) for i, (k, s) in enumerate(vgg19_public().items())
    }
    torch.save({"net": state}, tmp_path / "ckpt.pth")
    model = zoo.load("vgg19", tmp_path / "ckpt.pth")
    assert all(bool((v == state[f"module.{k}"]).all()) for k, v in model.named_parameters())


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "vgg19"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.build(name, width=4, classes=3)
    assert model.architecture == (name, {"width": 4, "classes": 3})
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    for key, p in model.named_parameters():
        # The bias of a convolution before BN changes nothing: its gradient is rounding.
        if not (name.startswith("vgg") and key.endswith("bias")):
            assert p.grad is not None
            assert bool(p.grad.any()), key


def test_input_shapes_are_the_data_sets() -> None:
    assert zoo.input_shape("resnet20") == (3, 32, 32)
    assert zoo.input_shape("digits-cnn") == (1, 8, 8)
