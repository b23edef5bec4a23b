"""Weights that int8 holds exactly are found, and no others."""

from __future__ import annotations

import pytest
import torch

from pithnet.tensor import integer_grid


def on_grid(weight: torch.Tensor, top: int) -> torch.Tensor:
    scale = weight.abs().flatten(1).amax(1) / top
    return torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros(len(weight), dtype=torch.int32), 0, -top, top
    )


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (10, 64), (5, 1, 3, 3)])
def test_symmetric_levels_of_any_width_come_back_bit_for_bit(bits: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(bits)
    weight = on_grid(torch.randn(shape), 2 ** (bits - 1) - 1 if bits > 1 else 1)
    found = integer_grid(weight)
    assert found is not None
    codes, steps = found
    assert codes.dtype == torch.int8
    assert codes.shape == weight.shape
    assert torch.equal(codes * steps.view(-1, *[1] * (len(shape) - 1)), weight)


def test_the_step_is_the_largest_there_is() -> None:
    weight = torch.tensor([[0.5, -1.0, 0.0], [0.25, 0.0, 0.25], [0.3, 0.2, -0.1]])
    codes, steps = integer_grid(weight) or pytest.fail("no grid")
    assert codes.tolist() == [[1, -2, 0], [1, 0, 1], [3, 2, -1]]
    assert steps.tolist() == pytest.approx([0.5, 0.25, 0.1])


def test_channels_of_zeros_have_step_one() -> None:
    codes, steps = integer_grid(torch.zeros(3, 4)) or pytest.fail("no grid")
    assert not codes.any()
    assert steps.tolist() == [1, 1, 1]


def test_pruned_weights_stay_zero() -> None:
    torch.manual_seed(0)
    weight = on_grid(torch.randn(4, 3, 3, 3), 7)
    weight[:, 0] = 0
    codes, _ = integer_grid(weight) or pytest.fail("no grid")
    assert torch.equal(codes == 0, weight == 0)


def test_codebooks_and_floats_lie_on_no_grid() -> None:
    torch.manual_seed(0)
    codebook = torch.randn(16)[torch.randint(16, (8, 8, 3, 3))]
    assert integer_grid(codebook) is None
    assert integer_grid(torch.randn(4, 9)) is None


def test_more_levels_than_int8_has_are_refused() -> None:
    weight = torch.arange(-200, 201).float()[None]
    assert integer_grid(weight) is None
    assert integer_grid(weight, limit=200) is not None


def test_the_grid_is_found_where_the_weight_is() -> None:
    weight = on_grid(torch.randn(4, 9), 7)
    with torch.device("meta"):  # where a tensor would go that does not follow the weight
        found = integer_grid(weight)
    assert found is not None
    assert [t.device for t in found] == [weight.device, weight.device]
