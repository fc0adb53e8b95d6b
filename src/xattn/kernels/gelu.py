"""`gelu`: 4,096 numbers of 8 bits, each on its own, so that any layout will do (see numerics: layers gelu).

One loop over vectors of 64 bytes, two halves of 32 lanes of 16 bits each. Four products a half make the multiplier its
bound: 8 cycles for 64 numbers. Bytes become 16-bit numbers times 256 by being shuffled with zeros.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.language import AccumulatorType, Kernel, VectorType, int8, int16, lane_product, uint16
from xattn.numerics.layers import GeluConstants

BYTES, HALF = VectorType(int8, 64), VectorType(int8, 32)
LANES = VectorType(int16, 32)
NUMBERS = 4096

ROUND_TO_NEAREST = 9  # crRnd: ties towards +infinity


def gelu(k: Kernel) -> None:
    """y = GELU(x)."""
    blocks = NUMBERS // BYTES.bytes
    x = k.argument("x", BYTES, (blocks,), bank=1)
    constants = k.argument("constants", LANES, (2,), bank=0)
    start = k.argument("start", AccumulatorType(), (1,), bank=0)
    y = k.argument("y", HALF, (blocks, 2), bank=2)
    square, fall, narrow = (k.shift_amount(k.scalar(name)) for name in ("square", "fall", "narrow"))
    zero = k.vector_constant("zero", np.zeros(64, np.int8), int8)
    top, slope, highest = constants[0].read_as(VectorType(uint16, 32)), constants[1], start[0]
    k.set_control("crSat", 1)
    k.set_control("crRnd", ROUND_TO_NEAREST)
    halves = x.blocks(HALF, blocks, 2)
    for i in k.loop(blocks, unroll=2, name="blocks"):
        for half, scaled in enumerate(k.scaled_bytes(x[i], zero)):
            t = k.excess(top, k.magnitude(scaled)).read_as(LANES)
            quadratic = k.accumulator()
            quadratic.set(lane_product(t, t))
            q = k.widened(k.narrow(quadratic, square, int16))
            weight = k.widened(k.narrow(k.minus(highest, lane_product(q, q)), fall, int16))
            # loaded again: no value of a pipelined loop may live longer than its interval
            number = k.load_widened(halves.element(i, half))
            result = k.accumulator()
            result.set(lane_product(number, slope))
            result += lane_product(k.magnitude(number).read_as(LANES), weight)
            y[i, half] = k.narrow(result, narrow, int8)
    k.set_control("crSat", 0)
    k.set_control("crRnd", 0)


def gelu_arrays(constants: GeluConstants) -> dict[str, NDArray[np.generic]]:
    """The kernel's arrays of constants."""
    lanes = np.repeat(np.array([constants.top, constants.slope], np.int16), LANES.lanes)
    return {"constants": lanes, "start": np.full(32, constants.slope << constants.fall, np.int32)}
