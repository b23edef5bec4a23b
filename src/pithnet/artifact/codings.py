"""The codings of float32 values, by their numbers in a file."""

from __future__ import annotations

from pithnet.artifact.column_grids import ColumnGrid
from pithnet.artifact.grids import Fixed, FixedEach, Grid, Palette
from pithnet.artifact.plain import Constant, Floating, Raw16
from pithnet.artifact.row_grids import RowGrid
from pithnet.artifact.values import Coding

# 0 and 1 are the record's own: raw and deflated bytes of any dtype. A number never gets another meaning.
CODINGS: dict[int, Coding] = {
    2: Raw16(),
    3: Constant(),
    4: Floating(),
    5: Fixed(),
    6: FixedEach(),
    7: Grid(),
    8: Palette(),
    9: RowGrid(),
    10: ColumnGrid(),
}
