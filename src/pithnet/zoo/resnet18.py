"""ResNet-18 for 32x32 images: the four-stage network of He et al. 2016 (table 1) with a 3x3 stem, no pooling.

Parameter names are those of the public pytorch-cifar checkpoints (conv1, bn1, layerS.B.conv1, ...,
layerS.0.shortcut.0 and .1, linear).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.zoo.resnet_cifar import BasicBlock


class ResNet18(nn.Module):
    """Four stages of two blocks, shortcuts by projection; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        classes: number of outputs.
        width: channels of the first stage; each later stage doubles them.
    """

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(c_in, c_out, stride, "B"), BasicBlock(c_out, c_out, 1, "B"))
