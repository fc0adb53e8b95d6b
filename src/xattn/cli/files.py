"""What commands share: reading input, writing output whole or not at all, and numbers in any base."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from xattn.errors import FileFormatError, InputError


def read_bytes(path: str) -> bytes:
    """Contents of a file, or of standard input for "-". FileFormatError when it cannot be read."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None


def write_bytes(path: str, data: bytes) -> None:
    """Write a file under another name and rename it, so that nothing half-written stays; "-" is standard output."""
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes files that only the owner can read
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def integer(text: str) -> int:
    """An integer in decimal, hexadecimal (0x) or binary (0b). InputError for anything else."""
    try:
        return int(text, 0)
    except ValueError:
        raise InputError(f"expected an integer such as 4096 or 0x1000, found {text!r}") from None
