"""What every reader of a weights file shares: mapped bytes, the common tensor names, and the answer it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xattn.errors import FileFormatError
from xattn.whisper.tensors import StoredTensor

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Contents:
    """The tensors of a weights file under the common names, and what the tensors alone do not tell.

    The common names are those of Hugging Face's WhisperModel state dict, such as
    "encoder.layers.0.self_attn.q_proj.weight".
    """

    tensors: Mapping[str, StoredTensor]
    heads: int | None
    """Encoder heads, or None where the file does not say (they are then 64 channels wide)."""
    decoder_heads: int | None
    container: str
    """The file format's name, for reports."""


def map_file(path: Path) -> Bytes:
    """The bytes of a file, memory-mapped and read-only; FileFormatError if it is missing, unreadable or empty."""
    try:
        if path.stat().st_size == 0:
            raise FileFormatError(f"{path}: the file is empty; expected Whisper weights")
        return np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); expected Whisper weights") from None


def text_of(raw: bytes | str) -> str:
    """The first 80 bytes or characters of a foreign file's text, all of it printable, for a message."""
    text = raw[:80].decode("latin-1") if isinstance(raw, bytes) else raw[:80]
    return "".join(c if c.isascii() and c.isprintable() else f"\\x{ord(c):02x}" for c in text)
