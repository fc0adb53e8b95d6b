"""The division that ends attention, as a core does it: by a table, and a shift for each row.

    z = leading zeros of the running sum l            l < 2^(32 − z) ≤ 2l
    a = sat16(accumulator >> (24 − z))                |accumulator| ≤ 128·l fills 16 bits, whatever l is
    y = sat8((a · reciprocal) >> (22 − gain))         2^15 over what the leading ones of l stand for

The reciprocal comes from a table of 512 entries, read at the ten leading bits of l: 0.1 % off at most. Weights are such
that the heaviest key of a row has 128 or more, so that l is at least that; rows that saw no key have no place here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.rounding import saturate, shift_right
from xattn.numerics.sound import SoundState

INDEX_BITS = 9  # below the leading one
LEAST_SUM = 128
ACCUMULATOR_ZEROS = 24
LAST_SHIFT = 22
MAX_GAIN = 15


def reciprocal_table() -> NDArray[np.int16]:
    """int16 `[512]`: 2^15 / m in the middle of each interval of m from 1 to 2."""
    entries = 1 << INDEX_BITS
    return np.rint(2.0**15 / (1 + (np.arange(entries) + 0.5) / entries)).astype(np.int16)


def attention_end(state: SoundState, gain: int) -> NDArray[np.int8]:
    """Divide: `accumulator * 2**gain / running_sum`, within a step of the exact `finish_int8`.

    Args:
        state: after the last key block.
        gain: 0 to 15; O's scale is V's divided by `2**gain`.

    Returns:
        `[..., queries, width]` int8.

    Raises:
        InputError: `gain` out of range, or rows whose running sum is below 128.
    """
    if not 0 <= gain <= MAX_GAIN:
        raise InputError(f"gain is {gain}, expected 0 to {MAX_GAIN}")
    total = state.running_sum.astype(np.int64)
    if (total < LEAST_SUM).any():
        few = int((total < LEAST_SUM).sum())
        raise InputError(f"{few} rows have running sums below {LEAST_SUM}: they saw no key, or not by this scheme")
    zeros = 31 - np.floor(np.log2(total.astype(np.float64))).astype(np.int64)
    index = ((total << zeros) >> (31 - INDEX_BITS)) - (1 << INDEX_BITS)
    reciprocal = reciprocal_table()[index].astype(np.int64)[..., np.newaxis]
    down = (ACCUMULATOR_ZEROS - zeros)[..., np.newaxis]
    narrow = saturate(shift_right(state.accumulator.astype(np.int64), down, "half_up"), np.int16)
    result: NDArray[np.int8] = saturate(
        shift_right(narrow.astype(np.int64) * reciprocal, LAST_SHIFT - gain, "half_up"), np.int8
    )
    return result
