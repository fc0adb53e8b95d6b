"""Which tensors a Whisper model of given sizes has, and their shapes; and the sizes, read off the tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from xattn.errors import FileFormatError
from xattn.whisper.container import Contents, text_of
from xattn.whisper.dims import WhisperDims
from xattn.whisper.tensors import StoredTensor

_HEAD_WIDTH = 64  # of every published Whisper model; used where a file does not give the number of heads
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.")


def tensor_shapes(dims: WhisperDims) -> dict[str, tuple[int, ...]]:
    """Every tensor's common name and shape; the decoder's are left out where ``dims.decoder_layers`` is 0."""
    width = dims.width
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (width, dims.mel_bins, 3),
        "encoder.conv1.bias": (width,),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.conv2.bias": (width,),
        "encoder.embed_positions.weight": (dims.audio_positions, width),
        **_norm("encoder.layer_norm", width),
    }
    for layer in range(dims.encoder_layers):
        shapes.update(_layer(f"encoder.layers.{layer}", width, ("self_attn",)))
    if dims.decoder_layers:
        shapes["decoder.embed_tokens.weight"] = (dims.vocabulary, width)
        shapes["decoder.embed_positions.weight"] = (dims.text_positions, width)
        shapes.update(_norm("decoder.layer_norm", width))
        for layer in range(dims.decoder_layers):
            shapes.update(_layer(f"decoder.layers.{layer}", width, ("self_attn", "encoder_attn")))
    return shapes


def _norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}


def _layer(prefix: str, width: int, attentions: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{prefix}.{attention}.{part}.weight"] = (width, width)
            if part != "k_proj":  # Whisper's key projection has no bias
                shapes[f"{prefix}.{attention}.{part}.bias"] = (width,)
        shapes.update(_norm(f"{prefix}.{attention}_layer_norm", width))
    shapes[f"{prefix}.fc1.weight"] = (4 * width, width)
    shapes[f"{prefix}.fc1.bias"] = (4 * width,)
    shapes[f"{prefix}.fc2.weight"] = (width, 4 * width)
    shapes[f"{prefix}.fc2.bias"] = (width,)
    shapes.update(_norm(f"{prefix}.final_layer_norm", width))
    return shapes


def dims_of(path: Path, contents: Contents) -> WhisperDims:
    """The model's sizes, after every tensor was found present with the shape that they ask for.

    FileFormatError names the first tensor that is missing or has another shape.
    """
    tensors = contents.tensors
    width, mel_bins, _ = _shape(path, tensors, "encoder.conv1.weight", 3)
    audio_positions, _ = _shape(path, tensors, "encoder.embed_positions.weight", 2)
    vocabulary = text_positions = decoder_layers = decoder_heads = 0
    if any(name.startswith("decoder.") for name in tensors):
        vocabulary, _ = _shape(path, tensors, "decoder.embed_tokens.weight", 2)
        text_positions, _ = _shape(path, tensors, "decoder.embed_positions.weight", 2)
        decoder_layers = _layers(tensors, "decoder")
        decoder_heads = _heads(path, width, contents.decoder_heads)
    dims = WhisperDims(
        mel_bins=mel_bins,
        audio_positions=audio_positions,
        width=width,
        heads=_heads(path, width, contents.heads),
        encoder_layers=_layers(tensors, "encoder"),
        decoder_layers=decoder_layers,
        decoder_heads=decoder_heads,
        text_positions=text_positions,
        vocabulary=vocabulary,
    )
    for name, shape in tensor_shapes(dims).items():
        if _shape(path, tensors, name, len(shape)) != shape:
            raise FileFormatError(f"{path}: {name} has shape {tensors[name].shape}; expected {shape}")
    return dims


def _shape(path: Path, tensors: Mapping[str, StoredTensor], name: str, rank: int) -> tuple[int, ...]:
    if name not in tensors:
        known = ", ".join(text_of(known) for known in sorted(tensors)[:3]) or "none"
        raise FileFormatError(f"{path}: not a complete Whisper model: no tensor {name} (found: {known} …)")
    shape = tensors[name].shape
    if len(shape) != rank or 0 in shape:
        raise FileFormatError(f"{path}: {name} has shape {shape}; expected {rank} dimensions, none of them 0")
    return shape


def _layers(tensors: Mapping[str, StoredTensor], side: str) -> int:
    """How many layers have tensors (at least 1); where numbers are left out, a layer below is then found missing."""
    return max(1, len({match[2] for name in tensors if (match := _LAYER.match(name)) and match[1] == side}))


def _heads(path: Path, width: int, heads: int | None) -> int:
    if heads is None:
        heads = width // _HEAD_WIDTH
    if heads < 1 or width % heads:
        raise FileFormatError(f"{path}: {heads} attention heads do not divide the width {width}")
    return heads
