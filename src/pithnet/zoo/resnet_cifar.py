"""ResNets for 32x32 images (He et al. 2016, section 4.2): 6n+2 layers, widths 16-32-64.

Shortcut A (parameter-free: every second pixel, new channels zero) is the paper's and the public checkpoints'
form; shortcut B projects by a 1x1 convolution with BN. Parameter names are those of the public checkpoints
(conv1, bn1, layerS.B.conv1, ..., linear; B adds layerS.0.shortcut.0 and .1).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Shortcut A: (N, C, H, W) -> (N, before + C + after, ceil(H/2), ceil(W/2)); new channels are zero.

    Args:
        pad: new channels on each side. Of a network without some of its channels each side has its own.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.before = self.after = pad

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BN around a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            if shortcut == "A":
                self.shortcut = PadShortcut((c_out - c_in) // 2)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
                )

    def forward(self, x: Tensor) -> Tensor:
        # In place: nothing else needs what goes in, and memory traffic is a third of a training step.
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNetCifar(nn.Module):
    """A ResNet of 6n + 2 layers; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        depth: number of layers, 6n + 2.
        shortcut: "A" without parameters, "B" by projection.
        classes: number of outputs.
    """

    def __init__(self, depth: int, shortcut: str = "A", classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1, shortcut)
        self.layer2 = self._stage(16, 32, blocks, 2, shortcut)
        self.layer3 = self._stage(32, 64, blocks, 2, shortcut)
        self.linear = nn.Linear(64, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(m.weight)

    @staticmethod
    def _stage(c_in: int, c_out: int, blocks: int, stride: int, shortcut: str) -> nn.Sequential:
        first = BasicBlock(c_in, c_out, stride, shortcut)
        return nn.Sequential(first, *(BasicBlock(c_out, c_out, 1, shortcut) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))
