"""Batches from an in-memory image set: whole batches cropped, flipped and normalised at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pithnet.data.arrays import ArrayData, Normalization
from pithnet.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """A random crop after reflection padding, and a horizontal flip with probability 1/2.

    Args:
        pad: Pixels on each side.
        flip: Whether images are flipped.
    """

    pad: int = 4
    flip: bool = True


def _generator(*seeds: int) -> torch.Generator:
    mixed = 0
    for s in seeds:
        mixed = (mixed * 1_000_003 + s + 1) % (2**63 - 1)
    return torch.Generator().manual_seed(mixed)


class Batches:
    """The batches (x, y) or (x, y, soft) of one epoch per iteration.

    x is normalised float32 (B, C, H, W) in channels_last memory; y is int64 (B,), or None where the set has
    no labels. The order is a function of (seed, epoch) alone, so a stopped run continues with the epoch
    number and nothing else. With `views` = V, image i in epoch e is cropped and flipped as in every epoch
    with the same e mod V: there are V fixed views of each image, for which a teacher's logits can be computed
    once.

    Args:
        data: The images.
        batch_size: Images per batch; a shuffled set drops a last batch of fewer.
        normalization: A mean and a std for each channel.
        augmentation: Crops and flips, or None for none.
        shuffle: Whether the order is random.
        seed: Of the order and the augmentation.
        views: How many views of each image there are; None for a new one in every epoch.
        soft: Teacher logits, (V, N, classes), handed out beside the labels; `views` is V then, 1 without
            augmentation.

    Raises:
        DataError: The teacher logits have another number of views, or a setting does not fit the images.
    """

    def __init__(
        self,
        data: ArrayData,
        batch_size: int,
        normalization: Normalization,
        *,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        views: int | None = None,
        soft: Tensor | None = None,
    ) -> None:
        if soft is not None and views not in (None, len(soft)):
            raise DataError(f"the teacher logits are of {len(soft)} views, views is {views}: leave it out")
        views = views if soft is None else len(soft)
        self.data, self.batch_size, self.normalization = data, batch_size, normalization
        self.augmentation, self.shuffle, self.seed, self.views, self.soft = (
            augmentation,
            shuffle,
            seed,
            views,
            soft,
        )
        self.epoch = 0
        pad = augmentation.pad if augmentation else 0
        _check(data, batch_size, normalization, pad)
        # Padding the set once costs 60 % more memory and saves padding every batch of every epoch.
        self._padded = _pad(data.images, pad) if pad else data.images
        mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
        self._scale = (1 / (255 * std)).view(1, -1, 1, 1)
        self._shift = (mean / std).view(1, -1, 1, 1)

    def __len__(self) -> int:
        n, b = len(self.data), self.batch_size
        return n // b if self._drops_last else -(-n // b)

    @property
    def _drops_last(self) -> bool:
        # A last batch of a few images would give BatchNorm noisy statistics.
        return self.shuffle and len(self.data) > self.batch_size

    def with_soft(self, soft: Tensor) -> Batches:
        """Returns the same batches, handing out these teacher logits, (V, N, classes), of their V views."""
        batches = copy.copy(self)  # they share the images
        batches.views, batches.soft, batches.epoch = len(soft), soft, 0
        return batches

    def plain(self) -> Batches:
        """Returns the same images in the same order as they are, without augmentation or logits."""
        batches = copy.copy(self)
        batches.augmentation = batches.soft = batches.views = None
        return batches

    def _draws(self, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the vertical and horizontal crop offsets and the flips of every image, each (N,)."""
        n, aug = len(self.data), self.augmentation
        assert aug is not None
        g = _generator(self.seed, 1, view)
        dy, dx = torch.randint(0, 2 * aug.pad + 1, (2, n), generator=g).unbind()
        flip = torch.rand(n, generator=g) < 0.5 if aug.flip else torch.zeros(n, dtype=torch.bool)
        return dy, dx, flip

    def images_at(self, index: Tensor, draws: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        """Returns normalised images, cropped and flipped as drawn.

        Args:
            index: (B,) int64.
            draws: Crop offsets and flips of every image, or None for none.

        Returns:
            float32 (B, C, H, W).
        """
        h, w = self.data.images.shape[2:]
        if draws is None:
            x = self.data.images[index]
        else:
            dy, dx, flip = (d[index] for d in draws)
            rows = dy[:, None] + torch.arange(h)
            cols = torch.arange(w).expand(len(index), w)
            cols = dx[:, None] + torch.where(flip[:, None], w - 1 - cols, cols)
            x = self._padded.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], cols[:, None, :]]
            x = x.permute(0, 3, 1, 2)
        x = x.to(torch.float32).mul_(self._scale).sub_(self._shift)
        return x.contiguous(memory_format=torch.channels_last)

    def view(self, view: int) -> Iterator[Tensor]:
        """Yields all images in stored order, in batches, as one of the augmentation's views shows them."""
        draws = self._draws(view) if self.augmentation else None
        for index in torch.arange(len(self.data)).split(self.batch_size):
            yield self.images_at(index, draws)

    def __iter__(self) -> Iterator[tuple[Tensor | None, ...]]:
        n, view = len(self.data), self.epoch % self.views if self.views else self.epoch
        order = (
            torch.randperm(n, generator=_generator(self.seed, 0, self.epoch))
            if self.shuffle
            else torch.arange(n)
        )
        draws = self._draws(view) if self.augmentation else None
        if self._drops_last:
            order = order[: len(self) * self.batch_size]
        for index in order.split(self.batch_size):
            x = self.images_at(index, draws)
            y = None if self.data.labels is None else self.data.labels[index]
            yield (x, y) if self.soft is None else (x, y, self.soft[view, index].float())
        self.epoch += 1


def _check(data: ArrayData, batch_size: int, normalization: Normalization, pad: int) -> None:
    channels, height, width = data.images.shape[1:]
    if batch_size < 1:
        raise DataError(f"a batch needs at least one image, not {batch_size}")
    if len(normalization.mean) != channels:
        raise DataError(
            f"the images have {channels} channel(s), the normalisation {len(normalization.mean)}; "
            "give a mean and a std for each channel"
        )
    if pad >= min(height, width):
        raise DataError(f"images of {height} x {width} pixels are too small to be padded by {pad}")


def _pad(images: Tensor, pad: int) -> Tensor:
    """Pads uint8 (N, C, H, W) to (N, C, H + 2 pad, W + 2 pad) by reflection, stored channels-last."""
    n, channels, height, width = images.shape
    padded = torch.empty(
        (n, channels, height + 2 * pad, width + 2 * pad),
        dtype=torch.uint8,
        device=images.device,
        memory_format=torch.channels_last,
    )
    for part, out in zip(images.split(1000), padded.split(1000), strict=True):
        out.copy_(F.pad(part.float(), (pad,) * 4, mode="reflect"))
    return padded
