"""Panels: the block layout in which matrices stream through the multiplier without any address arithmetic.

A panel is sixteen rows of a row-major matrix, cut into 8-byte pieces: for each piece the sixteen rows' bytes lie
together. As left operands these are four 4×8 blocks, as right operands (the transpose of rows, or rows as they are) two
8×8 blocks. A DMA buffer descriptor makes them from row-major host memory: runs of 8 bytes, row step `width`.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

PANEL_ROWS = 16
PIECE = 8

Int8 = NDArray[np.int8]
Number = TypeVar("Number", bound=np.generic)


def to_panels(matrix: NDArray[Number]) -> NDArray[Number]:
    """`[rows, width]` → `[rows / 16, width / 8, 16, 8]`: panels of rows."""
    rows, width = matrix.shape
    cut = matrix.reshape(rows // PANEL_ROWS, PANEL_ROWS, width // PIECE, PIECE)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3))


def from_panels(panels: NDArray[Number], rows: int, width: int) -> NDArray[Number]:
    """Row-major `[rows, width]` from panels of rows."""
    cut = panels.reshape(rows // PANEL_ROWS, width // PIECE, PANEL_ROWS, PIECE)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(rows, width)


def to_column_panels(matrix: Int8) -> Int8:
    """int8 `[rows, columns]` → `[columns / 16, rows / 8, 2, 8, 8]`: panels of columns, 8×8 blocks row-major."""
    rows, columns = matrix.shape
    cut = matrix.reshape(rows // PIECE, PIECE, columns // PANEL_ROWS, 2, PIECE)
    return np.ascontiguousarray(cut.transpose(2, 0, 3, 1, 4))


def from_tiles(tiles: Int8, rows: int, columns: int) -> Int8:
    """Row-major `[rows, columns]` from tiles of 16×16 stored as `[rows / 16, columns / 16, 4, 2, 4, 8]` 4×8 blocks."""
    cut = tiles.reshape(rows // PANEL_ROWS, columns // PANEL_ROWS, 4, 2, 4, PIECE)
    return np.ascontiguousarray(cut.transpose(0, 2, 4, 1, 3, 5)).reshape(rows, columns)
