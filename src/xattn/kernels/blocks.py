"""Between row-major matrices and the blocks that the multiplier eats, by shuffles.

The multiplier takes 4×8 blocks (32 bytes) on its left and 8×8 blocks (64 bytes) on its right, each row-major. Eight
rows of a row-major matrix become eight-row columns of 8-byte pieces; two 4×8 blocks lie in each.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, Vector, VectorType, View, int8

ROW = VectorType(int8, 64)
LEFT = VectorType(int8, 32)  # a 4×8 block
RIGHT = VectorType(int8, 64)  # an 8×8 block


def pieces_of_rows(k: Kernel, rows: View, width: int) -> list[Vector]:
    """Eight rows of `width` bytes → for each 8-byte column piece the vector of the eight rows' pieces.

    `rows` has the shape of whole vectors: [8] for 64-byte rows, [2] for 16-byte rows.
    """
    if width == 16:
        return [k.shuffle(f"T64_8x2_{half}", rows[0], rows[1]) for half in ("lo", "hi")]
    pieces = []
    for side in ("lo", "hi"):  # four pieces at a time: registers are scarcer than loads
        pairs = [k.shuffle(f"T64_2x8_{side}", rows[2 * i], rows[2 * i + 1]) for i in range(4)]
        for half in ("lo", "hi"):
            upper = k.shuffle(f"T128_2x4_{half}", pairs[0], pairs[1])
            lower = k.shuffle(f"T128_2x4_{half}", pairs[2], pairs[3])
            pieces += [k.shuffle(f"T256_2x2_{end}", upper, lower) for end in ("lo", "hi")]
    return pieces


def left_blocks(k: Kernel, matrix: View, blocks: View) -> None:
    """Row-major [rows, width] → 4×8 blocks [rows / 4, width / 8]."""
    rows, width = matrix.shape
    vectors = matrix.blocks(ROW, rows // 8, width // 8)
    for group in k.loop(rows // 8, name="left blocks"):
        for c, piece in enumerate(pieces_of_rows(k, vectors[group], width)):
            upper, lower = k.halves(piece, LEFT)
            blocks[group * 2, c] = upper
            blocks[group * 2 + 1, c] = lower


def transposed_right_blocks(k: Kernel, matrix: View, blocks: View) -> None:
    """Row-major [rows, width] → 8×8 blocks of its transpose, [rows / 8, width / 8]."""
    rows, width = matrix.shape
    vectors = matrix.blocks(ROW, rows // 8, width // 8)
    for group in k.loop(rows // 8, name="right blocks"):
        for c, piece in enumerate(pieces_of_rows(k, vectors[group], width)):
            blocks[group, c] = k.shuffle("T8_8x8", piece)
