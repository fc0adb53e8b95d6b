"""The NPU instruction stream (`insts.bin`): what the controller does at run time, as typed operations.

The file is a "transaction" of version 0.1: a header of 16 bytes (versions, array shape, number of operations, length in
bytes) and the operations, all little-endian words. The first word of an operation has its code in the low byte.
Sources: mlir-aie (Apache-2.0 with LLVM exceptions) and aie-rt (MIT) for the layouts, checked with a real stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from xattn.array.words import U32_MAX, WORD, ByteReader, check_unsigned, pack_words, unpack_words
from xattn.errors import InputError

FORMAT = "instruction stream"
HEADER_BYTES = 16
MAJOR, MINOR = 0, 1
NPU1_GENERATION = 3
NPU1_ROWS = 6
FIRST_CUSTOM_CODE = 0x80

_GENERATIONS = (NPU1_GENERATION, 4)
_PATCH_WORDS = 12
_SYNC_WORDS = 4


@dataclass(frozen=True, slots=True)
class Write32:
    """Write `value` to the array address `address` (up to 64 bits). `tag`, `pad`: bits without a known meaning."""

    CODE: ClassVar[int] = 0
    address: int
    value: int
    tag: int = 0
    pad: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        return [_first(self.CODE, self.tag), self.pad, *_low_high(self.address), self.value, 6 * WORD]


@dataclass(frozen=True, slots=True)
class BlockWrite:
    """Write `data` (words) to consecutive 32-bit array addresses from `address` on.

    `tile`: the second word, where some tools repeat `column | row << 8`; `tag`: bits without a known meaning.
    """

    CODE: ClassVar[int] = 1
    address: int
    data: tuple[int, ...]
    tag: int = 0
    tile: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        return [_first(self.CODE, self.tag), self.tile, self.address, (4 + len(self.data)) * WORD, *self.data]


@dataclass(frozen=True, slots=True)
class MaskWrite:
    """Replace the bits of `address` that `mask` selects by those of `value`."""

    CODE: ClassVar[int] = 3
    address: int
    value: int
    mask: int
    tag: int = 0
    pad: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        return [_first(self.CODE, self.tag), self.pad, *_low_high(self.address), self.value, self.mask, 7 * WORD]


@dataclass(frozen=True, slots=True)
class MaskPoll:
    """Wait until the bits of `address` that `mask` selects are those of `value`."""

    CODE: ClassVar[int] = 4
    address: int
    value: int
    mask: int
    tag: int = 0
    pad: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        return [_first(self.CODE, self.tag), self.pad, *_low_high(self.address), self.value, self.mask, 7 * WORD]


@dataclass(frozen=True, slots=True)
class Noop:
    """Does nothing."""

    CODE: ClassVar[int] = 5
    tag: int = 0

    def words(self) -> list[int]:
        """The operation's word."""
        return [_first(self.CODE, self.tag)]


@dataclass(frozen=True, slots=True)
class Preempt:
    """A point where the firmware may switch contexts; `level` (8 bits) says what it has to save."""

    CODE: ClassVar[int] = 6
    level: int
    tag: int = 0

    def words(self) -> list[int]:
        """The operation's word."""
        level = check_unsigned(self.level, 8, "the preemption level")
        return [self.CODE | level << 8 | check_unsigned(self.tag, 16, "the tag") << 16]


@dataclass(frozen=True, slots=True)
class LoadPdi:
    """Load the PDI with this `id` (16 bits), `size` (bytes) and `address` (64 bits)."""

    CODE: ClassVar[int] = 8
    id: int
    size: int
    address: int
    tag: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        first = (
            self.CODE | check_unsigned(self.tag, 8, "the tag") << 8 | check_unsigned(self.id, 16, "the PDI id") << 16
        )
        return [first, self.size, *_low_high(self.address)]


@dataclass(frozen=True, slots=True)
class Sync:
    """Wait for the task-complete tokens of a channel, from `columns` × `rows` tiles starting at (column, row).

    `to_array` is the direction: False waits for S2MM (array to host), True for MM2S (host to array). `reserved` is the
    low byte of the last word, `reserved_high` the high byte of the one before, both without a known meaning.
    """

    CODE: ClassVar[int] = 0x80
    column: int
    row: int
    channel: int
    to_array: bool = False
    columns: int = 1
    rows: int = 1
    tag: int = 0
    reserved: int = 0
    reserved_high: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        place = _four_bytes(int(self.to_array), self.row, self.column, self.reserved_high)
        extent = _four_bytes(self.reserved, self.rows, self.columns, self.channel)
        return [_first(self.CODE, self.tag), _SYNC_WORDS * WORD, place, extent]


@dataclass(frozen=True, slots=True)
class AddressPatch:
    """Add the address of host buffer `argument` plus `offset` (bytes) to the BD address at the register `address`."""

    CODE: ClassVar[int] = 0x81
    address: int
    argument: int
    offset: int = 0
    tag: int = 0
    reserved: tuple[int, int, int, int] = (0, 0, 0, 0)

    def words(self) -> list[int]:
        """The operation's words."""
        numbers = [*_low_high(self.address), *_low_high(self.argument), *_low_high(self.offset)]
        return [_first(self.CODE, self.tag), _PATCH_WORDS * WORD, *self.reserved, *numbers]


@dataclass(frozen=True, slots=True)
class Custom:
    """Another operation with a size of its own (codes from 0x82), kept as it is: `payload` follows the size word."""

    code: int
    payload: tuple[int, ...]
    tag: int = 0

    def words(self) -> list[int]:
        """The operation's words."""
        if not FIRST_CUSTOM_CODE < self.code <= 0xFF or self.code == AddressPatch.CODE:
            raise InputError(f"code {self.code:#x} is not one of the custom operations, 0x82 to 0xff")
        return [_first(self.code, self.tag), (2 + len(self.payload)) * WORD, *self.payload]


Operation: TypeAlias = (
    Write32 | BlockWrite | MaskWrite | MaskPoll | Noop | Preempt | LoadPdi | Sync | AddressPatch | Custom
)


@dataclass(frozen=True, slots=True)
class InstructionStream:
    """The operations and the array they are for: rows in all, rows of mem tiles, columns; device generation 3 is XDNA1.

    `reserved`: the upper half of the header's second word, without a known meaning.
    """

    operations: tuple[Operation, ...]
    columns: int = 4
    rows: int = NPU1_ROWS
    mem_tile_rows: int = 1
    generation: int = NPU1_GENERATION
    reserved: int = 0


def write_instructions(stream: InstructionStream) -> bytes:
    """The file that holds `stream`; values that do not fit their bits are an InputError."""
    body = b"".join(pack_words(operation.words()) for operation in stream.operations)
    versions = _four_bytes(MAJOR, MINOR, stream.generation, stream.rows)
    shape = _four_bytes(stream.columns, stream.mem_tile_rows, stream.reserved & 0xFF, stream.reserved >> 8)
    return pack_words([versions, shape, len(stream.operations), HEADER_BYTES + len(body)]) + body


def write_instruction_text(stream: InstructionStream) -> str:
    """The same as text: one word per line, eight hexadecimal digits (older hosts read `insts.txt`)."""
    return "".join(f"{word:08X}\n" for word in unpack_words(write_instructions(stream)))


def read_instructions(data: bytes) -> InstructionStream:
    """The stream in `data`, binary or text; a truncated, foreign or damaged file is a MalformedError."""
    reader = ByteReader(_binary(data), FORMAT)
    versions = reader.take(WORD, "the versions")
    if (versions[0], versions[1]) != (MAJOR, MINOR):
        remedy = "is this an instruction stream of XDNA1? compact streams (1.0) and .seq files of 2023 cannot be read"
        reader.fail(0, f"version {versions[0]}.{versions[1]}", f"{MAJOR}.{MINOR}", remedy)
    shape = reader.take(WORD, "the array's shape")
    count = reader.word("the number of operations")
    reader.expect_word(len(reader.data), "the length in bytes", "the file is cut short or something is appended")
    if count * WORD > reader.remaining:
        reader.fail(2 * WORD, f"{count} operations", f"no more than {reader.remaining // WORD} in these bytes")
    operations = tuple(_operation(reader) for _ in range(count))
    reader.expect_end()
    return InstructionStream(
        operations,
        columns=shape[0],
        rows=versions[3],
        mem_tile_rows=shape[1],
        generation=versions[2],
        reserved=shape[2] | shape[3] << 8,
    )


def is_instruction_stream(data: bytes) -> bool:
    """Whether `data` starts like a binary instruction stream."""
    return len(data) >= HEADER_BYTES and data[:2] == bytes([MAJOR, MINOR]) and data[2] in _GENERATIONS


def _binary(data: bytes) -> bytes:
    """`data`, or the bytes that its lines of eight hexadecimal digits stand for."""
    if not re.match(rb"[0-9A-Fa-f]{8}\s", data):
        return data
    lines = data.split()
    for number, line in enumerate(lines):
        if not re.fullmatch(rb"[0-9A-Fa-f]{8}", line):
            found = f"{line[:20]!r} as word {number + 1}"
            ByteReader(data, FORMAT).fail(data.find(line), found, "eight hexadecimal digits", "is this insts.txt?")
    return pack_words([int(line, 16) for line in lines])


@dataclass(frozen=True, slots=True)
class _Shape:
    """How an operation is stored: its length in words if that is fixed, the word that holds its size in bytes if one
    does, and how to build it from all its words."""

    build: Callable[[tuple[int, ...]], Operation]
    length: int | None = None
    size_word: int | None = None


def _operation(reader: ByteReader) -> Operation:
    start = reader.offset
    code = reader.word("an operation") & 0xFF
    shape = _CUSTOM if code > AddressPatch.CODE else _SHAPES.get(code)
    if shape is None:
        known = ", ".join(f"{name:#x}" for name in sorted(_SHAPES))
        remedy = "the stream needs a newer reader"
        reader.fail(start, f"operation {code:#x}", f"one of {known}, or 0x82 to 0xff", remedy)
    length = shape.length if shape.size_word is None else _stored_length(reader, start, shape)
    reader.offset = start
    words = reader.words(length or 0, "an operation")
    if code == Sync.CODE and words[2] & 0xFF > 1:
        reader.fail(start + 2 * WORD, f"direction {words[2] & 0xFF}", "0 (S2MM) or 1 (MM2S)")
    return shape.build(words)


def _stored_length(reader: ByteReader, start: int, shape: _Shape) -> int:
    """The operation's length in words, from its size word, which has to suit the shape."""
    before = shape.size_word or 0
    reader.offset = start
    reader.words(before, "an operation")
    where = reader.offset
    size = reader.word("an operation's size")
    if shape.length is not None and size != shape.length * WORD:
        reader.fail(where, f"a size of {size} bytes", f"{shape.length * WORD}")
    if size % WORD or size < (before + 1) * WORD:
        reader.fail(where, f"a size of {size} bytes", f"a multiple of 4, at least {(before + 1) * WORD}")
    return size // WORD


def _long(words: tuple[int, ...], index: int) -> int:
    """The 64-bit number at words[index], low half first."""
    return words[index] | words[index + 1] << 32


def _sync(words: tuple[int, ...]) -> Operation:
    direction, row, column, reserved_high = words[2].to_bytes(WORD, "little")
    reserved, rows, columns, channel = words[3].to_bytes(WORD, "little")
    return Sync(column, row, channel, bool(direction), columns, rows, words[0] >> 8, reserved, reserved_high)


def _address_patch(words: tuple[int, ...]) -> Operation:
    reserved = (words[2], words[3], words[4], words[5])
    return AddressPatch(_long(words, 6), _long(words, 8), _long(words, 10), words[0] >> 8, reserved)


_CUSTOM = _Shape(lambda words: Custom(words[0] & 0xFF, words[2:], words[0] >> 8), size_word=1)
_SHAPES: dict[int, _Shape] = {
    Write32.CODE: _Shape(
        lambda words: Write32(_long(words, 2), words[4], words[0] >> 8, words[1]), length=6, size_word=5
    ),
    BlockWrite.CODE: _Shape(lambda words: BlockWrite(words[2], words[4:], words[0] >> 8, words[1]), size_word=3),
    MaskWrite.CODE: _Shape(
        lambda words: MaskWrite(_long(words, 2), words[4], words[5], words[0] >> 8, words[1]), length=7, size_word=6
    ),
    MaskPoll.CODE: _Shape(
        lambda words: MaskPoll(_long(words, 2), words[4], words[5], words[0] >> 8, words[1]), length=7, size_word=6
    ),
    Noop.CODE: _Shape(lambda words: Noop(words[0] >> 8), length=1),
    Preempt.CODE: _Shape(lambda words: Preempt(words[0] >> 8 & 0xFF, words[0] >> 16), length=1),
    LoadPdi.CODE: _Shape(
        lambda words: LoadPdi(words[0] >> 16, words[1], _long(words, 2), words[0] >> 8 & 0xFF), length=4
    ),
    Sync.CODE: _Shape(_sync, length=_SYNC_WORDS, size_word=1),
    AddressPatch.CODE: _Shape(_address_patch, length=_PATCH_WORDS, size_word=1),
}


def _first(code: int, tag: int) -> int:
    return code | check_unsigned(tag, 24, "the tag") << 8


def _low_high(value: int) -> tuple[int, int]:
    check_unsigned(value, 64, "a 64-bit number")
    return value & U32_MAX, value >> 32


def _four_bytes(*values: int) -> int:
    """A word of four bytes, the first lowest."""
    return int.from_bytes(bytes(check_unsigned(value, 8, "a byte field") for value in values), "little")
