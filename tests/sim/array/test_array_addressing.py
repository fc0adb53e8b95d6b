"""The words that a buffer descriptor moves, against loops written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, Iteration, decode_bd, encode_bd
from xattn.array.registers import TileKind
from xattn.sim.array.addressing import PADDING, word_offsets


def plain(bd: BufferDescriptor, uses: int) -> list[int]:
    """The same by nested loops, one word at a time."""
    loops = [(d.step, d.wrap) for d in bd.dimensions] + [(1, 0)]
    pads = [*zip(bd.zero_before, bd.zero_after, strict=True), (0, 0), (0, 0)]

    def size(level: int) -> int:
        return 1 if level < 0 else (pads[level][0] + loops[level][1] + pads[level][1]) * size(level - 1)

    def turns(level: int, base: int) -> Iterator[int]:
        if level < 0:
            yield base
            return
        (step, wrap), (before, after) = loops[level], pads[level]
        for _ in range(before * size(level - 1)):
            yield PADDING
        for turn in itertools.count() if wrap == 0 else range(wrap):
            yield from turns(level - 1, base + turn * step)
        for _ in range(after * size(level - 1)):
            yield PADDING

    outermost = next(level for level, (_, wrap) in enumerate(loops) if wrap == 0)
    return list(itertools.islice(turns(outermost, uses * bd.iteration.step), bd.length))


dimension = st.builds(Dimension, step=st.integers(1, 40), wrap=st.integers(1, 7))
iteration = st.builds(Iteration, step=st.integers(1, 64), count=st.integers(1, 8))
zeros = st.tuples(*[st.integers(0, 3)] * 3)


@given(
    st.integers(0, 300),
    st.lists(dimension, max_size=2),
    st.integers(1, 40),
    iteration,
    st.integers(0, 7),
)
def test_core_and_shim_tiles_walk_like_nested_loops(length, inner, step, turns, uses) -> None:
    uses %= turns.count
    bd = BufferDescriptor(length=length, dimensions=(*inner, Dimension(step)), iteration=turns)
    for kind in (TileKind.CORE, TileKind.SHIM):
        encoded = decode_bd(kind, encode_bd(kind, bd))
        assert list(word_offsets(encoded, uses)) == plain(bd, uses)


@given(st.integers(0, 400), st.lists(dimension, max_size=3), st.integers(1, 40), zeros, zeros)
def test_mem_tiles_walk_and_pad_like_nested_loops(length, inner, step, before, after) -> None:
    padded = len(inner)  # a dimension without a wrap has no zeros behind it
    bd = BufferDescriptor(
        length=length,
        dimensions=(*inner, Dimension(step)),
        zero_before=before,
        zero_after=tuple(n if level < padded else 0 for level, n in enumerate(after)),  # type: ignore[arg-type]
    )
    encoded = decode_bd(TileKind.MEM, encode_bd(TileKind.MEM, bd))
    assert list(word_offsets(encoded)) == plain(bd, 0)


def test_a_transpose_by_hand() -> None:
    # 3 rows of 4 words, read by columns
    bd = BufferDescriptor(length=12, dimensions=(Dimension(4, 3), Dimension(1)))
    assert list(word_offsets(bd)) == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_padding_by_hand() -> None:
    # 2 rows of 3 words, a zero before and two behind each row, a row of zeros above: 6 + 12 words
    bd = BufferDescriptor(
        length=18, dimensions=(Dimension(1, 3), Dimension(10)), zero_before=(1, 1, 0), zero_after=(2, 0, 0)
    )
    z = PADDING
    assert list(word_offsets(bd)) == [z] * 6 + [z, 0, 1, 2, z, z] + [z, 10, 11, 12, z, z]


@pytest.mark.parametrize("uses", [0, 1, 5])
def test_iteration_moves_the_start(uses: int) -> None:
    bd = BufferDescriptor(length=4, iteration=Iteration(step=100, count=6))
    assert np.array_equal(word_offsets(bd, uses), np.arange(4) + 100 * uses)
