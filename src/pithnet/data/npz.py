"""Images in numpy archives: x_train, y_train, x_test, y_test in one file, or images and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pithnet.data.arrays import ArrayData
from pithnet.errors import DataError

MAX_CLASSES = 1 << 16
CHANNELS = (1, 3)


def load_npz(path: Path, split: str) -> ArrayData:
    """Returns one split's images, uint8 (N, C, H, W), C = 1 or 3, and labels where the file has them.

    Nothing pickled is read.

    Args:
        path: A file with x_train, y_train, x_test, y_test; or a file with images and labels; or a folder with
            a train.npz and a test.npz of either kind. Images are uint8 NCHW, NHWC or NHW; labels are integers
            (N,); an array `classes` of text names them. A lone file with images and labels has no held-out
            part: with labels it is "test" (to evaluate on), without them "train" (to calibrate on).
        split: "train" or "test".

    Raises:
        DataError: The file is missing or no numpy archive, arrays are missing, or have wrong types or shapes;
            or the split is unknown.
    """
    if split not in ("train", "test"):
        raise DataError(f"npz data has the splits 'train' and 'test', not {split!r}")
    file = Path(path) / f"{split}.npz" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise DataError(f"no file {file}. Give an .npz file, or a folder with train.npz and test.npz.")
    arrays = _arrays(file)
    image_key, label_key = _keys(file, arrays, split, alone=file == Path(path))
    images = _nchw(arrays[image_key], f"{image_key} of {file}")
    if label_key not in arrays:
        return ArrayData(torch.from_numpy(images), None, _names(file, arrays, 0))
    labels = _labels(arrays[label_key], len(images), f"{label_key} of {file}")
    highest = [int(arrays[k].max()) for k in ("y_train", "y_test", "labels") if _is_labels(arrays.get(k))]
    return ArrayData(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        _names(file, arrays, min(max(highest) + 1, MAX_CLASSES)),
    )


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Returns every array of the archive."""
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("not a zip file")
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib and numpy's header reader raise many kinds on a damaged file
        raise DataError(f"{file} is not a readable numpy archive (.npz, no objects): {error}.") from error


def _keys(file: Path, arrays: dict[str, NDArray[Any]], split: str, alone: bool) -> tuple[str, str]:
    """Returns the names of the images and of the labels of `split`."""
    if f"x_{split}" in arrays:
        return f"x_{split}", f"y_{split}"
    if "images" not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{file} has neither x_{split} nor images, but {found}. Rename its arrays.")
    held = "test" if "labels" in arrays else "train"
    if alone and split != held:
        raise DataError(
            f"{file} is one set, used as {held!r} only: no model is measured on what it was trained on. "
            f"For both, name the arrays x_train, y_train, x_test, y_test, or give a folder with train.npz "
            f"and test.npz."
        )
    return "images", "labels"


def _nchw(images: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns contiguous uint8 (N, C, H, W) from NCHW, NHWC or NHW."""
    if images.dtype != np.uint8:
        raise DataError(f"{what} is {images.dtype}, not uint8: store pixels as 0..255")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{what} has shape {images.shape}, not (N, C, H, W), (N, H, W, C) or (N, H, W)")
    first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
    if not first and not last:
        raise DataError(f"{what} has shape {images.shape}: neither axis 1 nor axis 3 is 1 or 3 channels")
    # Both only for images 1 or 3 wide: NCHW, as documented first.
    return np.ascontiguousarray(images if first else images.transpose(0, 3, 1, 2))


def _is_labels(labels: NDArray[Any] | None) -> bool:
    return labels is not None and labels.dtype.kind in "iu" and labels.size > 0


def _labels(labels: NDArray[Any], count: int, what: str) -> NDArray[np.int64]:
    if not _is_labels(labels) or labels.shape not in ((count,), (count, 1)):
        raise DataError(f"{what} is {labels.dtype} of shape {labels.shape}, not integers of shape ({count},)")
    if int(labels.min()) < 0 or int(labels.max()) >= MAX_CLASSES:
        raise DataError(
            f"{what} has values {labels.min()} to {labels.max()}: labels are 0 to {MAX_CLASSES - 1}"
        )
    return labels.reshape(count).astype(np.int64)


def _names(file: Path, arrays: dict[str, NDArray[Any]], count: int) -> tuple[str, ...]:
    """Returns the array `classes`, or numbers."""
    if "classes" not in arrays:
        return tuple(str(i) for i in range(count))
    names = arrays["classes"]
    if names.dtype.kind != "U" or names.ndim != 1 or len(names) < count:
        raise DataError(
            f"classes of {file} is {names.dtype} of shape {names.shape}, not {count} names or more"
        )
    return tuple(str(name) for name in names)
