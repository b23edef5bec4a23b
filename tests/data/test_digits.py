from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import datasets

from pithnet.data.digits import _bundled, load_digits
from pithnet.errors import DataError


def test_the_bundled_file_is_the_published_data() -> None:
    published = datasets.load_digits()
    images, labels, _ = _bundled()
    assert np.array_equal(images, published.images)
    assert np.array_equal(labels, published.target)


def test_split_is_disjoint_complete_and_stratified() -> None:
    train, test = load_digits("train"), load_digits("test")
    assert train.images.shape == (1297, 1, 8, 8)
    assert test.images.shape == (500, 1, 8, 8)
    assert train.labels is not None
    assert test.labels is not None
    total = torch.bincount(torch.cat([train.labels, test.labels]))
    assert total.tolist() == np.bincount(datasets.load_digits().target).tolist()
    assert torch.all((torch.bincount(test.labels) - total * 500 / 1797).abs() < 1)


def test_values_fill_the_range_of_uint8() -> None:
    train = load_digits("train")
    counts = _bundled()[0][~_bundled()[2]]
    assert train.images.min() == 0
    assert train.images.max() == 255
    assert np.abs(train.images[:, 0].numpy() - counts * (255 / 16)).max() <= 0.5
    assert train.classes[7] == "7"


def test_repeated_loads_do_not_share_memory() -> None:
    first = load_digits("test")
    first.images.zero_()
    assert load_digits("test").images.sum() > 0


def test_unknown_split() -> None:
    with pytest.raises(DataError, match="'train' and 'test', not 'val'"):
        load_digits("val")
