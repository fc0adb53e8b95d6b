"""Instruction streams against the words that mlir-aie's own tests expect, and every operation through a round trip."""

from __future__ import annotations

import struct

import pytest
from array_strategies import streams
from hypothesis import given

from xattn.array.instructions import (
    AddressPatch,
    BlockWrite,
    Custom,
    InstructionStream,
    LoadPdi,
    MaskPoll,
    MaskWrite,
    Noop,
    Operation,
    Preempt,
    Sync,
    Write32,
    is_instruction_stream,
    read_instructions,
    write_instruction_text,
    write_instructions,
)
from xattn.array.words import MalformedError
from xattn.errors import InputError


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


DATA = (100, 101, 102, 103, 104, 105, 106, 107)

# mlir-aie, test/Targets/NPU/npu_instgen and npu_read_reg_instgen: operation and the words it becomes.
UPSTREAM: list[tuple[Operation, str]] = [
    (Write32(0x06400DEF, 0x42), "00000000 00000000 06400DEF 00000000 00000042 00000018"),
    (Write32(0xABC00DEF, 0x314), "00000000 00000000 ABC00DEF 00000000 00000314 00000018"),
    (
        BlockWrite(0x12345679, DATA),
        "00000001 00000000 12345679 00000030 00000064 00000065 00000066 00000067 00000068 00000069 0000006A 0000006B",
    ),
    (
        BlockWrite(0x02100064, DATA, tile=0x101),
        "00000001 00000101 02100064 00000030 00000064 00000065 00000066 00000067 00000068 00000069 0000006A 0000006B",
    ),
    (
        MaskWrite(0x0430567A, 0x1001, 0xF00FF00F),
        "00000003 00000000 0430567A 00000000 00001001 F00FF00F 0000001C",
    ),
    (Sync(3, 4, 5, True, columns=1, rows=2), "00000080 00000010 00030401 05010200"),
    (LoadPdi(2, 1024, 0xABC12345678), "00020008 00000400 12345678 00000ABC"),
    (Custom(0x82, (1, 0x04300100)), "00000082 00000010 00000001 04300100"),
]

# aie-rt's structures (MIT): a poll is laid out like a mask write; a patch has 64-bit numbers at words 6, 8 and 10.
AIE_RT: list[tuple[Operation, str]] = [
    (MaskPoll(0x1D220, 0, 0x3), "00000004 00000000 0001D220 00000000 00000000 00000003 0000001C"),
    (Preempt(2), "00000206"),
    (Noop(), "00000005"),
    (
        AddressPatch(0x12340, 0, 8 * (1 << 30) + 0x100),
        "00000081 00000030 00000000 00000000 00000000 00000000 00012340 00000000 00000000 00000000 00000100 00000002",
    ),
]


@pytest.mark.parametrize(("operation", "text"), UPSTREAM + AIE_RT)
def test_operation_has_upstreams_words(operation: Operation, text: str) -> None:
    expected = words(*(int(word, 16) for word in text.split()))
    file = words(0x06030100, 0x00000104, 1, 16 + len(expected)) + expected
    assert write_instructions(InstructionStream((operation,))) == file
    assert read_instructions(file) == InstructionStream((operation,))


def test_header_is_that_of_upstreams_test() -> None:
    stream = InstructionStream(tuple(operation for operation, _ in UPSTREAM[:7]))
    data = write_instructions(stream)
    assert data[:16] == words(0x06030100, 0x00000104, 0x00000007, 0x000000DC)
    assert data[-4:] == words(0xABC)
    assert is_instruction_stream(data)


@given(streams)
def test_stream_survives_a_round_trip(stream: InstructionStream) -> None:
    data = write_instructions(stream)
    assert read_instructions(data) == stream
    assert write_instructions(read_instructions(data)) == data
    assert len(data) == struct.unpack_from("<I", data, 12)[0]


@given(streams)
def test_text_form_is_the_same_stream(stream: InstructionStream) -> None:
    text = write_instruction_text(stream)
    assert all(len(line) == 8 for line in text.splitlines())
    assert read_instructions(text.encode()) == stream
    assert read_instructions(text.lower().replace("\n", "\r\n").encode()) == stream


GOOD = write_instructions(InstructionStream((Write32(0x1D214, 0), Sync(0, 0, 0))))


@pytest.mark.parametrize(
    ("data", "offset", "found", "expected"),
    [
        (b"", 0, "0 bytes", "the versions"),
        (GOOD[:14], 12, "2 bytes", "the length in bytes"),
        (words(0x06030001) + GOOD[4:], 0, "version 1.0", "0.1"),
        (words(0xDD) + GOOD[4:], 0, "version 221.0", "0.1"),
        (GOOD[:-4], 12, "0x38", "0x34"),
        (GOOD + words(0), 12, "0x38", "0x3c"),
        (GOOD[:8] + words(11) + GOOD[12:], 8, "11 operations", "no more than 10"),
        (GOOD[:8] + words(1) + GOOD[12:], 40, "16 bytes more", "the end"),
        (GOOD[:8] + words(3) + GOOD[12:], 56, "0 bytes", "an operation"),
        (GOOD[:16] + words(2) + GOOD[20:], 16, "operation 0x2", "one of 0x0, 0x1"),
        (GOOD[:36] + words(20) + GOOD[40:], 36, "a size of 20 bytes", "24"),
        (GOOD[:44] + words(12) + GOOD[48:], 44, "a size of 12 bytes", "16"),
        (GOOD[:48] + words(2) + GOOD[52:], 48, "direction 2", "0 (S2MM) or 1 (MM2S)"),
        (GOOD[:16] + words(1, 0, 0, 18, 0, 0) + GOOD[40:], 28, "a size of 18 bytes", "a multiple of 4, at least 16"),
        (GOOD[:16] + words(1, 0, 0, 4000, 0, 0) + GOOD[40:], 16, "40 bytes", "4000 bytes of an operation"),
        (GOOD[:16] + words(0x90, 4, 0, 0, 0, 0) + GOOD[40:], 20, "a size of 4 bytes", "at least 8"),
        (b"00000011\n01000405\n", 0, "version 17.0", "0.1"),
        (b"06030100\n0000010\n", 9, "b'0000010' as word 2", "eight hexadecimal digits"),
    ],
)
def test_broken_files_are_explained(data: bytes, offset: int, found: str, expected: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_instructions(data)
    error = caught.value
    assert (error.offset, error.file_format) == (offset, "instruction stream")
    assert found in error.found
    assert expected in error.expected


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Write32(1 << 64, 0), "64 bits"),
        (Write32(0, 1 << 32), "unsigned 32-bit word"),
        (Write32(0, 0, tag=1 << 24), "24 bits"),
        (Sync(256, 0, 0), "8 bits"),
        (Custom(0x81, ()), "0x82 to 0xff"),
        (Custom(0x80, ()), "0x82 to 0xff"),
        (Custom(0x100, ()), "0x82 to 0xff"),
        (LoadPdi(1 << 16, 0, 0), "the PDI id"),
        (Preempt(256), "preemption level"),
    ],
)
def test_impossible_operations_are_refused(operation: Operation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_instructions(InstructionStream((operation,)))
