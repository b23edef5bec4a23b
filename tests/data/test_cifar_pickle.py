from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pithnet.data.cifar_pickle import read_python_batch
from pithnet.errors import DataError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 12)


def written(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


def test_a_file_as_python_2_wrote_it(tmp_path: Path) -> None:
    # Hand-assembled: protocol 2 with byte strings, numpy.core names, attribute state in BUILD opcodes.
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt\x52"
        b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87\x52(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x04\x00\x7f\x80\xfftb"
    )
    content = b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x01K\x09eU\x0bbatch_labelU\x01xu."
    data, labels = read_python_batch(written(tmp_path / "data_batch_1", content))
    assert data.tolist() == [[0, 127], [128, 255]]
    assert labels.tolist() == [1, 9]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<i8", ">i4", "u1"])
def test_memory_order_and_label_types(tmp_path: Path, order: Any, kind: str) -> None:
    content = {"data": np.array(PIXELS, order=order), "labels": np.array([3, 200], kind)}
    for protocol in (2, 4, 5):
        data, labels = read_python_batch(written(tmp_path / "b", content, protocol))
        assert data.tolist() == PIXELS.tolist()
        assert labels.tolist() == [3, 200]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_never_executed(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    hostile = {"data": PIXELS, "labels": [1, 2], "x": Calls(os.system, f"touch {trace}")}
    path = written(tmp_path / "data_batch_1", hostile, protocol)
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the attack must work on a plain unpickler"
    trace.unlink()
    with pytest.raises(
        DataError, match=r"data_batch_1 is not a CIFAR-10 batch: it names posix.system.*executed"
    ):
        read_python_batch(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"c__builtin__\neval\n(U\x021+tR.",
        b"cbuiltins\ngetattr\n.",
        b"\x80\x04cnumpy\ndtype.type\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
        b"cnumpy.core.multiarray\n_reconstruct\n}U\x0c__setstate__U\x01xsb.",  # rewriting a class by BUILD
        b"cnumpy\nndarray\n}U\x01aU\x01xsb.",
        b"Pexternal\n.",
    ],
)
def test_other_ways_out_are_closed(tmp_path: Path, attack: bytes) -> None:
    path = written(tmp_path / "b", attack)
    with pytest.raises(DataError, match="not a CIFAR-10 batch"):
        read_python_batch(path)
    content = {"data": PIXELS, "labels": [1, 2]}
    assert read_python_batch(written(path, content))[0].tolist() == PIXELS.tolist(), (
        "nothing may stay changed"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a list, not a dictionary"),
        ({}, "no array 'data'"),
        ({"data": b"123", "labels": [1]}, "no array 'data'"),
        ({"data": PIXELS.astype(np.int32), "labels": [1]}, "'data' is int32, not uint8"),
        ({"data": PIXELS.astype(np.float32), "labels": [1]}, "array of type 'f4', not of integers"),
        ({"data": np.array([None, 3]), "labels": [1]}, "array without type or bytes"),
        ({"data": PIXELS}, "no list of integers 'labels'"),
        ({"data": PIXELS, "labels": ["cat"]}, "no list of integers 'labels'"),
        ({"data": PIXELS, "labels": [1 << 40]}, "no list of integers 'labels'"),
        (b"", "ValueError"),
        (b"not a pickle", "ValueError"),
        (pickle.dumps({"data": PIXELS})[:-20], "ValueError"),
    ],
)
def test_what_is_not_a_batch_says_why(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"data_batch_2 is not a CIFAR-10 batch: .*({message})"):
        read_python_batch(written(tmp_path / "data_batch_2", content))


def test_shape_must_agree_with_the_bytes(tmp_path: Path) -> None:
    honest = pickle.dumps({"data": PIXELS, "labels": [1, 2]}, 2)
    lying = honest.replace(b"K\x02K\x0c\x86", b"K\x63K\x0c\x86")
    assert lying != honest
    with pytest.raises(DataError, match=r"array of shape \(99, 12\) with 24 bytes"):
        read_python_batch(written(tmp_path / "b", lying))


@pytest.mark.parametrize(
    "content", [b"\x80\x02Nr\xff\xff\xff\xff.", b"Np4000000000\n.", b"N" * (1 << 19) + b"."]
)
def test_a_small_file_cannot_fill_the_memory(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="longer than any CIFAR-10 file"):
        read_python_batch(written(tmp_path / "b", content))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damaged_bytes_end_in_data_or_in_a_data_error(tmp_path: Path, protocol: int) -> None:
    honest = pickle.dumps({"data": PIXELS, "labels": [1, 2]}, protocol)
    rng = np.random.default_rng(protocol)
    refused = 0
    for _ in range(300):
        content = bytearray(honest)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            content[at] = rng.integers(256)
        try:
            assert read_python_batch(written(tmp_path / "b", bytes(content)))[0].dtype == np.uint8
        except DataError as error:
            refused += str(error).startswith(str(tmp_path))
    assert refused > 100


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="more than any CIFAR-10 file"):
        read_python_batch(path)
