"""CDO version 2 (configuration data object): the register writes that configure the array, as typed commands.

A CDO is a header of five words (4, "CDO\\0", version, body length in words, inverted sum of those four) and commands.
A command starts with `opcode | length << 16`; length 255 says that the next word holds the length in words.
Sources: AMD's bootgen (Apache-2.0) for opcodes and arguments; every form was checked with real files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from xattn.array.words import (
    U32_MAX,
    WORD,
    ByteReader,
    check_unsigned,
    check_whole_words,
    complement_of_sum,
    pack_words,
    unpack_words,
)
from xattn.errors import InputError

IDENTIFICATION = 0x004F4443
VERSION = 0x200
HEADER_WORDS = 5
LONG_LENGTH = 0xFF
_OLDEST_VERSION, _FIRST_UNKNOWN_VERSION = 0x150, 0x300


@dataclass(frozen=True, slots=True)
class Write:
    """Write `value` to `address`; `wide` uses the 64-bit address form (opcode 0x108 instead of 0x103)."""

    OPCODE: ClassVar[int] = 0x103
    WIDE_OPCODE: ClassVar[int] = 0x108
    address: int
    value: int
    wide: bool = False

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return pack_words([*_address_words(self.address, self.wide), self.value])


@dataclass(frozen=True, slots=True)
class MaskWrite:
    """Replace the bits of `address` that `mask` selects by those of `value`."""

    OPCODE: ClassVar[int] = 0x102
    WIDE_OPCODE: ClassVar[int] = 0x107
    address: int
    mask: int
    value: int
    wide: bool = False

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return pack_words([*_address_words(self.address, self.wide), self.mask, self.value])


@dataclass(frozen=True, slots=True)
class MaskPoll:
    """Wait up to `timeout` (ms) until the word at `address`, masked, is `expected`; `options`: flags, error code."""

    OPCODE: ClassVar[int] = 0x101
    WIDE_OPCODE: ClassVar[int] = 0x106
    address: int
    mask: int
    expected: int
    timeout: int
    options: tuple[int, ...] = ()
    wide: bool = False

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        if len(self.options) > 2:
            raise InputError(f"a mask poll has at most 2 option words (flags, error code), not {len(self.options)}")
        fixed = [self.mask, self.expected, self.timeout]
        return pack_words([*_address_words(self.address, self.wide), *fixed, *self.options])


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait for `duration`, a word whose unit the firmware defines."""

    OPCODE: ClassVar[int] = 0x104
    duration: int

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return pack_words([self.duration])


@dataclass(frozen=True, slots=True)
class DmaWrite:
    """Copy `data` (whole little-endian words) to consecutive addresses from the 64-bit `address` on."""

    OPCODE: ClassVar[int] = 0x105
    address: int
    data: bytes

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return pack_words(_address_words(self.address, wide=True)) + check_whole_words(
            self.data, "the data of a DMA write"
        )

    def words(self) -> tuple[int, ...]:
        """The data as unsigned 32-bit words."""
        return unpack_words(self.data)


@dataclass(frozen=True, slots=True)
class Nop:
    """Does nothing; `padding` (whole words) makes the next command's payload start at an aligned place."""

    OPCODE: ClassVar[int] = 0x111
    padding: bytes = b""

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return check_whole_words(self.padding, "the padding of a NOP")


@dataclass(frozen=True, slots=True)
class End:
    """Marks the end of the commands; loaders ignore what follows."""

    OPCODE: ClassVar[int] = 0x100

    def arguments(self) -> bytes:
        """No words."""
        return b""


@dataclass(frozen=True, slots=True)
class Other:
    """A command that array configurations do not need, kept as it is: `opcode` (16 bits), `payload` (whole words)."""

    opcode: int
    payload: bytes = b""

    def arguments(self) -> bytes:
        """The argument words, little-endian."""
        return check_whole_words(self.payload, f"the payload of command {self.opcode:#x}")


Command: TypeAlias = Write | MaskWrite | MaskPoll | Delay | DmaWrite | Nop | End | Other


@dataclass(frozen=True, slots=True)
class Cdo:
    """A configuration: its commands, and what else a file of that content can differ in.

    `long_forms` are the indices of commands that carry their length in a second word although it is below 255.
    """

    commands: tuple[Command, ...]
    version: int = VERSION
    long_forms: frozenset[int] = field(default_factory=frozenset)


def opcode(command: Command) -> int:
    """The 16-bit opcode that this command is written with."""
    if isinstance(command, Other):
        if command.opcode in _READERS:
            raise InputError(f"opcode {command.opcode:#x} has a command of its own; Other is for the rest")
        return check_unsigned(command.opcode, 16, "the opcode")
    if isinstance(command, (Write, MaskWrite, MaskPoll)) and command.wide:
        return command.WIDE_OPCODE
    return command.OPCODE


def encode_command(command: Command, long_form: bool = False) -> bytes:
    """The bytes of one command."""
    arguments = command.arguments()
    count = len(arguments) // WORD
    if count < LONG_LENGTH and not long_form:
        return pack_words([opcode(command) | count << 16]) + arguments
    return pack_words([opcode(command) | LONG_LENGTH << 16, count]) + arguments


def write_cdo(cdo: Cdo) -> bytes:
    """The file that holds `cdo`; values that do not fit their words are an InputError."""
    body = b"".join(encode_command(command, index in cdo.long_forms) for index, command in enumerate(cdo.commands))
    head = (HEADER_WORDS - 1, IDENTIFICATION, cdo.version, len(body) // WORD)
    return pack_words([*head, complement_of_sum(head)]) + body


def read_cdo(data: bytes) -> Cdo:
    """The CDO in `data`, which it fills exactly; anything else is a MalformedError that names the place."""
    reader = ByteReader(data, "CDO")
    cdo = _read(reader)
    reader.expect_end()
    return cdo


def read_cdo_part(data: bytes) -> tuple[Cdo, int]:
    """The CDO at the start of `data` and its size in bytes."""
    reader = ByteReader(data, "CDO")
    return _read(reader), reader.offset


def _read(reader: ByteReader) -> Cdo:
    reader.expect_word(HEADER_WORDS - 1, "the header's length in words", "is this a CDO of version 2?")
    reader.expect_word(IDENTIFICATION, 'the identification "CDO"')
    version = reader.word("the version")
    if not _OLDEST_VERSION <= version < _FIRST_UNKNOWN_VERSION:
        reader.fail(reader.offset - WORD, f"version {version:#x}", f"{VERSION:#x}", "only CDO version 2 can be read")
    length = reader.word("the body's length")
    checksum = complement_of_sum((HEADER_WORDS - 1, IDENTIFICATION, version, length))
    reader.expect_word(checksum, "the header's checksum", "the header was changed or is damaged")
    if length * WORD > reader.remaining:
        found = f"{reader.remaining // WORD} words"
        reader.fail(reader.offset, found, f"the body's {length} words", "the file is cut short")
    body = ByteReader(reader.data, "CDO", reader.offset, reader.offset + length * WORD)
    commands: list[Command] = []
    long_forms: list[int] = []
    for command, long_form in _commands(body):
        if long_form:
            long_forms.append(len(commands))
        commands.append(command)
    reader.offset = body.end
    return Cdo(tuple(commands), version, frozenset(long_forms))


def _commands(reader: ByteReader) -> Iterator[tuple[Command, bool]]:
    while reader.remaining:
        start = reader.offset
        head = reader.word("a command")
        if head >> 24:
            reader.fail(
                start,
                f"{head:#010x}",
                "a command word with bits 31:24 clear",
                "a stream rewritten by AMD's PDI transform cannot be read as commands",
            )
        count = head >> 16
        extended = count == LONG_LENGTH
        if extended:
            count = reader.word("a command's length")
        name = head & 0xFFFF
        if count * WORD > reader.remaining:
            expected = f"{count} argument words of command {name:#x}"
            reader.fail(start, f"{reader.remaining // WORD} words before the end", expected, "the file is cut short")
        arguments = reader.take(count * WORD, "a command's arguments")
        command = _decode(reader, start, name, arguments)
        yield command, extended and count < LONG_LENGTH


def _decode(reader: ByteReader, start: int, name: int, arguments: bytes) -> Command:
    if name not in _READERS:
        return Other(name, arguments)
    least, most, build = _READERS[name]
    count = len(arguments) // WORD
    if not least <= count <= most:
        expected = f"{least}" if least == most else f"{least} or more" if most == U32_MAX else f"{least} to {most}"
        reader.fail(start, f"{count} argument words", f"{expected} for command {name:#x}")
    return build(arguments)


def _address_words(address: int, wide: bool) -> list[int]:
    if wide:
        check_unsigned(address, 64, "the address")
        return [address >> 32, address & U32_MAX]
    return [check_unsigned(address, 32, "the address")]


def _narrow_or_wide(words: tuple[int, ...], wide: bool) -> tuple[int, tuple[int, ...]]:
    """The address at the start of `words`, and the words after it."""
    if wide:
        return words[0] << 32 | words[1], words[2:]
    return words[0], words[1:]


def _write(data: bytes, wide: bool) -> Command:
    address, rest = _narrow_or_wide(unpack_words(data), wide)
    return Write(address, rest[0], wide)


def _mask_write(data: bytes, wide: bool) -> Command:
    address, rest = _narrow_or_wide(unpack_words(data), wide)
    return MaskWrite(address, rest[0], rest[1], wide)


def _mask_poll(data: bytes, wide: bool) -> Command:
    address, rest = _narrow_or_wide(unpack_words(data), wide)
    return MaskPoll(address, rest[0], rest[1], rest[2], rest[3:], wide)


def _dma_write(data: bytes) -> Command:
    high, low = unpack_words(data[: 2 * WORD])
    return DmaWrite(high << 32 | low, data[2 * WORD :])


def _end(_: bytes) -> Command:
    return End()


# Opcode: (least and most argument words, how to build the command from its arguments).
_READERS: dict[int, tuple[int, int, Callable[[bytes], Command]]] = {
    End.OPCODE: (0, 0, _end),
    MaskPoll.OPCODE: (4, 6, lambda data: _mask_poll(data, wide=False)),
    MaskPoll.WIDE_OPCODE: (5, 7, lambda data: _mask_poll(data, wide=True)),
    MaskWrite.OPCODE: (3, 3, lambda data: _mask_write(data, wide=False)),
    MaskWrite.WIDE_OPCODE: (4, 4, lambda data: _mask_write(data, wide=True)),
    Write.OPCODE: (2, 2, lambda data: _write(data, wide=False)),
    Write.WIDE_OPCODE: (3, 3, lambda data: _write(data, wide=True)),
    Delay.OPCODE: (1, 1, lambda data: Delay(*unpack_words(data))),
    DmaWrite.OPCODE: (2, U32_MAX, _dma_write),
    Nop.OPCODE: (0, U32_MAX, Nop),
}
