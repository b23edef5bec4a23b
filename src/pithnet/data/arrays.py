"""A labelled image set held in memory as uint8."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pithnet.errors import DataError


@dataclass(frozen=True)
class Normalization:
    """Per-channel affine map of an image in [0, 1]: (x - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(
                f"normalisation needs as many means as stds, got {len(self.mean)} and {len(self.std)}"
            )
        if not all(math.isfinite(m) for m in self.mean):
            raise DataError(f"normalisation means must be finite, got {self.mean}")
        if not all(0 < s < math.inf for s in self.std):
            raise DataError(f"normalisation stds must be positive, got {self.std}")


@dataclass(frozen=True)
class ArrayData:
    """images: uint8, (N, C, H, W). labels: int64, (N,), or None where there are none.

    name: the data set's, a key of DATASETS; None for arrays of your own.
    """

    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                "images must be uint8 of shape (N, C, H, W), "
                f"got {self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels is not None and (
            self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]
        ):
            raise DataError(
                f"labels must be int64 of shape ({len(self.images)},), "
                f"got {self.labels.dtype} {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> ArrayData:
        """The images (and labels) at `index`, int64 of shape (M,), in that order."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, images=self.images[index], labels=labels)

    def split(self, held_out: int, seed: int) -> tuple[ArrayData, ArrayData]:
        """(the rest, `held_out` random images). The same seed gives the same split.

        Raises DataError unless 0 < held_out < N.
        """
        if not 0 < held_out < len(self):
            raise DataError(f"cannot hold out {held_out} of {len(self)} images: choose 1 to {len(self) - 1}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[held_out:]), self.take(order[:held_out])
