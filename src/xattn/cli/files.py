"""What commands share: reading input, writing output whole or not at all, numbers in any base, shapes, clocks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from xattn.errors import FileFormatError, InputError
from xattn.files import write_whole


def read_bytes(path: str) -> bytes:
    """Contents of a file, or of standard input for "-". FileFormatError when it cannot be read."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None


def write_bytes(path: str, data: bytes) -> None:
    """Write a file, whole or not at all; "-" is standard output. InputError when it cannot be written."""
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        write_whole(Path(path), data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def indented_json(value: object) -> bytes:
    """A record, dict or list as JSON for files and standard output: indented, with a newline at its end."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def require_writable(path: str) -> None:
    """Refuse a file that cannot be written before the work starts."""
    if path == "-":
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: {folder} is not a folder")
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: no permission to write in {folder}")


def integer(text: str) -> int:
    """An integer in decimal, hexadecimal (0x) or binary (0b). InputError for anything else."""
    try:
        return int(text, 0)
    except ValueError:
        raise InputError(f"expected an integer such as 4096 or 0x1000, found {text!r}") from None


def scalar_values(texts: Sequence[str]) -> dict[str, int]:
    """Integers by name, of options such as --define shift=3, in their order. InputError for other texts."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--define {text}: expected NAME=VALUE")
        found[name] = integer(value)
    return found


def tile_shape(text: str) -> tuple[int, int]:
    """Tokens and width of "64x64". InputError for anything else."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"shape {text!r} is not tokens × channels, such as 64x64")
    return int(parts[0]), int(parts[1])


def clock_of(text: str) -> float:
    """Hertz of "1.8" (GHz), "1.03GHz", "800MHz" or "1.8e9Hz"."""
    units = {"ghz": 1e9, "mhz": 1e6, "hz": 1.0}
    number, unit = text.strip().lower(), "ghz"
    for name in units:
        if number.endswith(name):
            number, unit = number.removesuffix(name).strip(), name
            break
    try:
        hertz = float(number) * units[unit]
    except ValueError:
        hertz = 0.0
    if not 1e6 <= hertz <= 100e9:
        raise InputError(f"clock {text!r} is no frequency from 1 MHz to 100 GHz, such as 1.8GHz, 1.03 (GHz) or 800MHz")
    return hertz
