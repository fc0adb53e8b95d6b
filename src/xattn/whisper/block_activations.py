"""What a float block of the encoder computes on the way, by name: for scales, and as the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xattn.whisper.encoder import block, embed, project_qkv, softmax_attention
from xattn.whisper.gelu import gelu
from xattn.whisper.layers import layer_norm, linear
from xattn.whisper.mel import log_mel
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

Activations = Mapping[str, Float32]
"""`[tokens, channels]` each: x, norm1, q (with the factor of the scores), k, v, attention, x1, norm2, fc1, gelu, x2."""


def block_input(weights: WhisperWeights, samples: Float32, layer: int) -> Float32:
    """What encoder layer `layer` is given, `[tokens, width]`, on the first 30 s of speech, by the float encoder."""
    x = embed(weights, log_mel(samples, weights.dims.mel_bins))
    for before in range(layer):
        x = block(weights, x, before)
    return x


def float_activations(weights: WhisperWeights, x: Float32, layer: int) -> Activations:
    """All activations of layer `layer` for its input `[tokens, width]`."""
    prefix = f"encoder.layers.{layer}"
    q, k, v = project_qkv(weights, x, layer)
    attended = _joined(softmax_attention(q, k, v))
    x1 = x + linear(weights, attended, f"{prefix}.self_attn.out_proj")
    norm2 = layer_norm(weights, x1, f"{prefix}.final_layer_norm")
    fc1 = linear(weights, norm2, f"{prefix}.fc1")
    activated = gelu(fc1)
    return {
        "x": x,
        "norm1": layer_norm(weights, x, f"{prefix}.self_attn_layer_norm"),
        "q": _joined(q),
        "k": _joined(k),
        "v": _joined(v),
        "attention": attended,
        "x1": x1,
        "norm2": norm2,
        "fc1": fc1,
        "gelu": activated,
        "x2": x1 + linear(weights, activated, f"{prefix}.fc2"),
    }


def _joined(heads: Float32) -> Float32:
    """`[heads, tokens, 64]` → `[tokens, width]`."""
    joined: Float32 = np.ascontiguousarray(heads.swapaxes(0, 1)).reshape(heads.shape[1], -1)
    return joined
