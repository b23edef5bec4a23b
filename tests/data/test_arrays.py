"""Image sets in memory: what they accept, and how they are cut."""

from __future__ import annotations

import pytest
import torch

from pithnet.data import ArrayData, Normalization
from pithnet.errors import DataError

IMAGES = torch.arange(10 * 3 * 2 * 2).to(torch.uint8).view(10, 3, 2, 2)
LABELS = torch.arange(10)


def test_take_follows_the_index() -> None:
    part = ArrayData(IMAGES, LABELS, ("a", "b")).take(torch.tensor([7, 0, 7]))
    assert torch.equal(part.images, IMAGES[[7, 0, 7]])
    assert part.labels is not None
    assert part.labels.tolist() == [7, 0, 7]
    assert part.classes == ("a", "b")
    assert len(part) == 3
    assert ArrayData(IMAGES, None).take(torch.tensor([1])).labels is None


def test_a_split_parts_the_set_by_its_seed() -> None:
    data = ArrayData(IMAGES, LABELS)
    rest, held = data.split(4, seed=1)
    assert rest.labels is not None
    assert held.labels is not None
    assert (len(rest), len(held)) == (6, 4)
    assert sorted([*rest.labels.tolist(), *held.labels.tolist()]) == list(range(10))
    assert torch.equal(held.images, IMAGES[held.labels])
    assert torch.equal(data.split(4, seed=1)[1].images, held.images)
    assert not torch.equal(data.split(4, seed=2)[1].images, held.images)


@pytest.mark.parametrize("held_out", [0, 10, -1, 11])
def test_a_split_leaves_something_on_both_sides(held_out: int) -> None:
    with pytest.raises(DataError, match=f"cannot hold out {held_out} of 10 images: choose 1 to 9"):
        ArrayData(IMAGES, LABELS).split(held_out, seed=0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, "must be uint8 of shape .* got torch.float32"),
        (IMAGES[0], LABELS, r"got torch.uint8 \(3, 2, 2\)"),
        (IMAGES, LABELS.int(), r"labels must be int64 of shape \(10,\), got torch.int32"),
        (IMAGES, LABELS[:9], r"got torch.int64 \(9,\)"),
    ],
)
def test_other_types_and_shapes_are_refused(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArrayData(images, labels)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.5, 0.5), "as many means as stds, got 1 and 2"),
        ((), (), "as many means as stds"),
        ((0.5,), (0.0,), "stds must be positive"),
        ((0.5,), (float("nan"),), "stds must be positive"),
        ((0.5,), (float("inf"),), "stds must be positive"),
        ((float("nan"),), (1.0,), "means must be finite"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Normalization(mean, std)
