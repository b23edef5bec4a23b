"""Architectures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pithnet.errors import ModelError, lookup
from pithnet.zoo.digits_cnn import DigitsCNN
from pithnet.zoo.mobilenetv2 import MobileNetV2
from pithnet.zoo.resnet18 import ResNet18
from pithnet.zoo.resnet_cifar import ResNetCifar
from pithnet.zoo.vgg import Vgg16, VggCifar

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "digits-cnn": DigitsCNN,
    **{f"resnet{d}": partial(ResNetCifar, d, "A") for d in (20, 32, 44, 56, 110)},
    **{f"resnet{d}b": partial(ResNetCifar, d, "B") for d in (20, 32, 44, 56, 110)},
    "resnet18": ResNet18,
    "mobilenetv2": MobileNetV2,
    "vgg16": partial(VggCifar, 16),
    "vgg19": partial(VggCifar, 19),
    "vgg16-imagenet": Vgg16,
}
_INPUT_SHAPES = {"digits-cnn": (1, 8, 8), "vgg16-imagenet": (3, 224, 224)}


def input_shape(name: str) -> tuple[int, int, int]:
    """Returns (channels, height, width) of the images that an architecture of the zoo is made for."""
    return _INPUT_SHAPES.get(name, (3, 32, 32))


def default_classes(name: str) -> int:
    """Returns how many classes an architecture of the zoo tells apart where `build` is not told."""
    default: int = inspect.signature(ARCHITECTURES[name]).parameters["classes"].default
    return default


def build(name: str, **arguments: Any) -> nn.Module:
    """Returns a freshly initialised network of the zoo, in training mode.

    Its attribute `architecture` holds (name, arguments), which a .pith file needs to build it again.

    Args:
        name: the architecture.
        **arguments: arguments of its constructor.

    Raises:
        ModelError: The name is unknown, or the architecture does not take the arguments.
    """
    network = lookup("architecture", name, ARCHITECTURES, ModelError)
    try:
        model = network(**arguments)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ModelError(f"architecture {name!r} does not take these arguments: {arguments} ({e})") from None
    model.architecture = (name, arguments)  # type: ignore[assignment]
    return model
