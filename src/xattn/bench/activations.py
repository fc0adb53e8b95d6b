"""What a benchmark attends to: one head's Q, K and V in float, and a tile of consecutive tokens of it in int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.quantize import quantize
from xattn.numerics.reference import attention
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
    """Consecutive tokens of a head: int8 `[tokens, width]`, quantized with the head's scales, beside the floats."""

    q: Int8
    k: Int8
    v: Int8
    v_scale: float
    """What one step of V, and so of the output, is worth."""
    truth: NDArray[np.float64]
    """Float attention of the tile's tokens over themselves, on the original floats: `[tokens, width]`."""
    first: int


def cut_tile(activations: Activations, first: int, tokens: int, width: int) -> Tile:
    """Tokens `first` to `first + tokens - 1`, the first `width` channels of each.

    Q, K and V are quantized symmetrically with one scale each for the whole head. InputError when the head has no such
    tokens or channels.
    """
    available, channels = activations.q.shape
    if not 1 <= tokens <= available or not 1 <= width <= channels:
        raise InputError(f"a tile of {tokens} tokens × {width} channels; the head has {available} × {channels}")
    if not 0 <= first <= available - tokens:
        raise InputError(
            f"first token {first} does not fit: {tokens} of {available} tokens start at 0 to {available - tokens}"
        )
    part = (slice(first, first + tokens), slice(width))
    q, k, v = (quantize(m) for m in (activations.q, activations.k, activations.v))
    truth = attention(activations.q[part], activations.k[part], activations.v[part], scaling=1.0)
    return Tile(q.values[part], k.values[part], v.values[part], float(v.scale.item()), truth, first)


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
