"""Reader of the safetensors container: u64 header length, a JSON header, then the tensors' bytes.

The header maps a name to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the header's end.
Source: the format description in the public safetensors README. Little endian.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from xattn.errors import FileFormatError
from xattn.whisper.container import Bytes, map_file, text_of
from xattn.whisper.tensors import StoredTensor

_ELEMENT_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LONGEST_HEADER = 100_000_000  # the format's own limit


def is_safetensors(head: bytes) -> bool:
    """Whether a file's first bytes are a header length that can be, and the brace that opens the JSON."""
    return len(head) >= 9 and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER and head[8:9] == b"{"


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The floating-point tensors of a file by name, as views of the mapped file; integer tensors are left out.

    FileFormatError if the file is cut short, is too long, or its header does not describe it.
    """
    data = map_file(path)
    header, body = _split(path, data)
    tensors: dict[str, StoredTensor] = {}
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        element, shape, start, stop = _entry(path, name, entry)
        end = max(end, stop)
        if stop > body.size:
            raise FileFormatError(
                f"{path}: cut short: {text_of(name)} ends at byte {stop} of {body.size} bytes of data"
            )
        if element not in _ELEMENT_TYPES:
            continue
        dtype = np.dtype(_ELEMENT_TYPES[element])
        if stop - start != math.prod(shape) * dtype.itemsize:
            raise FileFormatError(
                f"{path}: {text_of(name)} has {stop - start} bytes; shape {tuple(shape)} of {element} needs "
                f"{math.prod(shape) * dtype.itemsize}"
            )
        tensors[name] = StoredTensor(body[start:stop].view(dtype).reshape(shape))
    if end != body.size:
        raise FileFormatError(f"{path}: {body.size} bytes of data; its header describes {end}")
    return tensors


def _split(path: Path, data: Bytes) -> tuple[dict[str, Any], Bytes]:
    if data.size < 8:
        raise FileFormatError(f"{path}: {data.size} bytes; a safetensors file begins with an 8-byte header length")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    if length > min(_LONGEST_HEADER, data.size - 8):
        raise FileFormatError(
            f"{path}: cut short or foreign: a header of {length} bytes in a file of {data.size} bytes"
        )
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: the safetensors header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise FileFormatError(f"{path}: the safetensors header is not a JSON object")
    return header, data[8 + length :]


def _entry(path: Path, name: str, entry: Any) -> tuple[str, list[int], int, int]:
    try:
        element, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        element, shape, start, stop = None, None, None, None
    numbers = [start, stop, *shape] if isinstance(shape, list) and len(shape) <= 8 else [None]
    if not isinstance(element, str) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise FileFormatError(
            f"{path}: the header's entry for {text_of(name)} is malformed; "
            'expected {"dtype", "shape", "data_offsets": [begin, end]}'
        )
    return element, shape, start, stop
