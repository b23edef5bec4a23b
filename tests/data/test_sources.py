from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pithnet.data.digits import load_digits
from pithnet.data.sources import DATASETS, NORMALIZATIONS, load
from pithnet.errors import DataError


def test_every_source_loads_by_its_name(tmp_path: Path, binary_root: Path) -> None:
    images = np.zeros((3, 3, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", x_test=images, y_test=[0, 1, 1])
    (tmp_path / "images/test/cat").mkdir(parents=True)
    Image.fromarray(images[0].transpose(1, 2, 0)[:, :, :3].repeat(2, 0)).save(
        tmp_path / "images/test/cat/a.png"
    )
    roots = {"cifar10": binary_root, "digits": None, "folder": tmp_path / "images", "npz": tmp_path / "a.npz"}
    assert roots.keys() == DATASETS.keys()
    shapes = {name: tuple(load(name, root, "test").images.shape) for name, root in roots.items()}
    assert shapes == {
        "cifar10": (20, 3, 32, 32),
        "digits": (500, 1, 8, 8),
        "folder": (1, 3, 8, 4),
        "npz": (3, 3, 4, 4),
    }


def test_default_normalizations_exist() -> None:
    assert {source.normalization for source in DATASETS.values()} <= NORMALIZATIONS.keys()


def test_digits_normalization_is_that_of_the_training_images() -> None:
    x = load_digits("train").images.double() / 255
    norm = NORMALIZATIONS["digits"]
    assert norm.mean[0] == pytest.approx(x.mean().item(), abs=5e-5)
    assert norm.std[0] == pytest.approx(torch.std(x, correction=0).item(), abs=5e-5)


@pytest.mark.parametrize(
    ("name", "root", "split", "message"),
    [
        ("cifar", None, "test", r"unknown data set 'cifar'\. Did you mean cifar10"),
        ("imagenet21k", None, "test", "Known: cifar10, digits, folder, npz"),
        ("digits", None, "tset", r"unknown split 'tset'\. Did you mean test"),
        ("cifar10", None, "test", "'cifar10' needs --data-root DIR: .*--download"),
        ("npz", None, "test", "'npz' needs --data-root DIR: an .npz file"),
        ("digits", Path("x"), "test", "'digits' is bundled: leave out --data-root"),
    ],
)
def test_bad_requests(name: str, root: Path | None, split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(name, root, split)
