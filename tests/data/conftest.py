"""Small data sets in CIFAR-10's formats: the same bytes per record, fewer records per file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pithnet.data import cifar10

RECORDS = 20


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    return RECORDS


def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (RECORDS, 3072) and labels (RECORDS,) of file `number`, 0 being the test set."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (RECORDS, 3072), np.uint8), rng.integers(0, 10, RECORDS)


def binary_name(number: int) -> str:
    return f"data_batch_{number}.bin" if number else "test_batch.bin"


def binary_bytes(number: int) -> bytes:
    pixels, labels = batch(number)
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()


@pytest.fixture
def binary_root(tmp_path: Path, records: int) -> Path:
    """A root with cifar-10-batches-bin/."""
    folder = tmp_path / "binary" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / binary_name(number)).write_bytes(binary_bytes(number))
    return folder.parent


@pytest.fixture
def write_python(tmp_path: Path, records: int) -> Callable[[int], Path]:
    """Writes a root with cifar-10-batches-py/ in the given pickle protocol."""

    def write(protocol: int) -> Path:
        folder = tmp_path / "python" / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for number in range(6):
            pixels, labels = batch(number)
            content = {b"data": pixels, b"labels": labels.tolist(), b"filenames": [b"a.png"] * len(labels)}
            name = f"data_batch_{number}" if number else "test_batch"
            (folder / name).write_bytes(pickle.dumps(content, protocol))
        return folder.parent

    return write
