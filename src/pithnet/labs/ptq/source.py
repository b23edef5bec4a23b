"""What the source of `lab ptq` publishes: CIFAR-10, VGG-16 in its form for ImageNet, PyTorch's own int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pithnet.labs.notebook import Row

FLOAT, STATIC, DYNAMIC = "float32", "static int8", "dynamic int8"


class Published(NamedTuple):
    """What the source says of a file: MiB, accuracy from 0 to 1, CPU time as a share of float32's."""

    mib: float
    accuracy: float
    time: float


VGG: Mapping[str, Published] = {
    FLOAT: Published(527.81, 0.9122, 1.0),
    STATIC: Published(132.01, 0.9099, 0.436),
    DYNAMIC: Published(174.09, 0.9125, 0.75),
}
RESNET: Mapping[str, Published] = {
    FLOAT: Published(42.73, 0.9415, 1.0),
    STATIC: Published(10.79, 0.9394, 0.346),
    DYNAMIC: Published(42.76, 0.9463, 0.715),
}
# Accuracy from 0 to 1 by the share of weights pruned, the smallest of each layer.
PRUNED: Mapping[str, Mapping[float, float]] = {
    "vgg16": {0.0: 0.9087, 0.1: 0.909, 0.3: 0.9066, 0.5: 0.9022, 0.7: 0.8551, 0.9: 0.1},
    "resnet18": {0.0: 0.9412, 0.1: 0.9419, 0.3: 0.9403, 0.5: 0.93, 0.7: 0.8265, 0.9: 0.0996},
}
# Points lost: as its text has them, and as its tables do, in the same order.
LOSSES_IN_TEXT, LOSSES_IN_TABLES = (0.25, 1.10), (0.65, 0.23)


def published_columns(architecture: str, kind: str) -> Row:
    """Returns the source's numbers beside ours; {} for a network it does not have.

    Sizes are there only where the network is the source's, and accuracy and time not for random weights.
    """
    if architecture == "vgg16-imagenet":
        return {"source_mib": VGG[kind].mib}
    if architecture not in ("vgg16", "resnet18"):
        return {}
    found = VGG[kind] if architecture == "vgg16" else RESNET[kind]
    row = {"source_accuracy": found.accuracy, "source_time": found.time}
    return row | ({"source_mib": found.mib} if architecture == "resnet18" else {})
