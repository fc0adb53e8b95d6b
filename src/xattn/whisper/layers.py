"""The layers that Whisper's encoder and decoder share, in NumPy float32."""

from __future__ import annotations

import numpy as np

from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

_EPSILON = np.float32(1e-5)  # of every LayerNorm in Whisper


def linear(weights: WhisperWeights, x: Float32, name: str) -> Float32:
    """x·Wᵀ + b, `[tokens, in]` to `[tokens, out]`."""
    out: Float32 = x @ weights[f"{name}.weight"].T
    out += weights[f"{name}.bias"]
    return out


def layer_norm(weights: WhisperWeights, x: Float32, name: str) -> Float32:
    """Each row of `[tokens, width]` centred, scaled to unit variance, then by weight and bias."""
    centred: Float32 = x - x.mean(axis=1, keepdims=True)
    variance = np.square(centred).mean(axis=1, keepdims=True)
    centred /= np.sqrt(variance + _EPSILON)
    centred *= weights[f"{name}.weight"]
    centred += weights[f"{name}.bias"]
    return centred


def by_head(m: Float32, heads: int) -> Float32:
    """`[tokens, heads · head width]` to `[heads, tokens, head width]`."""
    return np.ascontiguousarray(m.reshape(m.shape[0], heads, -1).swapaxes(0, 1))
