"""ResNet-18 for 32x32 images: the four-stage network of He et al. 2016 (table 1) with a 3x3 stem, no pooling.

Parameter names are those of the public pytorch-cifar checkpoints (conv1, bn1, layerS.B.conv1, ...,
layerS.0.shortcut.0 and .1, linear).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.resnet_cifar import identity_blocks, second_convolutions, strided_stage
from pithnet.zoo.widths import Widths

_BLOCKS = 2


class ResNet18(ZooNetwork):
    """Four stages of two blocks, shortcuts by projection; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        classes: Number of outputs.
        width: Channels of the first stage; each later stage doubles them.
        widths: Channels of each layer, where they are not the usual ones.
    """

    def __init__(self, width: int = 64, classes: int = 10, *, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        first = widths.of(width, "conv1", *second_convolutions("layer1", _BLOCKS))
        self.conv1 = nn.Conv2d(3, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = nn.Sequential(*identity_blocks("layer1", range(_BLOCKS), first, width, widths))
        self.layer2, second = strided_stage("layer2", first, 2 * width, _BLOCKS, "B", widths)
        self.layer3, third = strided_stage("layer3", second, 4 * width, _BLOCKS, "B", widths)
        self.layer4, last = strided_stage("layer4", third, 8 * width, _BLOCKS, "B", widths)
        self.linear = nn.Linear(last, widths.outputs("linear", classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
