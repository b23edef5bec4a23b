"""MobileNetV2 for 32x32 images: the network of Sandler et al. 2018 (table 2) with first strides of 1.

Parameter names are those of the public pytorch-cifar checkpoints (conv1, bn1, layers.N.conv1 to conv3, bn1 to
bn3, layers.N.shortcut.0 and .1, conv2, bn2, linear). As there, the blocks clip by ReLU where the paper has
ReLU6, and a block of stride 1 that changes the number of channels has a shortcut, a projection.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.widths import Widths

# Expansion, channels, blocks, stride of the first block: for a first convolution of 32 channels.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _LAST = 32, 1280


class InvertedResidual(nn.Module):
    """A 1x1 convolution that widens, a 3x3 one per channel, a 1x1 one that narrows, and no ReLU after it.

    Args:
        c_in: Channels that go in.
        inside: Channels of the 3x3 convolution.
        c_out: Channels that come out.
        stride: Of the 3x3 convolution; only a block of stride 1 has a shortcut.
        projects: Whether the shortcut is a 1x1 convolution.
    """

    def __init__(self, c_in: int, inside: int, c_out: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(c_in, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Sequential()
        if projects:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return y + self.shortcut(x) if self.stride == 1 else y


class MobileNetV2(ZooNetwork):
    """17 inverted residuals between two convolutions; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        classes: Number of outputs.
        width: Channels of the first convolution, a multiple of 4; the others keep their ratio to it.
        widths: Channels of each layer, where they are not the usual ones.

    Raises:
        ValueError: The width is not a positive multiple of 4.
    """

    def __init__(self, width: int = _STEM, classes: int = 10, *, widths: Widths | None = None) -> None:
        super().__init__()
        if width % 4 or width <= 0:
            raise ValueError(f"width {width} is not a multiple of 4")
        widths = widths or Widths()
        first = widths.of(width, "conv1")
        self.conv1 = nn.Conv2d(3, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        blocks, narrow = _blocks(first, width, widths)
        self.layers = nn.Sequential(*blocks)
        last = widths.of(_LAST * width // _STEM, "conv2")
        self.conv2 = nn.Conv2d(narrow, last, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, widths.outputs("linear", classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(self.layers(x))), inplace=True)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _blocks(c_in: int, width: int, widths: Widths) -> tuple[list[InvertedResidual], int]:
    """Returns all blocks, and how many channels the last of them gives."""
    blocks: list[InvertedResidual] = []
    usual_in = width
    for expansion, channels, count, stride in _STAGES:
        usual = channels * width // _STEM
        names = [f"layers.{len(blocks) + number}" for number in range(count)]
        projection = [f"{names[0]}.shortcut.0"] if stride == 1 else []
        inside = widths.of(expansion * usual_in, *_inside(names[0]))
        c_out = widths.of(usual, *(f"{name}.conv3" for name in names), *projection)
        blocks.append(InvertedResidual(c_in, inside, c_out, stride, projects=stride == 1))
        for name in names[1:]:
            inside = widths.of(expansion * usual, *_inside(name))
            blocks.append(InvertedResidual(c_out, inside, c_out, 1, projects=False))
        c_in, usual_in = c_out, usual
    return blocks, c_in


def _inside(block: str) -> tuple[str, str]:
    return f"{block}.conv1", f"{block}.conv2"
