"""Whisper weights as Hugging Face Transformers saves them: safetensors (one file or sharded) beside a config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xattn.errors import FileFormatError
from xattn.whisper.container import Contents
from xattn.whisper.json_file import read_object
from xattn.whisper.safetensors import read_safetensors
from xattn.whisper.tensors import StoredTensor

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_CONFIG_FILE = "config.json"


def read_huggingface(path: Path) -> Contents:
    """Read a ``.safetensors`` file or the index of a sharded one; head counts come from the config.json beside it.

    The tensors are views of the mapped file(s). Both WhisperModel and WhisperForConditionalGeneration files are
    taken. FileFormatError for a damaged file, a missing shard, or a config of another model.
    """
    stored = _read_shards(path) if path.name.endswith(".index.json") else read_safetensors(path)
    heads, decoder_heads = _heads(path.parent / _CONFIG_FILE)
    tensors = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    return Contents(tensors, heads, decoder_heads, "safetensors")


def _read_shards(path: Path) -> dict[str, StoredTensor]:
    weight_map = read_object(path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise FileFormatError(f'{path}: no "weight_map" object; expected the index of a sharded safetensors model')
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted({str(name) for name in weight_map.values()}):
        if Path(shard).name != shard:
            raise FileFormatError(f"{path}: shard {shard!r} lies outside the model's folder")
        tensors.update(read_safetensors(path.parent / shard))
    return tensors


def _heads(config: Path) -> tuple[int | None, int | None]:
    if not config.is_file():
        return None, None
    settings = read_object(config)
    if settings.get("model_type", "whisper") != "whisper":
        raise FileFormatError(f"{config}: model_type is {settings['model_type']!r}; expected 'whisper'")
    return _count(config, settings, "encoder_attention_heads"), _count(config, settings, "decoder_attention_heads")


def _count(config: Path, settings: dict[str, Any], name: str) -> int | None:
    value = settings.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise FileFormatError(f"{config}: {name} is {value!r}; expected a positive whole number")
    return value
