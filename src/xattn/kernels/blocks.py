"""Between row-major matrices in the core's memory and panels, by shuffles.

A panel is sixteen rows, cut into pieces of eight bytes (see `panels`). Eight rows' pieces fill a vector: an 8×8 block
for the right of a product, or two 4×8 blocks for its left. Rows come as whole vectors, so that a group of eight rows
has to be transposed in units of pieces.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, Vector, VectorType, View, int8

LEFT = VectorType(int8, 32)  # a 4×8 block
RIGHT = VectorType(int8, 64)  # an 8×8 block, or two 4×8 blocks


def pieces_of_rows(k: Kernel, rows: View, width: int) -> list[Vector]:
    """Eight rows of `width` bytes → for each column of pieces the vector of the eight rows' pieces.

    `rows` has the shape of whole vectors: [8] for 64-byte rows, [2] for 16-byte rows.
    """
    if width == 16:
        return [k.shuffle(f"T64_8x2_{half}", rows[0], rows[1]) for half in ("lo", "hi")]
    return _transposed_pieces(k, rows)


def rows_of_pieces(k: Kernel, pieces: View, width: int) -> list[Vector]:
    """The inverse: one vector of pieces for each column → the vectors of eight rows of `width` bytes."""
    if width == 16:
        return [k.shuffle(f"T64_2x8_{half}", pieces[0], pieces[1]) for half in ("lo", "hi")]
    return _transposed_pieces(k, pieces)


def _transposed_pieces(k: Kernel, vectors: View) -> list[Vector]:
    """The transpose of 8×8 pieces in eight vectors, which is its own inverse."""
    transposed = []
    for side in ("lo", "hi"):  # four vectors at a time: registers are scarcer than loads
        pairs = [k.shuffle(f"T64_2x8_{side}", vectors[2 * i], vectors[2 * i + 1]) for i in range(4)]
        for half in ("lo", "hi"):
            upper = k.shuffle(f"T128_2x4_{half}", pairs[0], pairs[1])
            lower = k.shuffle(f"T128_2x4_{half}", pairs[2], pairs[3])
            transposed += [k.shuffle(f"T256_2x2_{end}", upper, lower) for end in ("lo", "hi")]
    return transposed


def row_panels(k: Kernel, matrix: View, panels: View) -> None:
    """Row-major [rows, width] → panels of rows, 8×8 blocks [rows / 16, width / 8, 2]."""
    rows, width = matrix.shape
    vectors = matrix.blocks(RIGHT, rows // 16, 2, width // 8)
    for i, half in k.grid(rows // 16, 2, name="row panels"):
        for c, block in enumerate(pieces_of_rows(k, vectors[i, half], width)):
            panels[i, c, half] = block


def column_panels(k: Kernel, matrix: View, panels: View) -> None:
    """Row-major [rows, width] → panels of columns, 8×8 blocks [width / 16, rows / 8, 2]."""
    rows, width = matrix.shape
    vectors = matrix.blocks(RIGHT, rows // 8, width // 8)
    for group in k.loop(rows // 8, name="column panels"):
        for c, block in enumerate(pieces_of_rows(k, vectors[group], width)):
            panels[c // 2, group, c % 2] = block


def rows_of_panels(k: Kernel, panels: View, matrix: View) -> None:
    """Panels of rows, 8×8 blocks [rows / 16, width / 8, 2] → row-major [rows, width]."""
    rows, width = matrix.shape
    vectors = matrix.blocks(RIGHT, rows // 16, 2, width // 8)
    panel, piece, block = panels.strides
    pieces = panels.strided(RIGHT, (rows // 16, 2, width // 8), (panel, block, piece))
    for i, half in k.grid(rows // 16, 2, name="rows"):
        for at, row in enumerate(rows_of_pieces(k, pieces[i, half], width)):
            vectors[i, half, at] = row
