from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pithnet.data import cifar10
from pithnet.data.arrays import ArrayData
from pithnet.data.cifar10 import load_cifar10
from pithnet.errors import DataError

from .conftest import RECORDS, batch


def assert_is_batches(data: ArrayData, numbers: range) -> None:
    pixels = np.concatenate([batch(n)[0] for n in numbers]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch(n)[1] for n in numbers])
    assert torch.equal(data.images, torch.from_numpy(pixels))
    assert torch.equal(data.labels, torch.from_numpy(labels))
    assert data.classes[3] == "cat"
    assert len(data.classes) == 10


def test_binary_layout_from_its_parent_and_from_itself(binary_root: Path) -> None:
    for root in (binary_root, binary_root / "cifar-10-batches-bin"):
        assert_is_batches(load_cifar10(root, "train"), range(1, 6))
        assert_is_batches(load_cifar10(root, "test"), range(1))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_python_layout_in_every_pickle_protocol(write_python: Callable[[int], Path], protocol: int) -> None:
    root = write_python(protocol)
    assert_is_batches(load_cifar10(root, "train"), range(1, 6))
    assert_is_batches(load_cifar10(root / "cifar-10-batches-py", "test"), range(1))


def test_files_keep_their_order_of_records(binary_root: Path) -> None:
    path = binary_root / "cifar-10-batches-bin" / "data_batch_1.bin"
    before = load_cifar10(binary_root, "train")
    records = np.frombuffer(path.read_bytes(), np.uint8).reshape(RECORDS, -1)
    path.write_bytes(records[np.argsort(records[:, 0], kind="stable")].tobytes())
    after = load_cifar10(binary_root, "train")
    assert after.labels is not None
    assert before.labels is not None
    assert after.labels[:RECORDS].tolist() == sorted(before.labels[:RECORDS].tolist())
    assert torch.equal(after.images[RECORDS:], before.images[RECORDS:])


def test_a_complete_layout_beside_a_partial_one_is_used(
    binary_root: Path, write_python: Callable[[int], Path]
) -> None:
    (binary_root / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    shutil.move(write_python(4) / "cifar-10-batches-py", binary_root)
    assert_is_batches(load_cifar10(binary_root, "train"), range(1, 6))


def test_missing_root_says_what_was_looked_for_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"looked for cifar-10-batches-bin/ and cifar-10-batches-py/.*--download"
    ):
        load_cifar10(tmp_path, "train")
    with pytest.raises(DataError, match=r"nowhere is not a folder.*--data-root"):
        load_cifar10(tmp_path / "nowhere", "train")


def test_partial_root_names_the_missing_files(binary_root: Path) -> None:
    for name in ("data_batch_3.bin", "data_batch_5.bin"):
        (binary_root / "cifar-10-batches-bin" / name).unlink()
    assert not cifar10.is_complete(binary_root)
    with pytest.raises(DataError, match=r"data_batch_3.bin, data_batch_5.bin missing.*--download"):
        load_cifar10(binary_root, "train")
    assert len(load_cifar10(binary_root, "test")) == RECORDS


def test_only_the_test_file_missing(binary_root: Path) -> None:
    (binary_root / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-bin is incomplete: test_batch.bin missing"):
        load_cifar10(binary_root, "test")


@pytest.mark.parametrize("cut", [1, 3073])
def test_wrong_size_names_the_file(binary_root: Path, cut: int) -> None:
    path = binary_root / "cifar-10-batches-bin" / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    assert not cifar10.is_complete(binary_root)
    with pytest.raises(
        DataError, match=r"data_batch_4.bin has (61,459|58,387) bytes, a CIFAR-10 file has 61,460"
    ):
        load_cifar10(binary_root, "train")


def test_label_above_nine_names_file_and_record(binary_root: Path) -> None:
    path = binary_root / "cifar-10-batches-bin" / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[7 * 3073] = 10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch.bin has the label 10 in record 7"):
        load_cifar10(binary_root, "test")


def test_unknown_split(binary_root: Path) -> None:
    with pytest.raises(DataError, match="'train' and 'test', not 'val'"):
        load_cifar10(binary_root, "val")
