"""VGG-16 and VGG-19 (Simonyan & Zisserman 2015, configurations D and E), as `features` and `classifier`.

`VggCifar` has BN and one linear layer, with the names of the public pytorch-cifar checkpoints; `Vgg16` is
the paper's network for 224x224 images, with the names of the public ImageNet checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.widths import Widths

# Channels of each 3x3 convolution as multiples of the first one's; 0 halves the image by max pooling.
_LAYERS = {
    16: (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0),
    19: (1, 1, 0, 2, 2, 0, 4, 4, 4, 4, 0, 8, 8, 8, 8, 0, 8, 8, 8, 8, 0),
}


class VggCifar(ZooNetwork):
    """depth - 3 convolutions with BN and one linear layer; x: float32 (N, 3, 32, 32) -> logits (N, classes).

    Args:
        depth: 16 or 19, as the paper counts, whose network has three linear layers.
        classes: Number of outputs.
        width: Channels of the first convolution; the others keep their ratio to it.
        widths: Channels of each layer, where they are not the usual ones.
    """

    def __init__(
        self, depth: int, width: int = 64, classes: int = 10, *, widths: Widths | None = None
    ) -> None:
        super().__init__()
        widths = widths or Widths()
        self.features, last = _features(_LAYERS[depth], width, widths, norm=True)
        self.classifier = nn.Linear(last, widths.outputs("classifier", classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Vgg16(ZooNetwork):
    """13 convolutions and three linear layers; x: float32 (N, 3, 224, 224) -> logits (N, classes).

    Args:
        classes: Number of outputs.
        width: Channels of the first convolution; the others keep their ratio to it.
        hidden: Neurons of the two hidden linear layers.
        widths: Channels of each layer, where they are not the usual ones.
    """

    def __init__(
        self, width: int = 64, hidden: int = 4096, classes: int = 1000, *, widths: Widths | None = None
    ) -> None:
        super().__init__()
        widths = widths or Widths()
        self.features, last = _features(_LAYERS[16], width, widths, norm=False)
        first, second = (widths.of(hidden, f"classifier.{place}") for place in (0, 3))
        self.classifier = nn.Sequential(
            nn.Linear(last * 7 * 7, first),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(first, second),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(second, widths.outputs("classifier.6", classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def _features(factors: tuple[int, ...], width: int, widths: Widths, norm: bool) -> tuple[nn.Sequential, int]:
    """Returns the convolutions, and the channels that the last of them gives."""
    layers: list[nn.Module] = []
    c_in = 3
    for factor in factors:
        if factor:
            c_out = widths.of(factor * width, f"features.{len(layers)}")
            layers.append(nn.Conv2d(c_in, c_out, 3, padding=1))
            layers += [nn.BatchNorm2d(c_out)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            c_in = c_out
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers), c_in
