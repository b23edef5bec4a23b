"""Integers times a scale for each column: channels on the second axis, as in GPT-2's linear layers."""

from __future__ import annotations

import numpy as np

from pithnet.artifact.row_grids import RowGrid
from pithnet.artifact.row_scales import row_multiples
from pithnet.artifact.values import Block, Plan, Sites
from pithnet.artifact.wire import Cursor
from pithnet.errors import ArtifactError

_VALUE_WORK = 6  # on its way to its column and back


class ColumnGrid(RowGrid):
    """A `RowGrid` whose rows are columns: the indices of the last axis, in 3-D for each of the first.

    Symbols stand in C order all the same, so entropy coders see the neighbours that they would see anyway.
    """

    name = "column-grid"

    def in_rows(self, sites: Sites) -> tuple[Sites, np.ndarray | None]:
        columns = np.swapaxes(sites.mask, -1, -2)
        place = np.cumsum(sites.mask.reshape(-1)).reshape(sites.mask.shape) - 1
        order = np.swapaxes(place, -1, -2)[columns]
        return Sites(columns.reshape(-1, columns.shape[-1]), sites.counts), order

    def plan(self, block: Block) -> Plan | None:
        shape = block.sites.mask.shape
        # Where there is one column, or one value in each, rows say the same.
        if len(shape) not in (2, 3) or min(shape[-2:]) < 2 or not block.values.size or not _may_fit(block):
            return None
        return super().plan(block)

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        if sites.mask.ndim not in (2, 3):
            raise ArtifactError("has a scale per column, but its numbers stand in no columns")
        cursor.spend(_VALUE_WORK * sites.mask.size)
        return super().read(cursor, sites)


def _may_fit(block: Block) -> bool:
    """Tells whether the first column is on a grid, which is seen before all of them are put in order."""
    shape = block.sites.mask.shape
    first = block.sites.mask.reshape(-1, *shape[-2:])[0]
    counts = np.count_nonzero(first, axis=1)
    places = (np.cumsum(counts) - counts)[first[:, 0]]
    return not places.size or row_multiples(block.values[places][None]) is not None
