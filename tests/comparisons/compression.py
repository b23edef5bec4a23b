"""What whole compressions lose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pithnet as pn
from comparisons import Value, comparison
from comparisons.networks import images, residual_net
from pithnet.passes import quantize_without_labels


def digits_cnn(train: Any) -> nn.Module:
    """The demo's network, trained for a few seconds."""
    torch.manual_seed(0)
    model = pn.zoo.build("digits-cnn", width=16)
    training = pn.learn.Training(8, lr=0.1, warmup=0.1)
    for _ in pn.learn.Trainer(model, train, training).run():
        pass
    return model


def digits() -> tuple[Tensor, Tensor]:
    """Training images of the digits, normalized, and their labels."""
    data = pn.data.load("digits", None, "train")
    assert data.labels is not None
    batches = pn.data.Batches(data, 64, pn.data.NORMALIZATIONS["digits"])
    return torch.cat([x for x, _ in batches]), data.labels  # type: ignore[misc]


@comparison
def digits_without_labels(seed: int) -> Iterator[Value]:
    """80 % zeros and 4 bits, taught by the network itself: a single seed may lose a point or none.

    Points are of 500 test images: two thirds of one in the mean of seeds, with a spread of a quarter.
    """
    content = {
        "name": "digits",
        "steps": [
            {"prune": {"sparsity": 0.8, "ramp": 0.5}, "train": {"epochs": 8, "lr": 0.1}},
            {"share": {"bits": 4}, "train": {"epochs": 2, "lr": 0.02}},
        ],
    }
    pixels, labels = digits()
    model = digits_cnn(DataLoader(TensorDataset(pixels, labels), 64, shuffle=True, drop_last=True))
    unlabelled = DataLoader(TensorDataset(pixels), 64, shuffle=True, drop_last=True)
    test = pn.data.load("digits", None, "test")
    val = pn.data.Batches(test, 100, pn.data.NORMALIZATIONS["digits"])
    result = pn.compress(model, unlabelled, val, pn.recipe.parse(content, "digits"), seed=seed)
    assert result.before is not None
    yield Value("points lost", -result.results["difference"]["points"], 1.5)
    yield Value("wrong before", 1 - result.before.mean, 0.04)
    yield Value("15 over the ratio", 15 / result.ratio, 1)


@comparison
def four_bits_without_labels(seed: int) -> Iterator[Value]:
    """Relative to the variance of the answers."""
    seen, fresh = images(seed)
    reference, model = residual_net(seed), residual_net(seed)
    quantize_without_labels(model, 4, seen, steps=30)
    wanted = reference(fresh)
    yield Value("error", float((model(fresh) - wanted).square().mean() / wanted.var()), 0.05)
