"""Hugging Face Transformers with sound int8 attention in the encoder: import this module, then name it.

    import xattn.hf
    model = WhisperForConditionalGeneration.from_pretrained(path, attn_implementation="xattn_int8")
    model.set_attn_implementation("xattn_int8")   # or a model that is loaded already

Attention that is not masked and not a decoder's goes through `xattn.attention`; all other goes where Transformers' own
`sdpa` sends it. Inference on the CPU. Transformers 5 and torch are needed.
"""

from __future__ import annotations

from typing import Any

from xattn.errors import InputError

try:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask
except ImportError as error:
    raise ImportError(f"xattn.hf needs torch and transformers: pip install torch transformers ({error})") from error

from xattn.cpu import attention

NAME = "xattn_int8"
"""What `attn_implementation` is set to."""


def int8_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Any, None]:
    """Attend as Transformers asks it to.

    An encoder and a decoder of one model share a configuration, so both come here: decoders, which cache keys and mask
    them, are left to SDPA.

    Args:
        module: the attention layer.
        query: `[batch, heads, queries, dim]`.
        key: `[batch, heads, keys, dim]`.
        value: the same.
        attention_mask: None, or what SDPA takes.
        scaling: of the dot products. Whisper multiplies its queries beforehand and passes 1.
        dropout: of the weights; not offered.
        others: what other implementations need.

    Returns:
        `[batch, queries, heads, dim]`, and None in place of the weights, which are never held.

    Raises:
        InputError: dropout, gradients, a tensor that is not on the CPU, or what `xattn.attention` refuses.
    """
    if attention_mask is not None or _is_a_decoders(module, others):
        output, weights = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **others
        )
        return output, weights
    if dropout or (query.requires_grad and _gradients_are_kept()):
        raise InputError(f"{NAME} is for inference: call model.eval() and work under torch.no_grad()")
    return attention(query, key, value, scaling=scaling).transpose(1, 2).contiguous(), None


def _is_a_decoders(module: Any, others: dict[str, Any]) -> bool:
    return bool(getattr(module, "is_decoder", False) or getattr(module, "is_causal", False) or others.get("is_causal"))


def _gradients_are_kept() -> bool:
    import torch

    return bool(torch.is_grad_enabled())


AttentionInterface.register(NAME, int8_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # without it no mask would reach the decoder
