"""The quartic and the reciprocals of `fused`, for every number that they can meet."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.kernels import exact_weights
from xattn.kernels.exact_weights import (
    EXPONENTIAL_BITS,
    FARTHEST,
    LINEAR_BITS,
    LINEAR_OFFSET,
    RECIPROCAL_BITS,
    SQUARE_OFFSET,
    reciprocals,
)
from xattn.kernels.registry import kernel_spec
from xattn.numerics.lut import INDEX_OFFSET, exp_table

DISTANCES = np.arange(256)
TABLE = exp_table()[INDEX_OFFSET - np.minimum(DISTANCES, INDEX_OFFSET)].astype(int)
KEYS = sorted({tokens for tokens, _ in kernel_spec("fused").shapes})


def quartic(square_offset: int = SQUARE_OFFSET, farthest: int = FARTHEST) -> NDArray[np.int64]:
    """The kernel's exponentials of all distances, and a check that nothing wraps or saturates on the way."""
    near = np.maximum(farthest - DISTANCES, 0).astype(np.int64)
    square = near * near + square_offset
    value = square * square + ((near + LINEAR_OFFSET) << LINEAR_BITS)
    assert (near + LINEAR_OFFSET).max() < 1 << 8 and square.max() < 1 << 15 and value.max() < 1 << 31
    return value >> EXPONENTIAL_BITS


def test_the_quartic_is_the_table_for_every_distance() -> None:
    np.testing.assert_array_equal(quartic(), TABLE)


def test_other_numbers_are_not() -> None:
    for square_offset, farthest in ((SQUARE_OFFSET - 1, FARTHEST), (SQUARE_OFFSET + 1, FARTHEST), (10243, 131)):
        assert (quartic(square_offset, farthest) != TABLE).any()


@pytest.mark.parametrize("keys", KEYS)
def test_every_quotient_is_exact(keys: int) -> None:
    """All exponentials and all sums of which one is the row maximum's."""
    table = reciprocals(keys).astype(np.int64)
    levels = np.unique(TABLE)
    sums = np.arange(64 + 8 * (keys - 1), 64 * keys + 1)
    assert table.size == sums[-1] + 1 and table[sums].min() > 0
    assert (levels.max() * table.max()) < 1 << 31
    quotients = levels * table[sums, np.newaxis] >> RECIPROCAL_BITS
    np.testing.assert_array_equal(quotients, 127 * levels // sums[:, np.newaxis])
    assert quotients.max() < 128  # so that no weight is clamped


def test_sums_that_have_no_reciprocal_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_weights, "RECIPROCAL_BITS", 11)
    with pytest.raises(AssertionError):
        reciprocals(64)
