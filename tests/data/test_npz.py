from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pithnet.data.npz import load_npz
from pithnet.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 3, 8, 6), np.uint8)
LABELS = np.array([0, 2, 1, 2, 0])


def save(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (IMAGES, IMAGES),
        (IMAGES.transpose(0, 2, 3, 1), IMAGES),
        (IMAGES[:, 0], IMAGES[:, :1]),
        (IMAGES[:, :1].transpose(0, 2, 3, 1), IMAGES[:, :1]),
        (IMAGES[:, :, :, :1], IMAGES[:, :, :, :1]),  # 1 pixel wide: NCHW goes first
    ],
)
def test_layouts_of_images(tmp_path: Path, stored: np.ndarray, expected: np.ndarray) -> None:
    path = save(tmp_path / "a.npz", x_train=stored, y_train=LABELS[:, None], x_test=stored[:2], y_test=[3, 0])
    data = load_npz(path, "train")
    assert data.images.numpy().tolist() == expected.tolist()
    assert data.images.is_contiguous()
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == ("0", "1", "2", "3"), "counted over both splits"
    assert len(load_npz(path, "test")) == 2


def test_class_names(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_test=IMAGES, y_test=LABELS, classes=["ant", "bee", "cat"])
    assert load_npz(path, "test").classes == ("ant", "bee", "cat")
    save(path, x_test=IMAGES, y_test=LABELS, classes=["ant", "bee"])
    with pytest.raises(DataError, match=r"classes of .* not 3 names or more"):
        load_npz(path, "test")


def test_one_set_is_either_held_out_or_to_calibrate_on(tmp_path: Path) -> None:
    labelled = save(tmp_path / "l.npz", images=IMAGES, labels=LABELS)
    assert len(load_npz(labelled, "test")) == 5
    with pytest.raises(DataError, match=r"one set, used as 'test' only.*x_train"):
        load_npz(labelled, "train")
    bare = save(tmp_path / "u.npz", images=IMAGES)
    assert load_npz(bare, "train").labels is None
    with pytest.raises(DataError, match="one set, used as 'train' only"):
        load_npz(bare, "test")


def test_a_folder_with_a_file_per_split(tmp_path: Path) -> None:
    save(tmp_path / "train.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(DataError, match=r"no file .*test\.npz"):
        load_npz(tmp_path, "test")
    save(tmp_path / "test.npz", images=IMAGES[:2], labels=LABELS[:2])
    assert (len(load_npz(tmp_path, "train")), len(load_npz(tmp_path, "test"))) == (5, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "neither x_test nor images, but x. Rename"),
        ({"x_test": IMAGES / 255.0}, "x_test of .* is float64, not uint8: store pixels as 0..255"),
        ({"x_test": IMAGES[0, 0]}, r"shape \(8, 6\), not \(N, C, H, W\)"),
        ({"x_test": IMAGES[:0]}, r"shape \(0, 3, 8, 6\)"),
        ({"x_test": IMAGES[:, :2]}, "neither axis 1 nor axis 3 is 1 or 3 channels"),
        ({"x_test": IMAGES, "y_test": LABELS[:4]}, r"int64 of shape \(4,\), not integers of shape \(5,\)"),
        ({"x_test": IMAGES, "y_test": LABELS * 1.0}, "y_test of .* is float64"),
        ({"x_test": IMAGES, "y_test": LABELS - 1}, "values -1 to 1: labels are 0 to 65535"),
        ({"x_test": IMAGES, "y_test": LABELS * 10**15}, "labels are 0 to 65535"),
        ({"x_test": IMAGES, "y_test": LABELS, "classes": [1, 2, 3]}, "classes of .* is int64"),
    ],
)
def test_bad_arrays_say_what_is_wrong(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_npz(save(tmp_path / "a.npz", **arrays), "test")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_test=IMAGES, y_test=np.array([None, "x"], object))
    with pytest.raises(DataError, match="not a readable numpy archive"):
        load_npz(path, "test")


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        load_npz(tmp_path / "none.npz", "test")
    path = tmp_path / "a.npz"
    np.save(tmp_path / "b.npy", IMAGES)
    whole = save(tmp_path / "w.npz", x_test=IMAGES).read_bytes()
    for content in (b"", b"text", (tmp_path / "b.npy").read_bytes(), whole[:-40], whole[:40] + whole[90:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable numpy archive"):
            load_npz(path, "test")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 3, 8, 8)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_test.npy", header.getvalue())
    with pytest.raises(DataError, match="not a readable numpy archive"):
        load_npz(path, "test")
    with pytest.raises(DataError, match="'train' and 'test', not 'val'"):
        load_npz(path, "val")
