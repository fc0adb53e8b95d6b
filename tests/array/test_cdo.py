"""CDO files against known headers and command words, and every command through a round trip."""

from __future__ import annotations

import struct

import pytest
from array_strategies import cdos
from hypothesis import given

from xattn.array.cdo import (
    Cdo,
    Delay,
    DmaWrite,
    End,
    MaskPoll,
    MaskWrite,
    Nop,
    Other,
    Write,
    encode_command,
    read_cdo,
    read_cdo_part,
    write_cdo,
)
from xattn.array.words import MalformedError
from xattn.errors import InputError


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


# bootgen's command list (Apache-2.0): opcode | argument words << 16, then the arguments.
COMMANDS = [
    (Write(0x00232000, 1), words(0x00020103, 0x00232000, 1)),
    (Write(0x1_0023_2000, 1, wide=True), words(0x00030108, 1, 0x00232000, 1)),
    (MaskWrite(0x0021DE10, 2, 2), words(0x00030102, 0x0021DE10, 2, 2)),
    (MaskWrite(0x0021DE10, 2, 3, wide=True), words(0x00040107, 0, 0x0021DE10, 2, 3)),
    (MaskPoll(0x0021DF00, 0x3, 0, 100), words(0x00040101, 0x0021DF00, 3, 0, 100)),
    (MaskPoll(0x0021DF00, 0x3, 0, 100, (1,)), words(0x00050101, 0x0021DF00, 3, 0, 100, 1)),
    (MaskPoll(0x0021DF00, 0x3, 0, 100, (1, 2), wide=True), words(0x00070106, 0, 0x0021DF00, 3, 0, 100, 1, 2)),
    (Delay(7), words(0x00010104, 7)),
    (DmaWrite(0x00220000, words(8, 9)), words(0x00040105, 0, 0x00220000, 8, 9)),
    (Nop(), words(0x00000111)),
    (Nop(bytes(8)), words(0x00020111, 0, 0)),
    (End(), words(0x00000100)),
    (Other(0x10C, bytes(16)), words(0x0004010C, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("command", "expected"), COMMANDS)
def test_command_has_bootgens_words(command: Write, expected: bytes) -> None:
    assert encode_command(command) == expected
    file = words(4, 0x004F4443, 0x200, len(expected) // 4)
    file += words(~sum(struct.unpack("<4I", file)) & 0xFFFFFFFF) + expected
    assert read_cdo(file).commands == (command,)
    assert write_cdo(Cdo((command,))) == file


def test_header_of_a_real_configuration() -> None:
    # The single-core attention design that mlir-aie built: 1,396 words of commands.
    file = write_cdo(Cdo((Nop(bytes(4 * (1396 - 2))),)))
    assert file[:20] == words(4, 0x004F4443, 0x00000200, 0x574, 0xFFB0B444)


def test_long_commands_carry_their_length_in_a_second_word() -> None:
    program = DmaWrite(0x220000, bytes(4 * 1020))
    assert encode_command(program)[:16] == words(0x00FF0105, 1022, 0, 0x220000)
    assert encode_command(DmaWrite(0, bytes(4 * 252)))[:4] == words(0x00FE0105)
    assert encode_command(DmaWrite(0, bytes(4 * 253)))[:8] == words(0x00FF0105, 255)


@given(cdos())
def test_cdo_survives_a_round_trip(cdo: Cdo) -> None:
    data = write_cdo(cdo)
    assert read_cdo(data) == cdo
    assert write_cdo(read_cdo(data)) == data
    assert read_cdo_part(data + b"tail") == (cdo, len(data))


GOOD = write_cdo(Cdo((Write(0x232000, 1), MaskWrite(0x232000, 1, 1))))


@pytest.mark.parametrize(
    ("data", "offset", "found", "expected"),
    [
        (b"", 0, "0 bytes", "4 bytes"),
        (GOOD[:18], 16, "2 bytes", "checksum"),
        (GOOD[:-4], 20, "6 words", "7 words"),
        (GOOD + words(0), 48, "4 bytes more", "the end"),
        (words(5) + GOOD[4:], 0, "0x5", "0x4"),
        (GOOD[:4] + b"XLNX" + GOOD[8:], 4, "0x584e4c58", "CDO"),
        (GOOD[:8] + words(0x300) + GOOD[12:], 8, "0x300", "0x200"),
        (GOOD[:12] + words(8) + GOOD[16:], 16, "0xffb0b9b1", "0xffb0b9b0"),
        (GOOD[:20] + words(0x00030103) + GOOD[24:], 20, "3 argument words", "2 for command 0x103"),
        (GOOD[:20] + words(0x00100111) + GOOD[24:], 20, "6 words", "16 argument words"),
        (GOOD[:20] + words(0x00FF0111, 0xFFFFFFFF) + GOOD[28:], 20, "5 words", "4294967295 argument words"),
        (GOOD[:20] + words(0x01020103) + GOOD[24:], 20, "0x01020103", "bits 31:24 clear"),
    ],
)
def test_broken_files_are_explained(data: bytes, offset: int, found: str, expected: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_cdo(data)
    error = caught.value
    assert error.offset == offset
    assert found in error.found
    assert expected in error.expected
    assert str(error).startswith(f"CDO, byte {offset:#x}: found {error.found}, expected {error.expected}")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Write(1 << 32, 0), "the address is 0x100000000, which does not fit 32 bits"),
        (Write(0, 1 << 32), "unsigned 32-bit word"),
        (MaskWrite(0, -1, 0), "unsigned 32-bit word"),
        (DmaWrite(0, b"abc"), "3 bytes long"),
        (Nop(b"abc"), "3 bytes long"),
        (Other(0x103, bytes(8)), "a command of its own"),
        (Other(1 << 16), "16 bits"),
        (MaskPoll(0, 0, 0, 0, (1, 2, 3)), "at most 2 option words"),
    ],
)
def test_impossible_commands_are_refused(command: Write, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_cdo(Cdo((command,)))
