"""Batches against a reference that does one image and one pixel at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pithnet.data import ArrayData, Augmentation, Batches, Normalization
from pithnet.errors import DataError

NORMALIZATION = Normalization((0.1, 0.5, 0.9), (0.2, 0.3, 0.4))
N, H, W = 23, 7, 6


def data(labelled: bool = True, n: int = N) -> ArrayData:
    images = torch.randint(
        0, 256, (n, 3, H, W), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    # The label is the image's place, so that a batch says which images it holds.
    return ArrayData(images, torch.arange(n) if labelled else None)


def batches(pad: int = 2, flip: bool = True, **options: object) -> Batches:
    arguments = {"augmentation": Augmentation(pad, flip), "shuffle": True, "seed": 5, **options}
    return Batches(data(), 4, NORMALIZATION, **arguments)


def reference(image: np.ndarray, dy: int, dx: int, flip: bool, pad: int) -> np.ndarray:
    """uint8 (C, H, W) -> float64: padded by reflection, cut, mirrored, normalised, pixel by pixel."""
    out = np.zeros(image.shape)
    for c in range(3):
        for i in range(H):
            for j in range(W):
                row, column = dy + i - pad, dx + (W - 1 - j if flip else j) - pad
                row = -row if row < 0 else 2 * (H - 1) - row if row >= H else row
                column = -column if column < 0 else 2 * (W - 1) - column if column >= W else column
                value = image[c, row, column] / 255
                out[c, i, j] = (value - NORMALIZATION.mean[c]) / NORMALIZATION.std[c]
    return out


def places(epoch: Batches) -> list[int]:
    return [int(i) for _, y in epoch for i in y]


def test_every_image_is_one_of_its_crops_and_all_of_them_come() -> None:
    source = batches(pad=1)
    candidates = {
        (i, dy, dx, flip): reference(source.data.images[i].numpy(), dy, dx, flip, 1)
        for i in range(3)
        for dy in range(3)
        for dx in range(3)
        for flip in (False, True)
    }
    seen = set()
    for _ in range(60):
        for x, y in source:
            for image, place in zip(x, y.tolist(), strict=True):
                if place < 3:
                    found = [
                        key
                        for key, value in candidates.items()
                        if key[0] == place and np.allclose(image.numpy(), value, atol=1e-5)
                    ]
                    assert len(found) == 1
                    seen.add(found[0])
    assert len(seen) >= 45, "54 crops, each missed with a chance of 3 % in 60 epochs"


@pytest.mark.parametrize(("pad", "flip"), [(0, False), (0, True), (3, False)])
def test_without_padding_or_flips_there_are_none(pad: int, flip: bool) -> None:
    x, y = next(iter(batches(pad, flip)))
    for image, place in zip(x, y.tolist(), strict=True):
        options = [
            reference(data().images[place].numpy(), dy, dx, mirrored, pad)
            for dy in range(2 * pad + 1)
            for dx in range(2 * pad + 1)
            for mirrored in ((False, True) if flip else (False,))
        ]
        assert any(np.allclose(image.numpy(), option, atol=1e-5) for option in options)


def test_without_augmentation_images_are_normalised_by_channel_and_in_order() -> None:
    plain = Batches(data(), 4, NORMALIZATION)
    x = torch.cat([b[0] for b in plain])
    expected = np.stack([reference(image.numpy(), 0, 0, False, 0) for image in data().images])
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-5)
    assert x.dtype == torch.float32
    assert places(plain) == list(range(N))
    assert len(plain) == 6
    first = next(iter(plain))[0]
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    a, b = batches(), batches()
    first, second = places(a), places(a)
    assert first != second
    assert len(set(first)) == len(first) == 20, "five full batches of 23 images"
    assert a.epoch == 2
    torch.manual_seed(torch.seed())
    b.epoch = 1
    assert places(b) == second
    assert places(batches(seed=6)) != first


def test_images_depend_on_seed_and_epoch_alone() -> None:
    def epoch(number: int, **options: object) -> dict[int, torch.Tensor]:
        source = batches(**options)
        source.epoch = number
        return {int(i): image for x, y in source for image, i in zip(x, y, strict=True)}

    once, again, other = epoch(4), epoch(4), epoch(5)
    assert all(torch.equal(once[i], again[i]) for i in once)
    both = [i for i in once if i in other]
    assert sum(torch.equal(once[i], other[i]) for i in both) < len(both) / 2
    assert any(not torch.equal(image, epoch(4, seed=9).get(i, image)) for i, image in once.items())


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    small = Batches(data(n=3), 4, NORMALIZATION, shuffle=True)
    assert len(small) == 1
    assert sorted(places(small)) == [0, 1, 2]


def test_views_repeat_with_their_number_and_match_the_stored_order() -> None:
    source = batches(views=3)
    views = [torch.cat(list(source.view(v))) for v in range(3)]
    assert all(v.shape == (N, 3, H, W) for v in views)
    assert not torch.equal(views[0], views[1])
    for epoch in range(7):
        assert source.epoch == epoch
        for x, y in source:
            assert torch.equal(x, views[epoch % 3][y])


def test_teacher_logits_are_those_of_the_view_and_the_image() -> None:
    soft = torch.arange(3 * N).view(3, N, 1).half()
    source = batches().with_soft(soft)
    for epoch in range(4):
        for _, y, logits in source:
            assert logits.dtype == torch.float32
            assert torch.equal(logits, soft[epoch % 3][y].float())
    assert places(batches()) == [int(i) for _, y, _ in batches().with_soft(soft) for i in y]


def test_logits_given_at_once_say_how_many_views_there_are() -> None:
    soft = torch.arange(2 * N).view(2, N, 1).half()
    source = Batches(data(), 4, NORMALIZATION, soft=soft)
    for epoch in range(3):
        assert all(torch.equal(logits, soft[epoch % 2][y].float()) for _, y, logits in source)


def test_unlabelled_images_have_no_labels() -> None:
    source = Batches(data(labelled=False), 4, NORMALIZATION)
    assert [y for _, y in source] == [None] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "at least one image, not 0"),
        ({"normalization": Normalization((0.5,), (0.5,))}, r"have 3 channel\(s\), the normalisation 1"),
        ({"augmentation": Augmentation(pad=6)}, "images of 7 x 6 pixels are too small to be padded by 6"),
        ({"views": 3, "soft": torch.zeros(2, N, 1)}, "logits are of 2 views, views is 3: leave it out"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Batches(**{"data": data(), "batch_size": 4, "normalization": NORMALIZATION, **arguments})
