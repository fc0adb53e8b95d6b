"""Little-endian words out of a bounded buffer: the one place where a reader can run past the end of a file."""

from __future__ import annotations

import struct
from typing import NoReturn

from xattn.errors import FileFormatError, InputError

WORD = 4
U32_MAX = 0xFFFF_FFFF


class MalformedError(FileFormatError):
    """A file that breaks its format: at `offset` (bytes) stands `found` where `expected` belongs.

    `remedy` says what the user can do; it ends the message.
    """

    def __init__(self, file_format: str, offset: int, found: str, expected: str, remedy: str = "") -> None:
        self.file_format = file_format
        self.offset = offset
        self.found = found
        self.expected = expected
        self.remedy = remedy
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"{file_format}, byte {offset:#x}: found {found}, expected {expected}{tail}")


class ByteReader:
    """A cursor over `data[start:end]`; every read is checked against the end, and a failure names the place."""

    def __init__(self, data: bytes, file_format: str, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.file_format = file_format
        self.end = len(data) if end is None else min(end, len(data))
        self.offset = start
        if start > self.end:
            remedy = "the file is cut short or a pointer is damaged"
            self.fail(start, f"nothing, since the data end at {self.end:#x}", "data", remedy)

    def fail(self, offset: int, found: str, expected: str, remedy: str = "") -> NoReturn:
        """Raise MalformedError for `offset` (bytes from the start of the file)."""
        raise MalformedError(self.file_format, offset, found, expected, remedy)

    @property
    def remaining(self) -> int:
        """Bytes left before the end."""
        return self.end - self.offset

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, called `what` if they are missing."""
        if size > self.remaining:
            self.fail(
                self.offset,
                f"{self.remaining} bytes before the end",
                f"{size} bytes of {what}",
                "the file is cut short",
            )
        start = self.offset
        self.offset += size
        return self.data[start : self.offset]

    def word(self, what: str) -> int:
        """The next unsigned 32-bit word."""
        return int.from_bytes(self.take(WORD, what), "little")

    def words(self, count: int, what: str) -> tuple[int, ...]:
        """The next `count` unsigned 32-bit words."""
        return unpack_words(self.take(count * WORD, what))

    def expect_word(self, expected: int, what: str, remedy: str = "") -> int:
        """The next word, which has to be `expected`."""
        start = self.offset
        found = self.word(what)
        if found != expected:
            self.fail(start, f"{found:#x}", f"{expected:#x} ({what})", remedy)
        return found

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self.remaining:
            self.fail(self.offset, f"{self.remaining} bytes more", "the end", "is something appended to the file?")


def pack_words(words: tuple[int, ...] | list[int]) -> bytes:
    """Little-endian bytes of unsigned 32-bit words; a value outside 0..2**32-1 is an InputError."""
    try:
        return struct.pack(f"<{len(words)}I", *words)
    except struct.error:
        bad = next(word for word in words if not 0 <= word <= U32_MAX)
        raise InputError(f"{bad:#x} does not fit an unsigned 32-bit word") from None


def unpack_words(data: bytes) -> tuple[int, ...]:
    """The unsigned 32-bit words of `data`, whose length is a multiple of 4."""
    return struct.unpack(f"<{len(data) // WORD}I", data)


def complement_of_sum(words: tuple[int, ...]) -> int:
    """The checksum of CDO and PDI headers: the inverted sum of the words, modulo 2**32."""
    return ~sum(words) & U32_MAX


def align_up(value: int, alignment: int) -> int:
    """`value` rounded up to a multiple of `alignment`."""
    return -(-value // alignment) * alignment


def check_unsigned(value: int, bits: int, what: str) -> int:
    """`value`, if it is an unsigned number of `bits` bits; otherwise InputError."""
    if not 0 <= value < 1 << bits:
        raise InputError(f"{what} is {value:#x}, which does not fit {bits} bits (0 to {(1 << bits) - 1:#x})")
    return value


def check_whole_words(data: bytes, what: str) -> bytes:
    """`data`, if its length is a multiple of 4; otherwise InputError."""
    if len(data) % WORD:
        raise InputError(f"{what} is {len(data)} bytes long, which is not a multiple of 4; pad it with zeros")
    return data


class Coverage:
    """Which bytes of a file its structures explain; the rest is kept, so that a foreign file survives a round trip."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, size: int) -> None:
        """`size` bytes from `start` are explained."""
        self._spans.append((start, start + size))

    def rest(self, data: bytes) -> tuple[tuple[int, bytes], ...]:
        """(offset, bytes) of what is left: gaps that hold anything but zeros, and all that follows the last span."""
        gaps = []
        position = 0
        for start, end in sorted(self._spans):
            if start > position and any(data[position:start]):
                gaps.append((position, data[position:start]))
            position = max(position, end)
        if position < len(data):
            gaps.append((position, data[position:]))
        return tuple(gaps)


def place(pieces: list[tuple[int, bytes]], size_limit: int) -> bytes:
    """A file with each (offset, bytes) in its place, zeros between; more than `size_limit` bytes is an InputError."""
    size = max((offset + len(piece) for offset, piece in pieces), default=0)
    if size > size_limit:
        raise InputError(f"the file would be {size} bytes long, more than the limit of {size_limit}; check the offsets")
    out = bytearray(size)
    for offset, piece in pieces:
        out[offset : offset + len(piece)] = piece
    return bytes(out)
