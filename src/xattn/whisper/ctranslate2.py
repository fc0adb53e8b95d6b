"""Whisper weights in CTranslate2's ``model.bin`` (binary version 6), as faster-whisper models are shipped.

Layout, little endian: u32 version; string spec name; u32 spec revision; u32 count of variables; per variable a string
name, u8 rank, u32 dims, u8 element type, u32 byte count, data; then u32 count of aliases, each a pair of strings.
A string is u16 length (with the closing NUL) and that many bytes. Source: CTranslate2's public model reader and writer.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import FileFormatError
from xattn.whisper.container import Bytes, Contents, map_file, text_of
from xattn.whisper.tensors import StoredTensor

_VERSION = 6
_ELEMENT_TYPES: dict[int, str] = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}

_LAYER = re.compile(r"(encoder|decoder)/layer_(\d+)/(.+)/(weight|bias|gamma|beta)")
_LEAVES = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
_WHOLE = {
    "encoder/conv1/weight": "encoder.conv1.weight",
    "encoder/conv1/bias": "encoder.conv1.bias",
    "encoder/conv2/weight": "encoder.conv2.weight",
    "encoder/conv2/bias": "encoder.conv2.bias",
    "encoder/position_encodings/encodings": "encoder.embed_positions.weight",
    "encoder/layer_norm/gamma": "encoder.layer_norm.weight",
    "encoder/layer_norm/beta": "encoder.layer_norm.bias",
    "decoder/embeddings/weight": "decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "decoder.embed_positions.weight",
    "decoder/layer_norm/gamma": "decoder.layer_norm.weight",
    "decoder/layer_norm/beta": "decoder.layer_norm.bias",
}
# Part of a layer -> the common names of the equal row blocks that it stacks.
_PARTS = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}


def is_ctranslate2(head: bytes) -> bool:
    """Whether a file's first bytes are a CTranslate2 header: a small version, then a NUL-terminated "...Spec" name."""
    if len(head) < 8:
        return False
    version, length = struct.unpack_from("<IH", head)
    return version < 256 and head[6 : 6 + length].endswith(b"Spec\0")


def read_ctranslate2(path: Path) -> Contents:
    """Read a CTranslate2 Whisper model.

    The tensors are views of the mapped file. FileFormatError for another model, another version of the format,
    integer-quantized weights, or a file that is cut short or goes on after its end.
    """
    variables = _Reader(path, map_file(path)).variables()
    tensors = dict(pair for name, data in variables.items() for pair in _common(path, name, data))
    return Contents(
        tensors,
        heads=_scalar(variables, "encoder/num_heads"),
        decoder_heads=_scalar(variables, "decoder/num_heads"),
        container="CTranslate2",
    )


def _scalar(variables: dict[str, NDArray[Any]], name: str) -> int | None:
    value = variables.get(name)
    return None if value is None or value.size != 1 else int(value.reshape(()))


def _common(path: Path, name: str, data: NDArray[Any]) -> list[tuple[str, StoredTensor]]:
    """The common name and tensor, or the three or two that are stacked; nothing for settings such as num_heads."""
    if name in _WHOLE:
        return [(_WHOLE[name], _float(path, name, data))]
    match = _LAYER.fullmatch(name)
    if match is None:
        return []
    side, index, part, leaf = match.groups()
    if part not in _PARTS:
        raise FileFormatError(f"{path}: unknown variable {text_of(name)}; not a Whisper layer as expected")
    tensor = _float(path, name, data)
    pieces = _PARTS[part]
    if not tensor.shape or tensor.shape[0] % len(pieces):
        raise FileFormatError(f"{path}: {name} has shape {tensor.shape}; expected {len(pieces)} equal row blocks")
    height = tensor.shape[0] // len(pieces)
    found = []
    for i, piece in enumerate(pieces):
        block = tensor.rows(i * height, (i + 1) * height)
        if piece.endswith("k_proj") and leaf == "bias":
            _require_zero(path, name, block)  # Whisper's key projection has no bias; CTranslate2 stores zeros
            continue
        found.append((f"{side}.layers.{int(index)}.{piece}.{_LEAVES[leaf]}", block))
    return found


def _float(path: Path, name: str, data: NDArray[Any]) -> StoredTensor:
    if data.dtype.kind == "i":
        raise FileFormatError(
            f"{path}: {name} is {data.dtype.name} (an integer-quantized model); expected float16, bfloat16 or float32 "
            "weights: convert the model again with --quantization float16"
        )
    return StoredTensor(data)


def _require_zero(path: Path, name: str, block: StoredTensor) -> None:
    with np.errstate(invalid="ignore"):
        zero = bool((block.float32() == 0).all())
    if not zero:
        raise FileFormatError(f"{path}: {name} has a key bias that is not zero; Whisper has none")


class _Reader:
    """Walks the file once; every step is checked against the bytes that are left."""

    def __init__(self, path: Path, data: Bytes) -> None:
        self._path = path
        self._data = data
        self._at = 0

    def variables(self) -> dict[str, NDArray[Any]]:
        """All variables by name, and the check that the file ends where it should."""
        version = self._number("<I", "the format version")
        if version != _VERSION:
            raise FileFormatError(
                f"{self._path}: CTranslate2 binary version {version}; this reader knows version {_VERSION}"
            )
        spec = self._string("the model's kind")
        if spec != "WhisperSpec":
            raise FileFormatError(f"{self._path}: CTranslate2 model kind {text_of(spec)}; expected WhisperSpec")
        self._number("<I", "the spec revision")
        found: dict[str, NDArray[Any]] = {}
        for _ in range(self._number("<I", "the number of variables")):
            name = self._string("a variable's name")
            found[name] = self._variable(name)
        for _ in range(2 * self._number("<I", "the number of aliases")):
            self._string("an alias")
        if self._at != self._data.size:
            raise FileFormatError(
                f"{self._path}: {self._data.size - self._at} bytes after the end of the model; "
                f"expected a file of {self._at} bytes"
            )
        return found

    def _variable(self, name: str) -> NDArray[Any]:
        rank = self._number("<B", f"the rank of {text_of(name)}")
        shape = tuple(self._number("<I", f"the shape of {text_of(name)}") for _ in range(rank))
        element = self._number("<B", f"the element type of {text_of(name)}")
        size = self._number("<I", f"the size of {text_of(name)}")
        if element not in _ELEMENT_TYPES:
            raise FileFormatError(f"{self._path}: {text_of(name)} has unknown element type {element}")
        dtype = np.dtype(_ELEMENT_TYPES[element])
        if rank > 8 or size != math.prod(shape) * dtype.itemsize:
            raise FileFormatError(
                f"{self._path}: {text_of(name)} has {size} bytes; "
                f"its shape {shape[:8]} of {dtype.name} needs {math.prod(shape) * dtype.itemsize}"
            )
        return self._take(size, f"the data of {text_of(name)}").view(dtype).reshape(shape)

    def _string(self, what: str) -> str:
        length = self._number("<H", what)
        raw = self._take(length, what).tobytes()
        if not raw.endswith(b"\0"):
            raise FileFormatError(f"{self._path}: {what} at byte {self._at - length} is not a NUL-terminated string")
        return raw[:-1].decode("latin-1")

    def _number(self, form: str, what: str) -> int:
        (value,) = struct.unpack(form, self._take(struct.calcsize(form), what).tobytes())
        return int(value)

    def _take(self, count: int, what: str) -> Bytes:
        if self._data.size - self._at < count:
            raise FileFormatError(
                f"{self._path}: cut short: {what} needs {count} bytes at byte {self._at}, "
                f"the file has {self._data.size} bytes in all"
            )
        self._at += count
        return self._data[self._at - count : self._at]
