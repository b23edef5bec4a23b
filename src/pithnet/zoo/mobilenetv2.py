"""MobileNetV2 for 32x32 images: the network of Sandler et al. 2018 (table 2) with first strides of 1.

Parameter names are those of the public pytorch-cifar checkpoints (conv1, bn1, layers.N.conv1 to conv3, bn1 to
bn3, layers.N.shortcut.0 and .1, conv2, bn2, linear). As there, the blocks clip by ReLU where the paper has
ReLU6, and a block of stride 1 that changes the number of channels has a shortcut, a projection.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

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
    """A 1x1 convolution that widens, a 3x3 one per channel, a 1x1 one that narrows, and no ReLU after it."""

    def __init__(self, c_in: int, c_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = expansion * c_in
        self.stride = stride
        self.conv1 = nn.Conv2d(c_in, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Sequential()
        if stride == 1 and c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return y + self.shortcut(x) if self.stride == 1 else y


class MobileNetV2(nn.Module):
    """17 inverted residuals between two convolutions; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        classes: number of outputs.
        width: channels of the first convolution, a multiple of 4; the others keep their ratio to it.

    Raises:
        ValueError: The width is not a positive multiple of 4.
    """

    def __init__(self, width: int = _STEM, classes: int = 10) -> None:
        super().__init__()
        if width % 4 or width <= 0:
            raise ValueError(f"width {width} is not a multiple of 4")
        last = _LAST * width // _STEM
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(*_blocks(width))
        self.conv2 = nn.Conv2d(_STAGES[-1][1] * width // _STEM, last, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(self.layers(x))), inplace=True)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _blocks(width: int) -> list[InvertedResidual]:
    blocks, c_in = [], width
    for expansion, channels, count, stride in _STAGES:
        c_out = channels * width // _STEM
        for number in range(count):
            blocks.append(InvertedResidual(c_in, c_out, expansion, 1 if number else stride))
            c_in = c_out
    return blocks
