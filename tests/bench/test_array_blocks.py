"""Tiles of heads as blocks, in order and from the start again."""

from __future__ import annotations

import numpy as np
import pytest

from xattn.bench.array_blocks import blocks_of
from xattn.bench.peers.peer import Tensors
from xattn.errors import InputError
from xattn.numerics.quantize import quantize

HEADS = np.random.default_rng(4).standard_normal((2, 20, 8)).astype(np.float32)
TENSORS = Tensors(HEADS, 2 * HEADS, -HEADS)


def test_blocks_are_tiles_in_order() -> None:
    q, k, v = blocks_of(TENSORS, {"q": 5, "k": 2, "v": 3}, tokens=8, width=4)
    assert (q.shape, k.shape, v.shape) == ((5, 8, 4), (2, 8, 4), (3, 8, 4))
    assert q.dtype == np.int8
    whole = [quantize(head).values for head in HEADS]
    for number, (head, first) in enumerate([(0, 0), (0, 8), (1, 0), (1, 8), (0, 0)]):
        assert np.array_equal(q[number], whole[head][first : first + 8, :4])
    assert np.array_equal(k, q[:2])
    assert np.array_equal(v[1], quantize(-HEADS[0]).values[8:16, :4])


@pytest.mark.parametrize(("tokens", "width"), [(21, 4), (8, 9)])
def test_blocks_larger_than_a_head_are_refused(tokens: int, width: int) -> None:
    with pytest.raises(InputError, match=f"blocks of {tokens} tokens × {width} channels; a head has 20 × 8"):
        blocks_of(TENSORS, {"q": 1, "k": 1, "v": 1}, tokens, width)
