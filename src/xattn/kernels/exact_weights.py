"""The weights of the LUT softmax without table look-ups per element and without division, bit for bit the same.

Exponential. The model's table (numerics: compat lut) is trunc(64·exp(−d/64)) for a score d below its row's maximum, d
capped at 128. With n = max(132 − d, 0), how near the score is, the same numbers are

    e = ((n² + 10243)² + (n + 15)·2²¹) >> 24

for every d from 0 to 255: a quartic close to the exponential whose floor is the table. It has no cubic term at just
this centre, its leading coefficient is a power of two and so is, by luck, the linear one: two multiplications.

Division. A weight is floor(127·e / sum). There is a reciprocal for every sum that the exponentials of a row can have
such that (e·reciprocal) >> 14 is that quotient for all exponentials: few different e leave room to round it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.numerics.compat.softmax import WEIGHT_ONE
from xattn.numerics.lut import INDEX_OFFSET, exp_table

FARTHEST = 132  # from this distance on, all exponentials are the same
SQUARE_OFFSET = 10243
LINEAR_OFFSET, LINEAR_BITS = 15, 21
EXPONENTIAL_BITS = 24
RECIPROCAL_BITS = 14


def reciprocals(keys: int) -> NDArray[np.int16]:
    """int16 `[largest + 1]`: the smallest reciprocal that is right for each sum of `keys` exponentials; 0 for others.

    AssertionError if there is none for some sum.
    """
    levels = np.unique(exp_table()[: INDEX_OFFSET + 1]).astype(np.int64)
    least, most = int(levels.min()), int(levels.max())
    sums = np.arange(most + least * (keys - 1), most * keys + 1)  # the maximum is one of a row's scores
    quotients = WEIGHT_ONE * levels // sums[:, np.newaxis]
    smallest = (-(-(quotients << RECIPROCAL_BITS) // levels)).max(axis=1)
    largest = ((((quotients + 1) << RECIPROCAL_BITS) - 1) // levels).min(axis=1)
    assert (smallest <= largest).all() and smallest.max() < 1 << 15
    return np.concatenate([np.zeros(sums[0], np.int64), smallest]).astype(np.int16)
