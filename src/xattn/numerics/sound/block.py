"""Sound attention as a state machine over key blocks: `init_state`, `process_block` for each block, then `finish`.

One `process_block` is what one call of a kernel computes; `trace_block` exposes every intermediate of it, to be
compared bit for bit. The state of a query row is its reference (running max, rounded up to a whole octave), the running
sum of its rounded weights and the accumulators of weights times V. Nothing is divided until `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype, require_qkv_shapes
from xattn.numerics.matmul import matmul_int
from xattn.numerics.rounding import Rounding, divide_half_away
from xattn.numerics.sound import steps
from xattn.numerics.sound.dither import Dither, dither_pattern

BLOCK = 64
"""Queries and keys of a block, and the usual head size."""

MAX_KEYS = (2**31 - 1) // (255 * 128)
"""65,793 keys: beyond, the int32 accumulators of weights up to 255 and values down to -128 may wrap."""

Maximum: TypeAlias = Literal["running", "block"]
"""What weights refer to: the row's running max, or the max of the present key block alone."""


@dataclass(frozen=True)
class SoundOptions:
    """The choices within the scheme.

    Attributes:
        maximum: `running` rescales old state only when a row's max rises. `block` uses all 8 bits of P in every block
            and pays a shift for each block's product and sums.
        dither: how P loses its low byte; the pattern of `xattn.numerics.sound.dither`.
        score_rounding: of the scores' shift to 1/128 octave.
        rescale_rounding: of the shift of accumulators and sums.
    """

    maximum: Maximum = "running"
    dither: Dither = "dither64"
    score_rounding: Rounding = "floor"
    rescale_rounding: Rounding = "floor"

    def __post_init__(self) -> None:
        if self.maximum not in get_args(Maximum):
            raise InputError(f"maximum is {self.maximum!r}, expected one of {', '.join(get_args(Maximum))}")
        for name in ("score_rounding", "rescale_rounding"):
            if getattr(self, name) not in get_args(Rounding):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(get_args(Rounding))}")
        dither_pattern(self.dither)


DEFAULT_OPTIONS = SoundOptions()
"""Running max with a dither of period 64: on Whisper's encoder activations it loses least among the schemes that leave
old state alone while the maximum stands (mean relative L2 0.0087 for tiny.en, 0.0082 for base)."""

BLOCK_MAXIMUM_OPTIONS = SoundOptions(maximum="block", dither="nearest", rescale_rounding="half_even")
"""Block maxima with plain rounding of P. Every block's product is shifted, so the shift must not floor."""


@dataclass(frozen=True)
class SoundState:
    """What is kept of the key blocks seen so far, for each query row.

    Attributes:
        accumulator: `[..., queries, width]` int32, sum of P * V.
        running_sum: `[..., queries]` int32, sum of the same rounded P.
        reference: `[..., queries]` int32, the running max rounded up to a whole octave, see `steps.block_reference`.
    """

    accumulator: NDArray[np.int32]
    running_sum: NDArray[np.int32]
    reference: NDArray[np.int32]

    @property
    def matrix(self) -> NDArray[np.int32]:
        """All of it, `[..., queries, width + 2]` int32: accumulators, then the running sum, then the reference."""
        rows = (self.running_sum[..., np.newaxis], self.reference[..., np.newaxis])
        return np.concatenate([self.accumulator, *rows], axis=-1, dtype=np.int32)

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.int32]) -> SoundState:
        """The state of which `matrix` is the matrix."""
        return cls(matrix[..., :-2], matrix[..., -2], matrix[..., -1])


@dataclass(frozen=True)
class BlockTrace:
    """Every intermediate of one block, in the order in which it is computed, and the state after it.

    Attributes:
        scores: `[..., queries, keys]` int16, masked keys at -32768.
        block_reference: `[..., queries]` int32, from this block's scores alone.
        weight_reference: `[..., queries]` int32, what P refers to: the state's new reference, or the block's.
        subtrahend: `[..., queries]` int16, `weight_reference - BIAS`.
        exponents: `[..., queries, keys]` int16, bfloat16 bits.
        p16: `[..., queries, keys]` uint16, weights in 1/65536.
        p: `[..., queries, keys]` uint8, weights in 1/256.
        product: `[..., queries, width]` int32, P @ V of this block.
        product_sum: `[..., queries]` int32, row sums of P.
        state_octaves: `[..., queries]` int32, by how much the old state was shifted down.
        product_octaves: `[..., queries]` int32, the same of this block's product; 0 throughout with a running max.
        state: after the block.
    """

    scores: NDArray[np.int16]
    block_reference: NDArray[np.int32]
    weight_reference: NDArray[np.int32]
    subtrahend: NDArray[np.int16]
    exponents: NDArray[np.int16]
    p16: NDArray[np.uint16]
    p: NDArray[np.uint8]
    product: NDArray[np.int32]
    product_sum: NDArray[np.int32]
    state_octaves: NDArray[np.int32]
    product_octaves: NDArray[np.int32]
    state: SoundState = field(repr=False)


def init_state(rows: tuple[int, ...], width: int = BLOCK) -> SoundState:
    """Return the state before any key: zeros, and the lowest reference there is.

    Args:
        rows: the shape of the query rows, `(..., queries)`.
        width: columns of V.
    """
    return SoundState(
        accumulator=np.zeros((*rows, width), dtype=np.int32),
        running_sum=np.zeros(rows, dtype=np.int32),
        reference=np.full(rows, steps.MIN_REFERENCE, dtype=np.int32),
    )


def process_block(
    state: SoundState,
    q: NDArray[np.int8],
    k: NDArray[np.int8],
    v: NDArray[np.int8],
    shift: int | NDArray[np.integer[Any]],
    *,
    key_mask: NDArray[np.bool_] | None = None,
    options: SoundOptions = DEFAULT_OPTIONS,
) -> SoundState:
    """Return the state after one more key block; arguments and errors as in `trace_block`."""
    return trace_block(state, q, k, v, shift, key_mask=key_mask, options=options).state


def trace_block(
    state: SoundState,
    q: NDArray[np.int8],
    k: NDArray[np.int8],
    v: NDArray[np.int8],
    shift: int | NDArray[np.integer[Any]],
    *,
    key_mask: NDArray[np.bool_] | None = None,
    options: SoundOptions = DEFAULT_OPTIONS,
) -> BlockTrace:
    """Process one key block and keep every intermediate.

    Args:
        state: of the same query rows.
        q: `[..., queries, dim]` int8.
        k: `[..., keys, dim]` int8.
        v: `[..., keys, width]` int8.
        shift: turns integer dot products into 1/128 octaves, see `steps.scores`.
        key_mask: bool, broadcast against `[..., queries, keys]`; False keys weigh exactly 0.
        options: see `SoundOptions`.

    Raises:
        InputError: operands that are not int8, or shapes that do not fit together.
    """
    for name, array in (("q", q), ("k", k), ("v", v)):
        require_dtype(name, array, [np.int8])
    require_qkv_shapes(q, k, v)
    if state.accumulator.shape != (*q.shape[:-1], v.shape[-1]):
        wanted = (*q.shape[:-1], v.shape[-1])
        raise InputError(f"state has accumulators {state.accumulator.shape}, expected {wanted} for this q and v")
    s = steps.scores(q, k, shift, options.score_rounding)
    if key_mask is not None:
        s = steps.mask_scores(s, key_mask)
    own = steps.block_reference(s)
    reference = np.maximum(state.reference, own)
    weight_reference = reference if options.maximum == "running" else own
    d = steps.exponents(s, weight_reference)
    p16 = steps.linear_exp2(d)
    p = steps.narrow(p16, dither_pattern(options.dither, k.shape[-2]))
    product = matmul_int(p, v).astype(np.int32)
    product_sum = p.sum(axis=-1, dtype=np.int32)
    state_octaves = (reference - state.reference) // steps.OCTAVE
    product_octaves = (reference - weight_reference) // steps.OCTAVE
    accumulator = _merge(
        state.accumulator, state_octaves[..., np.newaxis], product, product_octaves[..., np.newaxis], options
    )
    running_sum = _merge(state.running_sum, state_octaves, product_sum, product_octaves, options)
    return BlockTrace(
        scores=s,
        block_reference=own,
        weight_reference=weight_reference,
        subtrahend=steps.subtrahend(weight_reference),
        exponents=d,
        p16=p16,
        p=p,
        product=product,
        product_sum=product_sum,
        state_octaves=state_octaves,
        product_octaves=product_octaves,
        state=SoundState(accumulator, running_sum, reference),
    )


def _merge(
    old: NDArray[np.int32],
    old_octaves: NDArray[np.int32],
    new: NDArray[np.int32],
    new_octaves: NDArray[np.int32],
    options: SoundOptions,
) -> NDArray[np.int32]:
    """Bring old state and a block's product to one reference and add them."""
    kept = steps.rescale(old, old_octaves, options.rescale_rounding)
    if options.maximum == "running":
        return kept + new
    return kept + steps.rescale(new, new_octaves, options.rescale_rounding)


def finish(state: SoundState) -> NDArray[np.float64]:
    """Divide, once: `accumulator / running_sum`, in units of V's integers; rows that saw no key give 0.

    -> `[..., queries, width]` float64; multiply by V's scale.
    """
    total = state.running_sum[..., np.newaxis]
    return state.accumulator / np.where(total > 0, total, 1).astype(np.float64)


def finish_int8(state: SoundState, gain_shift: int = 0) -> NDArray[np.int8]:
    """Divide in integers: `sat8(round(accumulator * 2**gain_shift / running_sum))`, ties away from zero.

    Args:
        state: after the last key block.
        gain_shift: 0 to 15. O's scale is V's divided by `2**gain_shift`: averages of V are often small against V.

    Returns:
        `[..., queries, width]` int8; rows that saw no key give 0.

    Raises:
        InputError: `gain_shift` out of range.
    """
    if not 0 <= gain_shift <= 15:
        raise InputError(f"gain_shift is {gain_shift}, expected 0 to 15")
    total = state.running_sum[..., np.newaxis]
    quotient = divide_half_away(
        state.accumulator.astype(np.int64) << gain_shift, np.where(total > 0, total, 1).astype(np.int64)
    )
    info = np.iinfo(np.int8)
    return np.clip(quotient, info.min, info.max).astype(np.int8)
