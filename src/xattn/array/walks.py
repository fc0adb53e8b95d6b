"""Layouts as DMA walks: a permutation of words as nested loops, done by one DMA channel or by two with a stop between.

A walk is a tuple of `Dimension`s, innermost first, as a buffer descriptor takes them. A mem tile's channels have four;
on the way through its memory a matrix can be written in one order and read in another, so most layouts take no time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.array.buffer_descriptor import Dimension
from xattn.array.words import WORD
from xattn.errors import InputError

Permutation = NDArray[np.int64]
Loop = tuple[int, int]  # how often, and the step (words)
_MOST_LOOPS = 7  # of which all orders are tried
_WALK_DIMENSIONS = 4  # of a mem tile's BD


@dataclass(frozen=True)
class TwoWalks:
    """Through a mem tile: what comes in is written in the order of `write`, what goes out is read in that of `read`."""

    write: tuple[Dimension, ...]
    read: tuple[Dimension, ...]


def words_of_bytes(source: Permutation) -> Permutation:
    """A permutation of bytes (`source[i]` is what comes to place i) as one of words; InputError if it splits words."""
    quads = source.reshape(-1, WORD)
    if len(source) % WORD or np.any(quads[:, :1] % WORD) or np.any(quads != quads[:, :1] + np.arange(WORD)):
        raise InputError(
            f"a layout that splits words of {WORD} bytes cannot be made by DMA, which moves words: "
            "let the host do it, or the kernel"
        )
    return quads[:, 0] // WORD


def loops_of(source: Permutation) -> tuple[Loop, ...] | None:
    """The fewest nested loops, innermost first, that visit the words in this order; None if it is no such walk."""
    if len(source) == 1:
        return ()
    step = int(source[1] - source[0])
    run = 1
    while run < len(source) and source[run] - source[0] == run * step:
        run += 1
    for count in range(run, 1, -1):
        if len(source) % count == 0:
            rows = source.reshape(-1, count)
            if np.array_equal(rows, rows[:, :1] + step * np.arange(count)):
                outer = loops_of(rows[:, 0])
                if outer is not None:
                    return ((count, step), *outer)
    return None


def through_memory(source: Permutation) -> TwoWalks:
    """How a mem tile makes this order of words of what comes in row by row.

    InputError when four dimensions on the way in and four on the way out do not do it.
    """
    loops = loops_of(source)
    if loops is not None and len(loops) <= _MOST_LOOPS and sorted(source.tolist()) == list(range(len(source))):
        found = [
            walks for order in itertools.permutations(range(len(loops))) if (walks := _walks(loops, order)) is not None
        ]
        if found:
            return min(found, key=lambda walks: (len(walks.write) + len(walks.read), len(walks.write)))
    raise InputError(
        f"a layout of {'no' if loops is None else len(loops)} nested loops cannot be made through a mem tile, "
        f"with {_WALK_DIMENSIONS} dimensions in and {_WALK_DIMENSIONS} out: let the host make it"
    )


def _walks(loops: Sequence[Loop], order: Sequence[int]) -> TwoWalks | None:
    """The two walks, if the loops lie in memory in this order, innermost first."""
    steps = [0] * len(loops)
    step = 1
    for index in order:
        steps[index] = step
        step *= loops[index][0]
    incoming = sorted(range(len(loops)), key=lambda index: loops[index][1])
    write = _merged([(loops[index][0], steps[index]) for index in incoming])
    read = _merged([(loops[index][0], steps[index]) for index in range(len(loops))])
    if len(write) > _WALK_DIMENSIONS or len(read) > _WALK_DIMENSIONS:
        return None
    return TwoWalks(dimensions(write), dimensions(read))


def _merged(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """Loops of which one continues where the other ends are one loop."""
    out: list[Loop] = []
    for count, step in loops:
        if out and step == out[-1][0] * out[-1][1]:
            out[-1] = (out[-1][0] * count, out[-1][1])
        else:
            out.append((count, step))
    return tuple(out)


def dimensions(loops: Sequence[Loop]) -> tuple[Dimension, ...]:
    """A walk as a BD's dimensions: the outermost one runs until the length is reached, a plain walk has none."""
    if not loops or (len(loops) == 1 and loops[0][1] == 1):
        return ()
    inner = [Dimension(step, count) for count, step in loops[:-1]]
    return (*inner, Dimension(loops[-1][1]))


def walked(words: int, walk: Sequence[Dimension]) -> Permutation:
    """The addresses (words) that a BD of this length visits, in order."""
    if not walk:
        return np.arange(words)
    addresses = np.zeros(words, dtype=np.int64)
    turn = np.arange(words)
    for dimension in walk:
        wrap = dimension.wrap or words
        addresses += turn % wrap * dimension.step
        turn //= wrap
    return addresses
