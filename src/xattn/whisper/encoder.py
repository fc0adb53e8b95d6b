"""Whisper's audio encoder in NumPy float32, with attention as an argument.

The network is Whisper's (arXiv 2212.04356, figure 1): two convolutions with GELU, added positions, then pre-norm
transformer blocks. Pieces are public so that a caller may stop anywhere: ``embed``, ``project_qkv``, ``block``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from xattn.errors import InputError
from xattn.whisper.gelu import gelu
from xattn.whisper.layers import by_head, layer_norm, linear
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights


class AttentionFunction(Protocol):
    """Attention over one window: Q, K, V, O are float32 [heads, tokens, head width]; Q is already scaled."""

    def __call__(self, q: Float32, k: Float32, v: Float32, layer: int) -> Float32:
        """O = softmax(Q·Kᵀ)·V, or what is to stand in for it, of encoder layer ``layer`` (from 0)."""
        ...


Observer = Callable[[int, Float32, Float32, Float32, Float32], None]
"""Called after the attention of each layer with (layer, Q, K, V, O)."""


def softmax_attention(q: Float32, k: Float32, v: Float32, layer: int = 0) -> Float32:
    """softmax(Q·Kᵀ)·V in float32, one head at a time, so that one score matrix is in memory; Q is already scaled."""
    del layer
    out = np.empty_like(q)
    for head in range(q.shape[0]):
        scores = q[head] @ k[head].T
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        out[head] = (scores @ v[head]) / scores.sum(axis=1, keepdims=True)
    return out


def encode(
    weights: WhisperWeights,
    mel: Float32,
    attention: AttentionFunction = softmax_attention,
    observer: Observer | None = None,
) -> Float32:
    """The encoder's output [tokens, width], float32, for a log-mel spectrogram [mel bins, 2 · tokens].

    InputError for a spectrogram of another shape, or if ``attention`` gives back another shape or NaN.
    """
    x = embed(weights, mel)
    for layer in range(weights.dims.encoder_layers):
        x = block(weights, x, layer, attention, observer)
    return layer_norm(weights, x, "encoder.layer_norm")


def embed(weights: WhisperWeights, mel: Float32) -> Float32:
    """The input of layer 0, [tokens, width]: both convolutions, GELU, positions."""
    dims = weights.dims
    expected = (dims.mel_bins, 2 * dims.audio_positions)
    if mel.shape != expected or mel.dtype != np.float32:
        raise InputError(f"the spectrogram is {mel.dtype} {mel.shape}; {weights.name} takes float32 {expected}")
    x = gelu(_convolve(weights, mel.T, "encoder.conv1", stride=1))
    x = gelu(_convolve(weights, x, "encoder.conv2", stride=2))
    return x + weights["encoder.embed_positions.weight"]


def project_qkv(weights: WhisperWeights, x: Float32, layer: int) -> tuple[Float32, Float32, Float32]:
    """Q, K and V, each [heads, tokens, head width], of a layer's input [tokens, width].

    Q is already multiplied by (head width)^−½, as it is in Hugging Face's model.
    """
    dims = weights.dims
    prefix = f"encoder.layers.{layer}.self_attn"
    h = layer_norm(weights, x, f"{prefix}_layer_norm")
    q = linear(weights, h, f"{prefix}.q_proj") * np.float32(dims.head_width**-0.5)
    k = h @ weights[f"{prefix}.k_proj.weight"].T
    v = linear(weights, h, f"{prefix}.v_proj")
    return by_head(q, dims.heads), by_head(k, dims.heads), by_head(v, dims.heads)


def block(
    weights: WhisperWeights,
    x: Float32,
    layer: int,
    attention: AttentionFunction = softmax_attention,
    observer: Observer | None = None,
) -> Float32:
    """One transformer block: [tokens, width] in and out."""
    prefix = f"encoder.layers.{layer}"
    q, k, v = project_qkv(weights, x, layer)
    o = _checked(attention(q, k, v, layer), q, layer)
    if observer is not None:
        observer(layer, q, k, v, o)
    x = x + linear(weights, o.swapaxes(0, 1).reshape(x.shape), f"{prefix}.self_attn.out_proj")
    h = gelu(linear(weights, layer_norm(weights, x, f"{prefix}.final_layer_norm"), f"{prefix}.fc1"))
    return x + linear(weights, h, f"{prefix}.fc2")


def _checked(o: Float32, q: Float32, layer: int) -> Float32:
    if o.shape != q.shape:
        raise InputError(f"attention of layer {layer} gave shape {o.shape}; expected {q.shape}")
    if not np.isfinite(o).all():
        raise InputError(f"attention of layer {layer} gave NaN or infinity")
    return o.astype(np.float32, copy=False)


def _convolve(weights: WhisperWeights, x: Float32, name: str, stride: int) -> Float32:
    """A convolution of width 3, padding 1, over time: [time, in] to [time / stride, out], as one matrix product."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=0)[::stride]  # [time / stride, in, 3]
    kernel = weights[f"{name}.weight"]  # [out, in, 3]
    out = taps.reshape(taps.shape[0], -1) @ kernel.reshape(kernel.shape[0], -1).T
    out += weights[f"{name}.bias"]
    return np.ascontiguousarray(out, np.float32)
