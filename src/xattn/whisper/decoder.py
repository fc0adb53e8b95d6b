"""Whisper's text decoder in NumPy float32, a token at a time: keys and values of what was said before are kept.

The network is Whisper's (arXiv 2212.04356, figure 1): token and position embeddings, then pre-norm blocks of causal
self-attention, attention to the encoder's output, and a feed-forward layer; logits through the token embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xattn.errors import InputError
from xattn.whisper.gelu import gelu
from xattn.whisper.layers import by_head, layer_norm, linear
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights


class Decoder:
    """One window of speech, and what has been said of it so far.

    Args:
        weights: a whole model; InputError for one that holds the encoder alone.
        encoded: the encoder's output, float32 `[tokens, width]`.
    """

    def __init__(self, weights: WhisperWeights, encoded: Float32) -> None:
        if not weights.dims.decoder_layers:
            raise InputError(f"{weights.path} holds an encoder alone: transcribing needs the decoder too")
        self._weights, self._heads = weights, weights.dims.decoder_heads
        self._heard = [self._keys_and_values(encoded, f"{self._layer(i)}.encoder_attn") for i in self._layers]
        self._said: list[tuple[Float32, Float32] | None] = [None for _ in self._layers]
        self._count = 0

    @property
    def _layers(self) -> range:
        return range(self._weights.dims.decoder_layers)

    def _layer(self, number: int) -> str:
        return f"decoder.layers.{number}"

    def say(self, tokens: Sequence[int]) -> Float32:
        """Take the next tokens; gives the logits `[vocabulary]` of the one that follows, float32.

        InputError past the model's text positions (448).
        """
        last = self._count + len(tokens)
        if last > self._weights.dims.text_positions:
            raise InputError(f"{last} tokens, of {self._weights.dims.text_positions} that the decoder has places for")
        weights = self._weights
        x = weights["decoder.embed_tokens.weight"][list(tokens)]
        x = x + weights["decoder.embed_positions.weight"][self._count : last]
        for number in self._layers:
            x = self._block(x, number)
        self._count = last
        x = layer_norm(weights, x[-1:], "decoder.layer_norm")
        logits: Float32 = (weights["decoder.embed_tokens.weight"] @ x[0]).astype(np.float32)
        return logits

    def _block(self, x: Float32, number: int) -> Float32:
        weights, prefix = self._weights, self._layer(number)
        h = layer_norm(weights, x, f"{prefix}.self_attn_layer_norm")
        keys, values = self._keys_and_values(h, f"{prefix}.self_attn")
        before = self._said[number]
        if before is not None:
            keys, values = (np.concatenate(pair, axis=1) for pair in zip(before, (keys, values), strict=True))
        self._said[number] = keys, values
        x = x + self._attend(h, keys, values, f"{prefix}.self_attn", causal=True)
        h = layer_norm(weights, x, f"{prefix}.encoder_attn_layer_norm")
        x = x + self._attend(h, *self._heard[number], f"{prefix}.encoder_attn", causal=False)
        h = gelu(linear(weights, layer_norm(weights, x, f"{prefix}.final_layer_norm"), f"{prefix}.fc1"))
        return x + linear(weights, h, f"{prefix}.fc2")

    def _keys_and_values(self, x: Float32, prefix: str) -> tuple[Float32, Float32]:
        """K and V `[heads, tokens, head width]`; Whisper's key projection has no bias."""
        keys = x @ self._weights[f"{prefix}.k_proj.weight"].T
        return by_head(keys, self._heads), by_head(linear(self._weights, x, f"{prefix}.v_proj"), self._heads)

    def _attend(self, x: Float32, keys: Float32, values: Float32, prefix: str, *, causal: bool) -> Float32:
        q = by_head(linear(self._weights, x, f"{prefix}.q_proj"), self._heads)
        scores = (q * np.float32(q.shape[-1] ** -0.5)) @ keys.swapaxes(1, 2)
        if causal and len(x) > 1:
            count = keys.shape[1]
            later = np.arange(count) > np.arange(count - len(x), count)[:, np.newaxis]
            scores[:, later] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        out = (scores @ values) / scores.sum(axis=-1, keepdims=True)
        return linear(self._weights, out.swapaxes(0, 1).reshape(x.shape), f"{prefix}.out_proj")
