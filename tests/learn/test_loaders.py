"""A loader has a length, is not empty, and starts anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pithnet.errors import DataError
from pithnet.learn import batches_per_epoch, first_batch
from pithnet.learn.loaders import smallest_batch

from .problems import batches

X = torch.arange(10.0)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from X


class Sized(Stream):
    def __len__(self) -> int:
        return len(X)


class Lies(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "train is empty: its length is 0"),
        (
            DataLoader(TensorDataset(X), 16, drop_last=True),
            "empty.* larger than the data set, with drop_last",
        ),
        ((b for b in [X]), "start anew every epoch.* this is a generator"),
        (iter([X]), "this is a list_iterator"),
        (map(abs, [X]), "this is a map"),
        (3, "this is a int"),
        (DataLoader(Stream(), 2), "train has no length.* a DataLoader with __len__"),
        (Lies([X]), "gave no batch, though its length is not 0"),
        ([(X, X, X, X)], "train: a batch is a tuple of 4 parts"),
    ],
)
def test_what_cannot_be_iterated_again_and_again(loader: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        first_batch(loader, "train")


def test_lengths_and_first_batches() -> None:
    assert batches_per_epoch(DataLoader(TensorDataset(X), 4), "x") == 3
    assert batches_per_epoch([X, X], "x") == 2
    assert torch.equal(first_batch([X, -X], "x").inputs, X)
    state = torch.get_rng_state()
    assert first_batch(DataLoader(TensorDataset(X), 4, shuffle=True), "x").size == 4
    assert torch.equal(torch.get_rng_state(), state)


def test_the_smallest_batch_is_known_without_loading() -> None:
    data = TensorDataset(X)
    assert smallest_batch(DataLoader(data, 3)) == 1
    assert smallest_batch(DataLoader(data, 3, drop_last=True)) == 3
    assert smallest_batch(DataLoader(data, 5)) == 5
    assert smallest_batch(DataLoader(data, 3, sampler=range(8))) == 2
    assert smallest_batch([X, X[:2]]) == 2
    assert smallest_batch(batches()) is None
    assert smallest_batch(DataLoader(Stream(), 2)) is None
    assert smallest_batch(DataLoader(Sized(), 2)) == 2
    assert smallest_batch(DataLoader(Sized(), 4)) == 2
    assert smallest_batch(DataLoader(Sized(), 4, drop_last=True)) == 4
