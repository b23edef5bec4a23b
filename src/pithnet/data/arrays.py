"""A labelled image set held in memory as uint8."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pithnet.errors import DataError


@dataclass(frozen=True)
class Normalization:
    """A per-channel affine map of an image in [0, 1]: (x - mean) / std.

    Args:
        mean: One number per channel.
        std: One number per channel, > 0.

    Raises:
        DataError: The numbers are not as many, not finite, or a std is not positive.
    """

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
    """A labelled image set.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), or None where there are none.
        classes: Names of the classes.
        name: The data set's, a key of DATASETS; None for arrays of your own.

    Raises:
        DataError: The images or labels are of another dtype or shape.
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
        """Returns the images (and labels) at `index`, int64 (M,), in that order."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, images=self.images[index], labels=labels)

    def split(self, held_out: int, seed: int) -> tuple[ArrayData, ArrayData]:
        """Splits random images off; the same seed gives the same split.

        Args:
            held_out: How many images to split off, 0 < held_out < N.
            seed: Of the random choice.

        Returns:
            The rest, and the images held out.

        Raises:
            DataError: `held_out` is below 1, or not below the number of images.
        """
        if not 0 < held_out < len(self):
            raise DataError(f"cannot hold out {held_out} of {len(self)} images: choose 1 to {len(self) - 1}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[held_out:]), self.take(order[:held_out])
