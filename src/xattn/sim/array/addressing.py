"""Which words a buffer descriptor moves, in which order.

The dimensions are a nest of loops, the innermost first: dimension n makes `wrap` turns of `step` words each, and one
without a wrap turns until the length is reached. Zero padding (mem tiles, to the stream) puts zeros before and after
the turns of dimensions 0 to 2, in units of what one turn sends; the length counts them too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.array.buffer_descriptor import BufferDescriptor

PADDING = -1
Offsets = NDArray[np.int64]


def word_offsets(bd: BufferDescriptor, iteration: int = 0) -> Offsets:
    """For each word of the transfer its offset from the BD's address, in words; `PADDING` where a zero is sent.

    `iteration`: how often the BD was used since its iteration counter was 0.
    """
    rest = np.arange(bd.length, dtype=np.int64)
    offsets = np.full(bd.length, iteration * bd.iteration.step, np.int64)
    padded = np.zeros(bd.length, bool)
    for step, wrap, before, after in _loops(bd):
        if not wrap:
            turn = rest - before
            padded |= turn < 0
            offsets += turn * step
            break
        turn, rest = rest % (before + wrap + after) - before, rest // (before + wrap + after)
        padded |= (turn < 0) | (turn >= wrap)
        offsets += turn * step
    offsets[padded] = PADDING
    return offsets


def _loops(bd: BufferDescriptor) -> list[tuple[int, int, int, int]]:
    """(step, wrap, zeros before, zeros after) of each dimension; the last one has no wrap."""
    zeros = [*zip(bd.zero_before, bd.zero_after, strict=True), (0, 0), (0, 0)]
    dimensions = [(dimension.step, dimension.wrap) for dimension in bd.dimensions] + [(1, 0)]
    return [(step, wrap, *zeros[n]) for n, (step, wrap) in enumerate(dimensions)]
