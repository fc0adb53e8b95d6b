"""What commands share: reading input, writing output whole or not at all, numbers in any base, shapes."""

from __future__ import annotations

import os
import sys
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


def tile_shape(text: str) -> tuple[int, int]:
    """Tokens and width of "64x64". InputError for anything else."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"shape {text!r} is not tokens × channels, such as 64x64")
    return int(parts[0]), int(parts[1])
