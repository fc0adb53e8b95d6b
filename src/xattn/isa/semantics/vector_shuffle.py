"""VSHUFFLE: fixed permutations of one or two vector registers, chosen by a mode number.

Of the 48 modes 47 transpose matrices: the 1024 bits s2:s1 are cut into blocks of rows x cols elements, and every block,
read as a row-major matrix, is written as its transpose. The result is the low or the high half. Modes 48 to 63 are
undefined. The modes are those of the public AIE2 intrinsics; those recorded on a Phoenix core agree.
"""

from __future__ import annotations

from typing import NamedTuple

from xattn.isa.semantics.lanes import Value, by_value, concat, const, splat, undefined
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_arithmetic import lane_bits

VECTOR_BITS = 512
MODE_BITS = 6


class Transpose(NamedTuple):
    """Transpose rows x cols matrices of elements of `bits`; `half` of the 1024 bits is the result."""

    bits: int
    rows: int
    cols: int
    half: int = 0


SWAP_16_MODE = 38  # swaps the two 16-bit halves of every 32-bit word of the first source


def _both(bits: int, rows: int, cols: int) -> tuple[Transpose, Transpose]:
    return Transpose(bits, rows, cols, 0), Transpose(bits, rows, cols, 1)


TRANSPOSES: dict[int, Transpose] = dict(
    enumerate(
        (
            *_both(8, 64, 2),
            *_both(16, 32, 2),
            *_both(32, 16, 2),
            *_both(64, 8, 2),
            *_both(128, 4, 2),
            *_both(256, 2, 2),
            *_both(128, 2, 4),
            *_both(64, 2, 8),
            *_both(32, 2, 16),
            *_both(16, 2, 32),
            *_both(8, 2, 64),
            *_both(512, 1, 2),
            *_both(16, 16, 4),
            *_both(16, 4, 16),
            Transpose(16, 8, 4),
            Transpose(16, 4, 8),
            *_both(32, 8, 4),
            *_both(32, 4, 8),
            Transpose(32, 4, 4),
            Transpose(8, 8, 8),
            Transpose(8, 16, 4),
            Transpose(8, 4, 16),
        )
    )
) | dict(
    enumerate(
        (
            Transpose(16, 4, 4),
            Transpose(16, 4, 2),
            Transpose(16, 2, 4),
            Transpose(16, 8, 2),
            Transpose(16, 2, 8),
            Transpose(16, 16, 2),
            Transpose(16, 2, 16),
            Transpose(8, 8, 4),
            Transpose(8, 4, 8),
        ),
        start=SWAP_16_MODE + 1,
    )
)


def source_lane(mode: Transpose, lane: int) -> int:
    """Which element of s2:s1 stands in `lane` of the 1024-bit result."""
    block, place = divmod(lane, mode.rows * mode.cols)
    col, row = divmod(place, mode.rows)
    return block * mode.rows * mode.cols + row * mode.cols + col


def _shuffled(number: int, low: Value, high: Value) -> Value:
    """The result for one mode; sources and result as one lane of 512 bits."""
    if number == SWAP_16_MODE:
        words = low.cut(16)
        return words.take(k ^ 1 for k in range(words.lanes)).cast(1, VECTOR_BITS)
    if number not in TRANSPOSES:
        return undefined(1, VECTOR_BITS, f"vshuffle mode {number} is undefined: use modes 0 to 47")
    mode = TRANSPOSES[number]
    lanes = VECTOR_BITS // mode.bits
    pair = concat(low.cut(mode.bits), high.cut(mode.bits))
    first = mode.half * lanes
    return pair.take(source_lane(mode, k) for k in range(first, first + lanes)).cast(1, VECTOR_BITS)


@means("VSHUFFLE")
def _shuffle(i: Operation) -> None:
    i.write("dst", by_value(i.read("mod").trunc(MODE_BITS), _shuffled, i.read("s1"), i.read("s2")))


@means("VBCSTSHFL_*")
def _broadcast_and_shuffle(i: Operation) -> None:
    """A scalar in every lane, shuffled with zeros as the second source."""
    bits = lane_bits(i)
    low = splat(i.read("s0").trunc(bits), VECTOR_BITS // bits).cast(1, VECTOR_BITS)
    i.write("dst", by_value(i.read("idx").trunc(MODE_BITS), _shuffled, low, const(0, VECTOR_BITS)))
