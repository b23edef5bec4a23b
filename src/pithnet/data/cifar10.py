"""CIFAR-10 from the files of its official archives: the binary layout and the Python (pickled) layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pithnet.data.arrays import ArrayData
from pithnet.data.cifar_pickle import read_python_batch
from pithnet.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS = 10_000  # per file, in both layouts
PIXELS = 3 * 32 * 32
RECORD_BYTES = 1 + PIXELS  # binary layout: the label, then the red, green and blue planes, row by row


@dataclass(frozen=True)
class Layout:
    """The names that one official archive gives its folder and its files."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    def files(self, split: str) -> tuple[str, ...]:
        """Returns the file names of "train" or "test".

        Raises:
            DataError: The split is neither "train" nor "test".
        """
        if split not in ("train", "test"):
            raise DataError(f"CIFAR-10 has the splits 'train' and 'test', not {split!r}")
        return self.train if split == "train" else self.test


BINARY = Layout(
    "cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)
)
PYTHON = Layout("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",))


def load_cifar10(root: Path, split: str) -> ArrayData:
    """Returns the "train" (50,000) or "test" (10,000) images, uint8 (N, 3, 32, 32) in RGB, in file order.

    The Python layout is read without executing anything that its pickles name.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        root: A folder that holds cifar-10-batches-bin/ or cifar-10-batches-py/, or is one of them. The binary
            layout is taken where both are complete.
        split: "train" or "test".

    Raises:
        DataError: Files are missing (the message names them), have the wrong size, or hold labels above 9; or
            the split is unknown.
    """
    folder, layout = _locate(Path(root), split)
    names = layout.files(split)
    images = np.empty((len(names) * RECORDS, PIXELS), np.uint8)
    labels = np.empty(len(images), np.int64)
    read = _read_binary if layout is BINARY else _read_pickled
    for i, name in enumerate(names):
        part = slice(i * RECORDS, (i + 1) * RECORDS)
        read(folder / name, images[part], labels[part])
    return ArrayData(torch.from_numpy(images).view(-1, 3, 32, 32), torch.from_numpy(labels), CLASSES)


def is_complete(root: Path) -> bool:
    """Tells whether a layout under `root` has every file of both splits, binary files at their full size."""
    for folder, layout in _candidates(root):
        paths = [folder / name for name in layout.train + layout.test]
        if all(
            p.is_file() and (layout is PYTHON or p.stat().st_size == RECORDS * RECORD_BYTES) for p in paths
        ):
            return True
    return False


def _candidates(root: Path) -> list[tuple[Path, Layout]]:
    return [(folder, layout) for layout in (BINARY, PYTHON) for folder in (root / layout.folder, root)]


def _locate(root: Path, split: str) -> tuple[Path, Layout]:
    """Returns the folder and layout with all files of `split`, or raises about the most complete one."""
    fewest: tuple[int, Path, list[str]] | None = None
    for folder, layout in _candidates(root):
        names = layout.files(split)
        missing = [name for name in names if not (folder / name).is_file()]
        if not missing:
            return folder, layout
        there = any((folder / name).is_file() for name in layout.train + layout.test)
        if there and (fewest is None or len(missing) < fewest[0]):
            fewest = len(missing), folder, missing
    fix = "Add --download to fetch it, or give its folder with --data-root."
    if fewest is not None:
        raise DataError(f"CIFAR-10 in {fewest[1]} is incomplete: {', '.join(fewest[2])} missing. {fix}")
    if not root.is_dir():
        raise DataError(f"no CIFAR-10: {root} is not a folder. {fix}")
    raise DataError(
        f"no CIFAR-10 in {root}: looked for {BINARY.folder}/ and {PYTHON.folder}/ there, and for "
        f"{BINARY.files(split)[0]} and {PYTHON.files(split)[0]} directly in it. {fix}"
    )


def _read_binary(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Fills images (RECORDS, 3072) and labels (RECORDS,) from one file of the binary layout."""
    size, expected = path.stat().st_size, len(labels) * RECORD_BYTES
    if size != expected:
        raise DataError(
            f"{path} has {size:,} bytes, a CIFAR-10 file has {expected:,}: "
            f"it is damaged or not CIFAR-10. Delete it and add --download."
        )
    try:
        records = np.fromfile(path, np.uint8).reshape(-1, RECORD_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    images[:] = records[:, 1:]
    _fill_labels(path, records[:, 0], labels)


def _read_pickled(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Fills images (RECORDS, 3072) and labels (RECORDS,) from one file of the Python layout."""
    data, read = read_python_batch(path)
    if data.shape != images.shape or read.shape != labels.shape:
        raise DataError(
            f"{path} has data of shape {data.shape} and {read.size:,} labels, a CIFAR-10 file has "
            f"{images.shape} and {labels.size:,}. Delete it and add --download."
        )
    images[:] = data
    _fill_labels(path, read, labels)


def _fill_labels(path: Path, read: NDArray[np.integer], labels: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero((read < 0) | (read >= len(CLASSES)))
    if wrong.size:
        raise DataError(
            f"{path} has the label {read[wrong[0]]} in record {wrong[0]} ({wrong.size} such), "
            f"CIFAR-10 has 0 to 9: the file is damaged or not CIFAR-10. Delete it and add --download."
        )
    labels[:] = read
