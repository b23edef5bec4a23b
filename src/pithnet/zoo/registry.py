"""Architectures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pithnet.errors import ModelError, lookup
from pithnet.zoo.digits_cnn import DigitsCNN
from pithnet.zoo.mobilenetv2 import MobileNetV2
from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.resnet18 import ResNet18
from pithnet.zoo.resnet_cifar import ResNetCifar
from pithnet.zoo.vgg import Vgg16, VggCifar
from pithnet.zoo.widths import Widths

ARCHITECTURES: dict[str, Callable[..., ZooNetwork]] = {
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


def build(
    name: str,
    *,
    widths: Mapping[str, int] | Sequence[int] | None = None,
    scale: float | None = None,
    **arguments: Any,
) -> ZooNetwork:
    """Returns a freshly initialised network of the zoo, in training mode.

    Its attribute `architecture` holds (name, arguments), which a .pith file needs to build it again. Where
    layers have other widths than the usual ones, `widths` among the arguments is a tuple of all numbers.

    Args:
        name: The architecture.
        widths: How many outputs layers have, by their names, for all layers or some; such a table is
            `ShrinkPlan.widths`. Layers that an addition or a depthwise convolution joins have the same
            number, and one of them says it for all. A shortcut by padding puts half of its new channels
            before those that it passes on, unless "layer2.0.shortcut.before" says how many. Instead of a
            table it may be what `architecture` holds.
        scale: The share of the usual outputs of all layers that `widths` does not name, such as 1/8, rounded
            down; no layer has less than 1.
        **arguments: Arguments of its constructor.

    Raises:
        ModelError: The name is unknown, or the architecture does not take the arguments; a width is no whole
            number above 0, is one of a layer that the network does not have, or is another one than that of
            a layer joined to it.
    """
    network = lookup("architecture", name, ARCHITECTURES, ModelError)
    asked = Widths(widths, scale)
    try:
        model = network(**arguments, widths=asked)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ModelError(f"architecture {name!r} does not take these arguments: {arguments} ({e})") from None
    found = asked.finish()
    if found is not None:
        arguments["widths"] = found
    model.architecture = (name, arguments)
    return model
