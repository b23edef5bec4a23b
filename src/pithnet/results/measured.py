"""measurements.json and plan.json of a run: spreads of weights, places of zeros, and what was expected."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, PositiveInt

from pithnet.errors import PithError

_MOST_CELLS = 1024


class Grid(BaseModel):
    """Share of non-zeros of each kernel, or block of kernels: a byte each, rows * columns, base64 of zlib."""

    rows: Annotated[int, Field(ge=1, le=_MOST_CELLS)]
    columns: Annotated[int, Field(ge=1, le=_MOST_CELLS)]
    shares: str

    def cells(self) -> NDArray[np.uint8]:
        """Returns the shares as bytes (rows, columns): 0 is empty, 255 is full.

        Raises:
            PithError: The number of bytes is not rows * columns.
        """
        size = self.rows * self.columns
        try:
            data = zlib.decompressobj().decompress(base64.b64decode(self.shares, validate=True), size + 1)
        except (binascii.Error, zlib.error, ValueError):
            data = b""
        if len(data) != size:
            raise PithError("measurements.json is damaged: a picture of zeros has not the size it claims")
        return np.frombuffer(data, np.uint8).reshape(self.rows, self.columns)


class Empty(BaseModel):
    """How many kernels, rows (outputs) and columns (inputs) of a weight are all zero."""

    kernels: NonNegativeInt
    rows: NonNegativeInt
    columns: NonNegativeInt


class Spread(BaseModel):
    """How the values of one weight tensor are spread, and where its zeros are.

    Attributes:
        name: The tensor's name in the state_dict.
        shape: Its shape.
        low: The lower end of the bins.
        high: The upper end of the bins.
        before: The weights in each of the equal bins, of the float model; None where its shape is another.
        after: The non-zero weights in each of the equal bins, of the compressed model.
        levels: The distinct non-zero values with their counts; None where there are too many.
        grid: The share of non-zeros of each kernel.
        empty: How much of the tensor is zero as a whole.
    """

    name: str
    shape: list[PositiveInt]
    low: FiniteFloat
    high: FiniteFloat
    before: list[NonNegativeInt] | None
    after: Annotated[list[NonNegativeInt], Field(min_length=1)]
    levels: list[tuple[FiniteFloat, NonNegativeInt]] | None
    grid: Grid
    empty: Empty

    @property
    def weights(self) -> int:
        """How many weights there are."""
        return math.prod(self.shape)

    @property
    def kept(self) -> int:
        """Weights that are not zero."""
        return sum(self.after)


class Measurements(BaseModel):
    """The content of measurements.json."""

    layers: list[Spread]


class PlannedLayer(BaseModel):
    """The bytes that a layer was expected to take."""

    name: str
    bytes: NonNegativeInt


class Plan(BaseModel):
    """The content of plan.json: bytes, and MACs where they are known, expected before the training."""

    recipe: str | None = None
    bytes: NonNegativeInt
    macs: NonNegativeInt | None = None
    full_macs: NonNegativeInt | None = None
    layers: list[PlannedLayer]
