"""Labelled batches as pairs of tensors."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from pithnet.data import Batches


def all_batches(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images, labels) of every batch, in order."""
    for x, y, *_ in batches:
        assert x is not None
        assert y is not None
        yield x, y


def first_batch(batches: Batches) -> tuple[Tensor, Tensor]:
    """Returns the images and labels of the first batch."""
    return next(all_batches(batches))
