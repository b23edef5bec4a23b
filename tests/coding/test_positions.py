from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import POSITION_CODERS, CodingError, decode_positions, encode_positions, entropy_bits
from pithnet.coding.gaps import relative_gaps


def _pruned(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    """A mask with denser and sparser input channels, output channels and kernels, as pruning leaves it."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(size=(shape[0], 1)), rng.normal(size=(1, shape[1]))
    scale = np.exp(0.4 * (rows + columns + rng.normal(size=shape[:2])))[:, :, None, None]
    values = abs(rng.normal(size=shape)) * scale
    return values > np.quantile(values, 1 - density)


def _entropy_bytes(mask: np.ndarray) -> float:
    return entropy_bits(np.bincount(mask.ravel(), minlength=2)) * mask.size / 8


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 0.9])
def test_kernels_beat_the_order_0_entropy_where_channels_differ(density: float) -> None:
    mask = _pruned((64, 64, 3, 3), density)
    name, data = encode_positions(mask)
    assert name == "kernels"
    assert len(data) < 0.97 * _entropy_bytes(mask)


@pytest.mark.parametrize("density", [0.05, 0.2])
def test_kernels_lose_under_one_percent_where_nothing_differs(density: float) -> None:
    mask = np.random.default_rng(0).random((64, 64, 3, 3)) < density
    assert len(encode_positions(mask, "kernels")[1]) < 1.01 * _entropy_bytes(mask)


@pytest.mark.parametrize(
    "shape", [(16, 8, 5, 5), (8, 4, 7, 7), (8, 4, 11, 11), (40, 30, 1, 1), (30, 77), (20, 9, 3)]
)
def test_kernels_come_close_to_the_entropy_in_other_shapes(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.2
    data = encode_positions(mask, "kernels")[1]
    assert np.array_equal(decode_positions("kernels", data, shape), mask)
    assert len(data) < 1.03 * _entropy_bytes(mask) + 4


def test_gaps_are_those_of_the_paper() -> None:
    mask = np.zeros(30, bool)
    mask[[1, 4, 15]] = True  # figure 2 of Deep Compression with 3 bits: gaps 1, 2, then 10 zeros
    assert relative_gaps(mask, 3).tolist() == [1, 2, 7, 3]


def test_gaps_are_within_five_percent_of_the_entropy() -> None:
    mask = np.random.default_rng(0).random(50_000) < 0.15
    assert len(encode_positions(mask, "gaps")[1]) < 1.05 * _entropy_bytes(mask)


def test_auto_is_never_larger_than_any_method() -> None:
    mask = _pruned((16, 16, 3, 3), 0.2)
    sizes = [len(encode_positions(mask, name)[1]) for name in POSITION_CODERS if name != "constant"]
    assert len(encode_positions(mask)[1]) == min(sizes)


@pytest.mark.parametrize("value", [False, True])
def test_constant_masks_take_at_most_a_byte(value: bool) -> None:
    assert len(encode_positions(np.full((64, 64, 3, 3), value))[1]) <= 1


def test_memory_order_does_not_matter() -> None:
    mask = _pruned((16, 16, 3, 3), 0.2)
    assert encode_positions(np.asfortranarray(mask)) == encode_positions(mask)


def test_bad_input_is_refused() -> None:
    with pytest.raises(CodingError, match="a mask is boolean, not int64"):
        encode_positions(np.array([1, 0]))
    with pytest.raises(CodingError, match=r"no position coder is called 'gap'\. Did you mean gaps"):
        encode_positions(np.array([True]), "gap")
    with pytest.raises(CodingError, match="codes masks that are all true or all false"):
        encode_positions(np.array([True, False]), "constant")
    with pytest.raises(CodingError, match="is not a shape"):
        decode_positions("gaps", b"", (3, -1))
    with pytest.raises(CodingError, match="a bitmap of 9 positions has 2 bytes, not 1"):
        decode_positions("bitmap", b"a", (3, 3))
    with pytest.raises(CodingError, match="coded as no byte or the byte 1"):
        decode_positions("constant", b"\2", (3, 3))


def test_gaps_past_the_end_are_refused() -> None:
    mask = np.zeros(1000, bool)
    mask[999] = True
    with pytest.raises(CodingError, match="the gaps run past the last position"):
        decode_positions("gaps", encode_positions(mask, "gaps")[1], (999,))
