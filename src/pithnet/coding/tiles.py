"""Tensors as kernels for `lanes`: how a tensor is cut, and how many kernels are coded side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import NamedTuple

LEAST_LANES = 8
_LARGEST_KERNEL = 25
_TILE_SIZES = (*range(8, 17), 7, 6, 5, 4)


class Cut(NamedTuple):
    """How a tensor is cut into kernels, in C order.

    Attributes:
        rows: Number of output channels.
        columns: Number of kernels in a row.
        positions: Symbols in a kernel.
        width: How many of them lie side by side.
    """

    rows: int
    columns: int
    positions: int
    width: int

    @property
    def kernels(self) -> int:
        """The number of kernels in all."""
        return self.rows * self.columns


def cut_of(shape: tuple[int, ...]) -> Cut:
    """Returns how a tensor that is not empty is cut.

    Kernels of 2 to 25 weights stay whole. Longer ones, and rows of a matrix, are cut into tiles of one size.
    Where no size divides a row, the tensor counts as one row, whose last tile is filled up.

    Args:
        shape: The tensor's shape, without a 0.
    """
    length, kernel = prod(shape[1:]), prod(shape[2:])
    if len(shape) >= 3 and 2 <= kernel <= _LARGEST_KERNEL:
        return Cut(shape[0], shape[1], kernel, shape[-1])
    for size in _TILE_SIZES if len(shape) >= 2 else ():
        if length % size == 0:
            return Cut(shape[0], length // size, size, size)
    return Cut(1, -(-prod(shape) // _TILE_SIZES[0]), _TILE_SIZES[0], _TILE_SIZES[0])


class Block(NamedTuple):
    """A block: kernels that are coded side by side.

    Attributes:
        width: How many kernels, in the first lanes.
        alive: How many lanes there are, of which those beyond the width wait.
    """

    width: int
    alive: int


def runs(blocks: Sequence[Block]) -> list[tuple[Block, int]]:
    """Returns blocks that follow each other and are alike as one of them, and how many they are."""
    return [(block, sum(1 for _ in alike)) for block, alike in groupby(blocks)]


def blocks_of(kernels: int, lanes: int, tail: int) -> list[Block] | None:
    """Returns the blocks in order; None where there are too few kernels for the tail.

    All blocks have one kernel for each lane, but for the last one before the tail, which may have fewer. In
    the tail the lanes become fewer by half, down to LEAST_LANES.

    Args:
        kernels: Kernels in all.
        lanes: Lanes at the start, a power of two.
        tail: Blocks of each width in the tail.
    """
    fewer = [lanes >> n for n in range(1, lanes.bit_length()) if lanes >> n >= LEAST_LANES]
    behind = [Block(width, width) for width in fewer for _ in range(tail)]
    full, rest = divmod(kernels - tail * sum(fewer), lanes)
    if full < 0:
        return None
    return [Block(lanes, lanes)] * full + [Block(rest, lanes)] * (rest > 0) + behind
