"""What a benchmark attends to: one head's Q, K and V in float, and a tile of consecutive tokens of it in int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.compat import DEFAULT_SHIFT
from xattn.numerics.quantize import quantize
from xattn.numerics.reference import attention
from xattn.numerics.sound import BlockMask, SoundState
from xattn.numerics.synthetic import synthetic_activations as synthetic

Float32 = NDArray[np.float32]
Int8 = NDArray[np.int8]


@dataclass(frozen=True)
class Activations:
    """One head: float32 Q, K, V `[tokens, width]`. Q is already multiplied by the softmax's factor width^−½."""

    q: Float32
    k: Float32
    v: Float32
    source: str
    """"speech" or "synthetic"."""
    description: str
    """What made the activations, for the report's header: the model and its weights, or the random numbers."""
    model: str | None = None
    clip: str | None = None
    clip_seconds: float | None = None
    layer: int | None = None
    head: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()


def synthetic_activations(seed: int) -> Activations:
    """One head `[1500, 64]` with the statistics of Whisper tiny.en's encoder (xattn.numerics.synthetic)."""
    made = synthetic(seed, heads=1)
    description = f"none: SYNTHETIC activations with the statistics of Whisper tiny.en's, seed {seed}"
    return Activations(made.q[0], made.k[0], made.v[0], "synthetic", description, seed=seed)


@dataclass(frozen=True)
class Tile:
    """Consecutive tokens of a head: int8 `[tokens, width]`, quantized with the head's scales, beside the floats.

    A tile that is a block in mid-sequence (xattn.bench.blocks) has keys of other tokens, and a state before it.
    """

    q: Int8
    k: Int8
    v: Int8
    v_scale: float | NDArray[np.float64]
    """What one step of V, and so of the output, is worth; in a block `[1, width]`, one a channel."""
    truth: NDArray[np.float64]
    """Float attention `[tokens, width]` on the original floats: of the tile's tokens over themselves, or of a block's
    queries over the keys that the state before it and the block cover."""
    first: int
    shift: int
    """Right shift of the integer scores."""
    before: SoundState | None = None
    mask: BlockMask | None = None
    """Which keys count; all where there is none."""


def cut_tile(activations: Activations, first: int, tokens: int, width: int, shift: int = DEFAULT_SHIFT) -> Tile:
    """Tokens `first` to `first + tokens - 1`, the first `width` channels of each.

    Q, K and V are quantized symmetrically with one scale each for the whole head. InputError when the head has no such
    tokens or channels.
    """
    require_tile(activations, first, tokens, width)
    part = (slice(first, first + tokens), slice(width))
    q, k, v = (quantize(m) for m in (activations.q, activations.k, activations.v))
    truth = attention(activations.q[part], activations.k[part], activations.v[part], scaling=1.0)
    return Tile(q.values[part], k.values[part], v.values[part], float(v.scale.item()), truth, first, shift)


def require_tile(activations: Activations, first: int, tokens: int, width: int) -> None:
    """Refuse tokens or channels that the head does not have."""
    available, channels = activations.q.shape
    if not 1 <= tokens <= available or not 1 <= width <= channels:
        raise InputError(f"a tile of {tokens} tokens × {width} channels; the head has {available} × {channels}")
    if not 0 <= first <= available - tokens:
        raise InputError(
            f"first token {first} does not fit: {tokens} of {available} tokens start at 0 to {available - tokens}"
        )


def another_first(activations: Activations, first: int, tokens: int) -> int:
    """Where the tokens of a second, different tile start: behind the first tile, or before it at the head's end."""
    available = activations.q.shape[0]
    if first + 2 * tokens <= available:
        return first + tokens
    if first >= tokens:
        return first - tokens
    raise InputError(
        f"no second tile of {tokens} tokens fits beside the one at token {first}: the head has {available} tokens"
    )
