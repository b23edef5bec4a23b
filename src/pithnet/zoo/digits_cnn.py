"""A small CNN for the bundled 8x8 digits: the network of the demo and of every quick experiment."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.widths import Widths


class DigitsCNN(ZooNetwork):
    """Three 3x3 convolutions with BN and a linear layer; x: float32 (N, 1, 8, 8) -> logits (N, classes).

    Args:
        width: Channels of the first convolution; the others have twice as many.
        classes: Number of outputs.
        widths: Channels of each layer, where they are not the usual ones.
    """

    def __init__(self, width: int = 32, classes: int = 10, *, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        first, second, third = (
            widths.of(factor * width, f"conv{number}") for number, factor in ((1, 1), (2, 2), (3, 2))
        )
        self.conv1 = nn.Conv2d(1, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        self.linear = nn.Linear(third, widths.outputs("linear", classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        return self.linear(x.mean((2, 3)))
