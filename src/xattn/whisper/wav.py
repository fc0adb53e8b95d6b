"""Reader of RIFF/WAVE files: 8, 16, 24 and 32-bit PCM, 32 and 64-bit float, plain or "extensible" headers.

The standard library's ``wave`` knows neither float nor (before Python 3.12) extensible headers, hence this one.
Source: Microsoft's and IBM's Multimedia Programming Interface 1.0 and the WAVEFORMATEXTENSIBLE description.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xattn.errors import FileFormatError
from xattn.whisper.container import text_of

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_LENGTHS = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)  # what programs write that stream to a pipe
_SUPPORTED = "8, 16, 24 or 32-bit PCM, or 32 or 64-bit float"


@dataclass(frozen=True)
class WavSamples:
    """The samples of a WAV file: float32 [frames, channels], full scale ±1, and the rate in Hz."""

    samples: NDArray[np.float32]
    rate: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Format:
    tag: int
    channels: int
    rate: int
    frame_bytes: int
    bits: int


def is_wav(head: bytes) -> bool:
    """Whether a file's first 12 bytes are those of a RIFF/WAVE file."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def is_plain_wav(path: Path, data: bytes) -> bool:
    """Whether ``read_wav`` decodes this file's samples itself, as against µ-law, ADPCM and the like."""
    found = next((body for name, body in _chunks(path, data) if name == b"fmt "), None)
    return found is None or _format(path, bytes(found)).tag in (_PCM, _FLOAT)


def read_wav(path: Path, data: bytes) -> WavSamples:
    """Decode the bytes of a WAV file; ``path`` only serves the messages.

    FileFormatError for a file that is cut short, has no format or data chunk, or holds samples of an unknown kind.
    """
    fmt: _Format | None = None
    for name, body in _chunks(path, data):
        if name == b"fmt ":
            fmt = _format(path, bytes(body))
        elif name == b"data":
            if fmt is None:
                raise FileFormatError(f"{path}: the data chunk comes before any format chunk; not a usable WAV file")
            return _decode(path, fmt, body)
    raise FileFormatError(f"{path}: a WAV file without a {'data' if fmt else 'format'} chunk; it may be cut short")


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    at = 12
    while at + 8 <= len(view):
        name, size = struct.unpack_from("<4sI", view, at)
        at += 8
        if name == b"data" and size in _UNKNOWN_LENGTHS:
            size = len(view) - at
        if at + size > len(view):
            raise FileFormatError(
                f"{path}: cut short: the {text_of(name).strip()} chunk should have {size} "
                f"bytes, {len(view) - at} are there"
            )
        yield name, view[at : at + size]
        at += size + size % 2


def _format(path: Path, body: bytes) -> _Format:
    if len(body) < 16:
        raise FileFormatError(f"{path}: a WAV format chunk of {len(body)} bytes; expected at least 16")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)  # the sub-format GUID starts with the plain tag
    return _Format(tag, channels, rate, frame_bytes, bits)


def _decode(path: Path, fmt: _Format, body: memoryview) -> WavSamples:
    wide = fmt.bits // 8
    supported = (_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)
    if (fmt.tag, fmt.bits) not in supported:
        raise FileFormatError(f"{path}: WAV samples of format {fmt.tag}, {fmt.bits} bits; expected {_SUPPORTED}")
    if fmt.channels < 1 or fmt.frame_bytes != wide * fmt.channels:
        raise FileFormatError(
            f"{path}: a WAV header with {fmt.channels} channels of {wide} bytes in frames of {fmt.frame_bytes} bytes"
        )
    frames, rest = divmod(len(body), fmt.frame_bytes)
    notes = (f"{rest} bytes after the last whole frame were left out",) if rest else ()
    raw = np.frombuffer(body[: frames * fmt.frame_bytes], np.uint8)
    samples = _floats(raw, fmt).reshape(frames, fmt.channels)
    return WavSamples(samples, fmt.rate, notes)


def _floats(raw: NDArray[np.uint8], fmt: _Format) -> NDArray[np.float32]:
    if fmt.tag == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):  # the caller reports what is then infinite or NaN
            return raw.view(np.dtype(f"<f{fmt.bits // 8}")).astype(np.float32)
    values: NDArray[np.float32]
    if fmt.bits == 8:  # the one width that WAV stores unsigned
        values = raw.astype(np.float32) - np.float32(128)
    elif fmt.bits == 24:
        widened = np.zeros((raw.size // 3, 4), np.uint8)
        widened[:, 1:] = raw.reshape(-1, 3)
        values = widened.view(np.dtype("<i4")).ravel().astype(np.float32) / np.float32(256)
    else:
        values = raw.view(np.dtype(f"<i{fmt.bits // 8}")).astype(np.float32)
    values /= np.float32(1 << (fmt.bits - 1))
    return values
