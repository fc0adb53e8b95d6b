"""Whisper weights as openai-whisper saves them: a PyTorch file of {"dims", "model_state_dict"}. Needs torch."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from xattn.errors import FileFormatError, InputError
from xattn.whisper.container import Contents, text_of
from xattn.whisper.tensors import StoredTensor

_BLOCK = re.compile(r"(encoder|decoder)\.blocks\.(\d+)\.(.+)\.(weight|bias)")
_PARTS = {
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "attn_ln": "self_attn_layer_norm",
    "cross_attn.query": "encoder_attn.q_proj",
    "cross_attn.key": "encoder_attn.k_proj",
    "cross_attn.value": "encoder_attn.v_proj",
    "cross_attn.out": "encoder_attn.out_proj",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_ln": "final_layer_norm",
}
_WHOLE = {
    "encoder.positional_embedding": "encoder.embed_positions.weight",
    "encoder.ln_post.weight": "encoder.layer_norm.weight",
    "encoder.ln_post.bias": "encoder.layer_norm.bias",
    "decoder.positional_embedding": "decoder.embed_positions.weight",
    "decoder.token_embedding.weight": "decoder.embed_tokens.weight",
    "decoder.ln.weight": "decoder.layer_norm.weight",
    "decoder.ln.bias": "decoder.layer_norm.bias",
}


def is_torch_zip(head: bytes) -> bool:
    """Whether a file's first bytes are a ZIP archive's, which is what ``torch.save`` writes."""
    return head.startswith(b"PK\x03\x04")


def common_name(name: str) -> str:
    """The common name of a tensor of openai-whisper's state dict; names that are equal in both pass through."""
    if name in _WHOLE:
        return _WHOLE[name]
    match = _BLOCK.fullmatch(name)
    if match is None or match[3] not in _PARTS:
        return name
    return f"{match[1]}.layers.{match[2]}.{_PARTS[match[3]]}.{match[4]}"


def read_openai_pt(path: Path) -> Contents:
    """Read an openai-whisper ``.pt`` file with torch's safe loader (no pickled code is run).

    InputError if torch is not installed; FileFormatError if the file is damaged or not an openai-whisper model.
    """
    state, dims = _load(path)
    tensors = {common_name(str(name)): _stored(path, str(name), tensor) for name, tensor in state.items()}
    return Contents(tensors, _count(path, dims, "n_audio_head"), _count(path, dims, "n_text_head"), "openai .pt")


def _load(path: Path) -> tuple[dict[Any, Any], dict[Any, Any]]:
    try:
        torch: Any = import_module("torch")
    except ImportError:
        raise InputError(
            f"{path}: reading an openai .pt file needs torch (pip install torch); "
            "CTranslate2 and safetensors weights need nothing"
        ) from None
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file: RuntimeError, pickle, zip, EOF, OS errors
        reason = text_of(str(error).strip().partition("\n")[0])
        raise FileFormatError(f"{path}: torch cannot load it ({type(error).__name__}: {reason})") from None
    parts = checkpoint if isinstance(checkpoint, dict) else {}
    state, dims = parts.get("model_state_dict"), parts.get("dims")
    if not isinstance(state, dict) or not isinstance(dims, dict):
        raise FileFormatError(f'{path}: no "dims" and "model_state_dict"; expected an openai-whisper checkpoint')
    return state, dims


def _stored(path: Path, name: str, tensor: Any) -> StoredTensor:
    if not hasattr(tensor, "is_floating_point") or not tensor.is_floating_point():
        raise FileFormatError(f"{path}: {text_of(name)} is not a floating-point tensor")
    # NumPy has no bfloat16: widening it to float32 is exact.
    return StoredTensor((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())


def _count(path: Path, dims: dict[Any, Any], name: str) -> int:
    value = dims.get(name)
    if type(value) is not int or value < 1:
        raise FileFormatError(f"{path}: dims has {name} = {value!r}; expected a positive whole number")
    return value
