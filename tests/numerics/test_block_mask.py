"""What a block's mask says of each query and key."""

from __future__ import annotations

import numpy as np
import pytest

from xattn.numerics.sound import BlockMask


def test_without_a_diagonal_all_queries_see_the_same_keys() -> None:
    keys = np.array([True, False, True])
    np.testing.assert_array_equal(BlockMask(keys).visible(5), [[True, False, True]])


@pytest.mark.parametrize("diagonal", [-4, -3, -1, 0, 2, 5])
def test_a_query_sees_the_keys_up_to_the_diagonal_that_count(diagonal: int) -> None:
    keys = np.array([True, True, False, True, True, True])
    seen = BlockMask(keys, diagonal).visible(4)
    assert seen.shape == (4, 6)
    for query in range(4):
        for key in range(6):
            assert seen[query, key] == (key != 2 and key <= query + diagonal)
