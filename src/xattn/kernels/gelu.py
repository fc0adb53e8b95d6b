"""`gelu`: 64 tokens of 64 channels, int8 to int8 (see numerics: layers gelu).

One loop over pieces of eight channels of sixteen tokens, four 4×8 blocks in two vectors of 64 bytes; 32 lanes of 16
bits at a time. Five products a block make the multiplier its bound: 20 cycles for four blocks. Bytes become 16-bit
numbers times 256 by being shuffled with zeros.

Layouts: x and y in panels of rows, `[4, 8, 4]` 4×8 blocks, as products leave and take them; factors by pieces, eight of
them four times over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.language import AccumulatorType, Kernel, VectorType, int8, int16, lane_product, uint16
from xattn.kernels.panels import PIECE
from xattn.numerics.layers import GeluConstants
from xattn.numerics.layers.gelu import MIDDLE_SHIFT

BYTES, HALF = VectorType(int8, 64), VectorType(int8, 32)
LANES = VectorType(int16, 32)
GROUPS, PIECES, PAIRS = 4, 8, 2  # of sixteen tokens, of eight channels, of two 4×8 blocks
NUMBERS = GROUPS * PIECES * PAIRS * BYTES.lanes

ROUND_TO_NEAREST = 9  # crRnd: ties towards +infinity


def gelu(k: Kernel) -> None:
    """y = GELU(x)."""
    x = k.argument("x", BYTES, (GROUPS, PIECES, PAIRS), bank=1)
    constants = k.argument("constants", LANES, (2,), bank=0)
    start = k.argument("start", AccumulatorType(), (1,), bank=0)
    factors = k.argument("factors", LANES, (PIECES,), bank=3)
    y = k.argument("y", HALF, (GROUPS, PIECES, PAIRS, 2), bank=2)
    square, fall, narrow = (k.shift_amount(k.scalar(name)) for name in ("square", "fall", "narrow"))
    middle = k.shift_amount(MIDDLE_SHIFT)
    zero = k.vector_constant("zero", np.zeros(64, np.int8), int8)
    top, one, highest = constants[0].read_as(VectorType(uint16, 32)), constants[1], start[0]
    k.set_control("crSat", 1)
    k.set_control("crRnd", ROUND_TO_NEAREST)
    halves = x.blocks(HALF, GROUPS, PIECES, PAIRS, 2)
    for i, c in k.grid(GROUPS, PIECES, name="pieces"):
        factor = factors[c]
        for pair in range(PAIRS):
            for half, scaled in enumerate(k.scaled_bytes(x[i, c, pair], zero)):
                t = k.excess(top, k.magnitude(scaled)).read_as(LANES)
                quadratic, total, result = (k.accumulator() for _ in range(3))
                quadratic.set(lane_product(t, t))
                q = k.widened(k.narrow(quadratic, square, int16))
                weight = k.widened(k.narrow(k.minus(highest, lane_product(q, q)), fall, int16))
                # loaded again: no value of a pipelined loop may live longer than its interval
                number = k.load_widened(halves.element(i, c, pair, half))
                total.set(lane_product(number, one))
                total += lane_product(k.magnitude(number).read_as(LANES), weight)
                activated = k.widened(k.narrow(total, middle, int16))
                result.set(lane_product(activated, factor))
                y[i, c, pair, half] = k.narrow(result, narrow, int8)
    k.set_control("crSat", 0)
    k.set_control("crRnd", 0)


def gelu_arrays(constants: GeluConstants) -> dict[str, NDArray[np.generic]]:
    """The kernel's arrays of constants."""
    c = constants
    return {
        "constants": np.repeat(np.array([c.top, c.one], np.int16), LANES.lanes),
        "start": np.full(32, c.one << c.fall, np.int32),
        "factors": np.tile(c.factor.reshape(PIECES, 1, PIECE), (1, LANES.lanes // PIECE, 1)),
    }
