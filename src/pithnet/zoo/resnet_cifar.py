"""ResNets for 32x32 images (He et al. 2016, section 4.2): 6n+2 layers, widths 16-32-64.

Shortcut A (parameter-free: every second pixel, new channels zero) is the paper's and the public checkpoints'
form; shortcut B projects by a 1x1 convolution with BN. Parameter names are those of the public checkpoints
(conv1, bn1, layerS.B.conv1, ..., linear; B adds layerS.0.shortcut.0 and .1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.zoo.network import PadShortcut, ZooNetwork
from pithnet.zoo.widths import Widths

_STEM = 16


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BN around a shortcut.

    Args:
        c_in: Channels that go in.
        inside: Channels between the convolutions.
        c_out: Channels that come out.
        stride: Of the first convolution.
        shortcut: Makes what is added to the second one's output; without one it is what goes in.
    """

    def __init__(
        self,
        c_in: int,
        inside: int,
        c_out: int,
        stride: int = 1,
        shortcut: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, inside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = shortcut()

    def forward(self, x: Tensor) -> Tensor:
        # In place: nothing else needs what goes in, and memory traffic is a third of a training step.
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNetCifar(ZooNetwork):
    """A ResNet of 6n + 2 layers; x: float32 (N, 3, H, W) -> logits (N, classes).

    Args:
        depth: Number of layers, 6n + 2.
        shortcut: "A" without parameters, "B" by projection.
        classes: Number of outputs.
        widths: Channels of each layer, where they are not the usual ones.
    """

    def __init__(
        self, depth: int, shortcut: str = "A", classes: int = 10, *, widths: Widths | None = None
    ) -> None:
        super().__init__()
        widths, blocks = widths or Widths(), (depth - 2) // 6
        first = widths.of(_STEM, "conv1", *second_convolutions("layer1", blocks))
        self.conv1 = nn.Conv2d(3, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = nn.Sequential(*identity_blocks("layer1", range(blocks), first, _STEM, widths))
        self.layer2, middle = strided_stage("layer2", first, 2 * _STEM, blocks, shortcut, widths)
        self.layer3, last = strided_stage("layer3", middle, 4 * _STEM, blocks, shortcut, widths)
        self.linear = nn.Linear(last, widths.outputs("linear", classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def second_convolutions(stage: str, blocks: int) -> list[str]:
    """Returns the names of the convolutions whose outputs the shortcuts of a stage add up."""
    return [f"{stage}.{number}.conv2" for number in range(blocks)]


def identity_blocks(
    stage: str, numbers: Iterable[int], width: int, usual: int, widths: Widths
) -> list[BasicBlock]:
    """Returns blocks of a stage that add what goes in to what they make of it.

    Args:
        stage: The stage's name in the network.
        numbers: The blocks' places in it.
        width: Channels that go in and come out.
        usual: Channels inside of blocks where nothing else is said.
        widths: Channels of the layers inside.
    """
    names = [f"{stage}.{number}.conv1" for number in numbers]
    return [BasicBlock(width, widths.of(usual, name), width) for name in names]


def strided_stage(
    stage: str, c_in: int, usual: int, blocks: int, shortcut: str, widths: Widths
) -> tuple[nn.Sequential, int]:
    """Returns blocks of which the first halves the image, and how many channels they give.

    Args:
        stage: Its name in the network.
        c_in: Channels that go in.
        usual: Channels inside of blocks, and that come out, where nothing else is said; half as many usually
            go in.
        blocks: How many there are.
        shortcut: "A" without parameters, "B" by projection.
        widths: Channels of the layers.
    """
    name = f"{stage}.0"
    inside = widths.of(usual, f"{name}.conv1")
    projection = [f"{name}.shortcut.0"] if shortcut == "B" else []
    c_out = widths.of(usual, *second_convolutions(stage, blocks), *projection)
    around: Callable[[], nn.Module] = partial(_projection, c_in, c_out)
    if shortcut == "A":
        new = c_out - c_in
        before = widths.zeros_before(f"{name}.shortcut", new, usual // 4)
        around = partial(PadShortcut, before, new - before)
    first = BasicBlock(c_in, inside, c_out, 2, around)
    return nn.Sequential(first, *identity_blocks(stage, range(1, blocks), c_out, usual, widths)), c_out


def _projection(c_in: int, c_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, 2, bias=False), nn.BatchNorm2d(c_out))
