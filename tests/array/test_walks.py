"""DMA walks: permutations as nested loops, and layouts through a mem tile, against what numpy says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import Dimension
from xattn.array.walks import dimensions, loops_of, through_memory, walked, words_of_bytes
from xattn.errors import InputError


def transposed(shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """Source index for each place of an array of `shape` whose axes are put in another order."""
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(order).reshape(-1)


SHAPES = st.lists(st.integers(2, 5), min_size=1, max_size=4).map(tuple)


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), st.permutations(range(len(shape))))))
def test_loops_visit_the_words_in_order(case: tuple[tuple[int, ...], list[int]]) -> None:
    source = transposed(case[0], tuple(case[1]))
    loops = loops_of(source)
    assert loops is not None
    visited = [0]
    for count, step in loops:
        visited = [address + step * turn for turn in range(count) for address in visited]
    # Innermost first: the later loops are the outer ones, so their turns come last.
    assert visited == source.tolist()
    assert len(loops) <= len(case[0])


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), st.permutations(range(len(shape))))))
def test_a_stop_in_memory_makes_any_order_of_four_axes(case: tuple[tuple[int, ...], list[int]]) -> None:
    source = transposed(case[0], tuple(case[1]))
    walks = through_memory(source)
    assert len(walks.write) <= 4
    assert len(walks.read) <= 4
    memory = np.zeros(len(source), dtype=int)
    memory[walked(len(source), walks.write)] = np.arange(len(source))
    assert memory[walked(len(source), walks.read)].tolist() == source.tolist()


def test_six_axes_can_need_both_walks() -> None:
    """A product's 16×16 tiles of 4×8 blocks, as row-major words: neither channel alone has the dimensions."""
    source = transposed((4, 4, 4, 2, 4, 2), (0, 2, 4, 1, 3, 5))
    walks = through_memory(source)
    assert walks.write and walks.read
    memory = np.zeros(1024, dtype=int)
    memory[walked(1024, walks.write)] = np.arange(1024)
    assert memory[walked(1024, walks.read)].tolist() == source.tolist()


def test_plain_orders_need_no_dimensions() -> None:
    walks = through_memory(np.arange(48))
    assert (walks.write, walks.read) == ((), ())
    assert dimensions(((48, 1),)) == ()
    assert dimensions(((4, 1), (3, 8))) == (Dimension(1, 4), Dimension(8))


def test_what_dma_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="splits words of 4 bytes"):
        words_of_bytes(transposed((8, 8), (1, 0)))
    with pytest.raises(InputError, match="of no nested loops"):
        through_memory(np.array([0, 2, 1, 3, 5, 4, 7, 6]))
    with pytest.raises(InputError, match="let the host make it"):
        through_memory(transposed((2, 2, 2, 2, 2, 2, 2, 2), (7, 6, 5, 4, 3, 2, 1, 0)))
    assert loops_of(np.array([0, 3, 1])) is None


def test_words_of_bytes_counts_words() -> None:
    assert words_of_bytes(transposed((4, 2, 4), (1, 0, 2))).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
