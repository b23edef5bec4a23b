"""The UCI optical digits, bundled: 1,797 images of 8 x 8, with their attribution in digits.txt."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray

from pithnet.data.arrays import ArrayData
from pithnet.errors import DataError


def load_digits(split: str) -> ArrayData:
    """Returns the "train" (1,297) or "test" (500) digits, uint8 (N, 1, 8, 8), where class i is digit i.

    The original counts 0..16 are scaled to 0..255, rounded. The split is stratified and stored in the bundled
    file, so that it is the same everywhere.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI ML Repository, 1998.

    Args:
        split: "train" or "test".

    Raises:
        DataError: The split is neither "train" nor "test".
    """
    if split not in ("train", "test"):
        raise DataError(f"the digits have the splits 'train' and 'test', not {split!r}")
    images, labels, is_test = _bundled()
    chosen = is_test == (split == "test")
    scaled = (images[chosen].astype(np.uint16) * 255 + 8) // 16
    return ArrayData(
        torch.from_numpy(scaled.astype(np.uint8)).unsqueeze(1),
        torch.from_numpy(labels[chosen].astype(np.int64)),
        tuple("0123456789"),
    )


@cache
def _bundled() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Returns images (1797, 8, 8) in 0..16, labels (1797,), is_test (1797,)."""
    with resources.files("pithnet.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"], arrays["is_test"]
