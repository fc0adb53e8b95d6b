"""Descriptions: what they say about known writes, and that every file's description is JSON and text."""

from __future__ import annotations

import json
import struct

import pytest
from array_strategies import cdos, streams
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.array.cdo import Cdo, Delay, DmaWrite, End, MaskPoll, MaskWrite, Nop, Other, Write, write_cdo
from xattn.array.description import (
    describe_cdo,
    describe_command,
    describe_file,
    describe_instructions,
    describe_operation,
    lines,
)
from xattn.array.instructions import (
    AddressPatch,
    BlockWrite,
    InstructionStream,
    LoadPdi,
    Sync,
    Write32,
    write_instruction_text,
    write_instructions,
)
from xattn.array.pdi import build_pdi, write_pdi
from xattn.array.register_writes import describe_block, describe_write
from xattn.array.xclbin import Section, Xclbin, write_xclbin
from xattn.array.xclbin_build import build_xclbin
from xattn.errors import FileFormatError


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def test_circuit_route_names_its_source() -> None:
    # Shim tile of the single-core design: words from the DMA (South 3) go to North 1.
    assert describe_write(0x0003F034, 0x80000005) == {
        "tile": [0, 0],
        "kind": "shim",
        "register": "Stream_Switch_Master_Config_North1",
        "value": "0x80000005",
        "fields": {"Master_Enable": 1, "Configuration": 5},
        "from": "South3",
    }
    assert "from" not in describe_write(0x0003F008, 0xC0000005)
    assert "from" not in describe_write(0x0003F034, 0x00000005)
    assert "from" not in describe_write(0x0003F034, 0x8000007F)


def test_masked_writes_show_what_they_clear() -> None:
    found = describe_command(MaskWrite(0x232000, 2, 0))
    assert found == {
        "command": "mask write",
        "tile": [0, 2],
        "kind": "core",
        "register": "Core_Control",
        "value": "0x0",
        "mask": "0x2",
        "fields": {"Reset": 0},
    }


def test_unknown_bits_and_places_are_said() -> None:
    assert describe_write(0x232000, 0x101)["other_bits"] == "0x100"
    assert describe_write(0x224000, 1)["register"] == "unknown+0x24000"
    assert describe_write(1 << 40, 1)["register"] == "outside the array"
    assert describe_block(1 << 40, (1,))["words"] == 1


def test_bd_is_shown_in_real_units() -> None:
    last = 1 << 27 | 1 << 26 | 1 << 25 | 1 << 18 | 1 << 13 | 1 << 12 | 0x7F << 5
    command = DmaWrite(0x0021D000, words(0x100 << 14 | 3072, 0, 0, 0, 0, last))
    assert describe_command(command) == {
        "command": "block write",
        "tile": [0, 2],
        "kind": "core",
        "register": "DMA_BD0_0",
        "words": 6,
        "bd": 0,
        "length": 3072,
        "address": "0x400",
        "acquire": {"lock": 0, "value": -1},
        "release": {"lock": 1, "value": 1},
        "next_bd": 1,
    }
    stream_bd = describe_operation(BlockWrite(0x0201D020, (1024, 0, 0, 0, 0x80000000, 0x02000000, 0, 0x02000000)))
    assert (stream_bd["bd"], stream_bd["burst"], stream_bd["cache"], stream_bd["length"]) == (1, 256, 2, 1024)


def test_blocks_that_are_no_bd_are_listed_or_measured() -> None:
    program = describe_command(DmaWrite(0x00220010, bytes(64)))
    assert (program["register"], program["words"]) == ("Program_Memory+0x10", 16)
    assert "writes" not in program
    locks = describe_command(DmaWrite(0x0021F000, words(1, 0)))
    assert [write["register"] for write in locks["writes"]] == ["Lock0_value", "unknown+0x1f004"]  # type: ignore[union-attr,call-overload,index]
    half = describe_command(DmaWrite(0x0021D000, words(4, 0)))
    assert [write["register"] for write in half["writes"]] == ["DMA_BD0_0", "DMA_BD0_1"]  # type: ignore[union-attr,call-overload,index]


def test_other_commands_and_operations() -> None:
    assert describe_command(MaskPoll(0x21DF00, 3, 1, 5))["timeout"] == 5
    assert describe_command(Delay(9)) == {"command": "delay", "duration": 9}
    assert describe_command(Nop(bytes(8))) == {"command": "nop", "words": 2}
    assert describe_command(End()) == {"command": "end"}
    assert describe_command(Other(0x10C, bytes(4))) == {"command": "other", "opcode": "0x10c", "words": 1}
    wait = {"operation": "Sync", "tile": [1, 0], "channel": "S2MM_1", "columns": 2, "rows": 1}
    assert describe_operation(Sync(1, 0, 1, columns=2)) == wait
    patch = describe_operation(AddressPatch(0x1D004, 3, 64))
    assert (patch["register"], patch["argument"], patch["offset"]) == ("DMA_BD0_1", 3, 64)
    assert describe_operation(LoadPdi(1, 2, 3)) == {"operation": "LoadPdi", "id": 1, "size": 2, "address": "0x3"}
    assert describe_operation(Write32(0x1D214, 1 << 31))["fields"] == {"Enable_Token_Issue": 1}


@given(cdos(), streams)
@settings(max_examples=50)
def test_everything_is_json_and_text(cdo: Cdo, stream: InstructionStream) -> None:
    for description in (describe_cdo(cdo), describe_instructions(stream)):
        assert json.loads(json.dumps(description)) == description
        text = list(lines(description))
        assert text
        assert all(line.strip() and "\n" not in line for line in text)
    assert sum(describe_cdo(cdo)["counts"].values()) == len(cdo.commands)  # type: ignore[union-attr,arg-type]


def test_files_are_told_apart() -> None:
    cdo = Cdo((Write(0x232000, 1),))
    pdi = write_pdi(build_pdi([cdo]))
    stream = InstructionStream((Write32(0x1D214, 0),))
    files = {
        "CDO": write_cdo(cdo),
        "PDI": pdi,
        "xclbin": write_xclbin(build_xclbin(pdi, 4)),
        "instruction stream": write_instructions(stream),
    }
    assert {name: describe_file(data)["format"] for name, data in files.items()} == {name: name for name in files}
    assert describe_file(write_instruction_text(stream).encode())["format"] == "instruction stream"
    text = "\n".join(lines(describe_file(files["xclbin"])))
    for part in ("kind AIE_PARTITION", "columns 4", "name MLIR_AIE", "register Core_Control", "(1, 0, 1)"):
        assert part in text
    for data in (b"", b"\x7fELF" + bytes(60), b"hello world, this is text"):
        with pytest.raises(FileFormatError, match="expected an xclbin, a PDI, a CDO or an NPU instruction stream"):
            describe_file(data)


def test_unreadable_parts_are_described_as_such() -> None:
    xclbin = Xclbin((Section(6, b"short"), Section(99, b"abc", b"name")))
    first, second = describe_file(write_xclbin(xclbin))["sections"]  # type: ignore[misc,union-attr]
    assert "memory topology, byte 0x0" in first["error"]  # type: ignore[call-overload,index,operator]
    assert second == {"kind": "section kind 99", "bytes": 3, "name": "name"}
    not_a_pdi = describe_file(write_xclbin(build_xclbin(b"junk", 1)))
    assert "is this a PDI?" in json.dumps(not_a_pdi) or "cut short" in json.dumps(not_a_pdi)


@given(st.binary(max_size=80))
def test_any_bytes_are_described_or_refused(data: bytes) -> None:
    try:
        said = "\n".join(lines(describe_file(data)))
    except FileFormatError as error:
        said = str(error)
    assert said
