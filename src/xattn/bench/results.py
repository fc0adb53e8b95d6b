"""Result files: one JSON object each, of one of the kinds of `xattn.bench.record`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from xattn.bench.record import Result
from xattn.errors import FileFormatError

_decoder = msgspec.json.Decoder(Result)


def read_result(path: Path) -> Result:
    """The result in a file. FileFormatError when it cannot be read or is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None
    return decode_result(data, str(path))


def decode_result(data: bytes, name: str) -> Result:
    """The result that `data` says; `name` is for errors."""
    try:
        result: Result = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{name}: not a result of xattn ({error})") from None
    return result
