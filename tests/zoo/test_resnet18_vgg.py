"""ResNet-18 and VGG-16: published sizes, and the names of public checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pithnet import zoo


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_173_962), ("vgg16", 14_728_266)])
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


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.build(name, width=4, classes=3)
    assert model.architecture == (name, {"width": 4, "classes": 3})
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    for key, p in model.named_parameters():
        # The bias of a convolution before BN changes nothing: its gradient is rounding.
        if not (name == "vgg16" and key.endswith("bias")):
            assert p.grad is not None
            assert bool(p.grad.any()), key


def test_input_shapes_are_the_data_sets() -> None:
    assert zoo.input_shape("resnet20") == (3, 32, 32)
    assert zoo.input_shape("digits-cnn") == (1, 8, 8)
