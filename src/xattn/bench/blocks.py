"""A block of flash attention in mid-sequence: 64 keys of a head, after a state that has attended to others of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.bench.activations import Activations, Tile, cut_tile, require_tile
from xattn.errors import InputError
from xattn.kernels.registry import KernelSpec
from xattn.numerics.compat import DEFAULT_SHIFT
from xattn.numerics.reference import logits, softmax
from xattn.numerics.sound import (
    BLOCK,
    BlockMask,
    SoundOperands,
    SoundState,
    init_state,
    process_block,
    quantize_operands,
)
from xattn.numerics.sound.steps import block_reference, scores

Mask = NDArray[np.bool_]


def tile_for(
    spec: KernelSpec, activations: Activations, first: int, tokens: int, width: int, shift: int = DEFAULT_SHIFT
) -> Tile:
    """The tile from token `first` on that a kernel is measured on; errors as in `cut_tile` and `cut_block`.

    `shift` is that of the scores; a block has its own, which follows from the scales.
    """
    if spec.carries_state:
        mask = _mask_for(spec, len(activations.k))
        return cut_block(activations, first, rising=spec.rising, mask=mask)
    return cut_tile(activations, first, tokens, width, shift)


def _mask_for(spec: KernelSpec, keys: int) -> BlockMask | None:
    """What a kernel with a mask is for: the last block of the head's keys, or one that the diagonal runs through."""
    if not spec.takes_mask:
        return None
    if spec.takes_diagonal:
        return BlockMask(np.ones(BLOCK, np.bool_), 0)
    return BlockMask(np.arange(BLOCK) < (keys % BLOCK or BLOCK))


def cut_block(activations: Activations, first: int, *, rising: bool, mask: BlockMask | None = None) -> Tile:
    """Tokens `first` to `first + 63` as queries, 64 keys of the head, and the state that other keys of it have left.

    Scales are those of sound attention, for the whole head. Keys are a set, so that either situation can be made of
    real ones:

    - no row's reference rises: the block holds the next 64 keys after the queries' own that are no row's best key, and
      the state has attended to all others;
    - every row's does: the block holds the queries' own keys, and the state has attended, row by row, to those others
      that lie below the reference to which the block lifts the row.

    With a mask, the block holds zeros where keys do not count, and the state has attended to those instead; not to keys
    that only some queries may see.

    InputError when the head has no such tokens, or too few for a block and a state.
    """
    require_tile(activations, first, BLOCK, BLOCK)
    operands = quantize_operands(activations.q, activations.k, activations.v, scaling=1.0)
    shift = int(operands.shift.item())
    queries = slice(first, first + BLOCK)
    found = scores(operands.q[queries], operands.k, shift)
    block = np.arange(first, first + BLOCK) if rising else _no_best_keys(found, first + BLOCK)
    counts = np.ones(BLOCK, np.bool_) if mask is None else mask.keys
    block = block[counts]
    seen = np.ones(found.shape, np.bool_)
    if rising:
        seen = block_reference(found[..., np.newaxis]) < block_reference(found[:, block])[:, np.newaxis]
    seen[:, block] = False
    state = _attended(operands, queries, seen, shift)
    seen[:, block] = True if mask is None else mask.visible(BLOCK)[:, counts]
    wanted = np.where(seen, logits(activations.q[queries], activations.k, scaling=1.0), -np.inf)
    k, v = (np.zeros((BLOCK, BLOCK), np.int8) for _ in range(2))
    k[counts], v[counts] = operands.k[block], operands.v[block]
    return Tile(
        operands.q[queries],
        k,
        v,
        operands.v_scale,
        softmax(wanted) @ activations.v.astype(np.float64),
        first,
        shift,
        state,
        mask,
    )


def _no_best_keys(found: NDArray[np.int16], start: int) -> NDArray[np.intp]:
    """The first 64 keys from `start` on, cyclically, of which none has the highest score of a row."""
    keys = found.shape[1]
    order = np.arange(start, start + keys) % keys
    others: NDArray[np.intp] = order[~np.isin(order, found.argmax(axis=1))][:BLOCK]
    if len(others) < BLOCK:
        raise InputError(f"the head has {keys} tokens, of which {len(others)} are no row's best key; a block takes 64")
    return others


def _attended(operands: SoundOperands, queries: slice, seen: Mask, shift: int) -> SoundState:
    """The state of the queries after all blocks of the head's keys, of which each row sees those that it may."""
    state = init_state((BLOCK,))
    for at in range(0, len(operands.k), BLOCK):
        part = slice(at, at + BLOCK)
        k, v = operands.k[part], operands.v[part]
        state = process_block(state, operands.q[queries], k, v, shift, key_mask=seen[:, part])
    return state
