"""OpenAI's own `whisper` package with sound int8 attention in the encoder: one call on a loaded model.

model = whisper.load_model("base")
xattn.openai_whisper.patch(model)
model.transcribe("speech.wav")
"""

from __future__ import annotations

from typing import Any

from xattn.cpu import attention
from xattn.errors import InputError

_METHOD = "qkv_attention"


def patch(model: Any) -> int:
    """Let every self-attention of the model's encoder go through `xattn.attention`; the decoder stays as it is.

    Returns:
        how many layers were changed: as many as the encoder has, also when they were changed before.

    Raises:
        InputError: what is no model of `whisper`, as far as its encoder shows.
    """
    layers = _attention_layers(model)
    for layer in layers:
        setattr(layer, _METHOD, _Attention(layer.n_head))
    return len(layers)


def unpatch(model: Any) -> int:
    """Undo `patch`; gives the number of layers that were changed back."""
    patched = [layer for layer in _attention_layers(model) if _METHOD in vars(layer)]
    for layer in patched:
        delattr(layer, _METHOD)
    return len(patched)


def _attention_layers(model: Any) -> list[Any]:
    try:
        layers = [block.attn for block in model.encoder.blocks]
        usable = all(hasattr(layer, _METHOD) and layer.n_head > 0 for layer in layers)
    except AttributeError:
        usable = False
    if not usable or not layers:
        raise InputError(f"{type(model).__name__} is no model of openai-whisper: expected encoder.blocks[i].attn")
    return layers


class _Attention:
    """What stands in for `MultiHeadAttention.qkv_attention`: `[batch, tokens, heads · 64]` in and out, no weights."""

    def __init__(self, heads: int) -> None:
        self.heads = heads

    def __call__(self, q: Any, k: Any, v: Any, mask: Any = None) -> tuple[Any, None]:
        if mask is not None:
            raise InputError("an encoder's attention has no mask: was a decoder's layer put into the encoder?")
        split = [x.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for x in (q, k, v)]
        return attention(*split).transpose(1, 2).flatten(start_dim=2), None
