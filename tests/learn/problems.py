"""A small network and small random image sets for training tests."""

from __future__ import annotations

import torch
from torch import nn

from pithnet import zoo
from pithnet.data import ArrayData, Augmentation, Batches, Normalization

NORMALIZATION = Normalization((0.4,), (0.3,))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build("digits-cnn", width=4)


def images(n: int = 70, labelled: bool = True) -> ArrayData:
    g = torch.Generator().manual_seed(n)
    pixels = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=g)
    return ArrayData(pixels, torch.randint(0, 10, (n,), generator=g) if labelled else None)


def batches(n: int = 70, labelled: bool = True, seed: int = 3) -> Batches:
    return Batches(
        images(n, labelled), 16, NORMALIZATION, augmentation=Augmentation(pad=1), shuffle=True, seed=seed
    )


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two state_dicts are the same to the bit."""
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(torch.equal(x[k], y[k]) for k in x)
