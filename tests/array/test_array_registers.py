"""Register addresses and fields against numbers from AMD's register reference and from real configurations."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xattn.array.registers import (
    TileKind,
    describe,
    kind_of_row,
    port_index,
    register,
    split_address,
    tile,
    tile_address,
)
from xattn.errors import InputError

CORE, MEM, SHIM = TileKind.CORE, TileKind.MEM, TileKind.SHIM

# AMD AM025: offsets inside the tile.
OFFSETS = [
    (CORE, "DMA_BD0_0", 0x1D000),
    (CORE, "DMA_BD15_5", 0x1D1F4),
    (CORE, "DMA_S2MM_0_Ctrl", 0x1DE00),
    (CORE, "DMA_S2MM_1_Start_Queue", 0x1DE0C),
    (CORE, "DMA_MM2S_0_Ctrl", 0x1DE10),
    (CORE, "DMA_MM2S_1_Start_Queue", 0x1DE1C),
    (CORE, "Lock15_value", 0x1F0F0),
    (CORE, "Core_Control", 0x32000),
    (CORE, "Core_Status", 0x32004),
    (CORE, "Stream_Switch_Master_Config_DMA1", 0x3F008),
    (CORE, "Stream_Switch_Slave_Config_Mem_Trace", 0x3F160),
    (CORE, "Stream_Switch_Slave_AIE_Trace_Slot0", 0x3F370),
    (MEM, "DMA_BD47_7", 0xA05FC),
    (MEM, "DMA_S2MM_5_Start_Queue", 0xA062C),
    (MEM, "DMA_MM2S_0_Ctrl", 0xA0630),
    (MEM, "Lock63_value", 0xC03F0),
    (MEM, "Stream_Switch_Master_Config_North5", 0xB0040),
    (MEM, "Stream_Switch_Slave_Config_Trace", 0xB0144),
    (MEM, "Stream_Switch_Slave_North3_Slot0", 0xB0300),
    (SHIM, "DMA_BD15_7", 0x1D1FC),
    (SHIM, "DMA_S2MM_0_Ctrl", 0x1D200),
    (SHIM, "DMA_MM2S_0_Task_Queue", 0x1D214),
    (SHIM, "Lock1_value", 0x14010),
    (SHIM, "Mux_Config", 0x1F000),
    (SHIM, "Demux_Config", 0x1F004),
    (SHIM, "Stream_Switch_Master_Config_East3", 0x3F054),
    (SHIM, "Stream_Switch_Slave_West3_Slot3", 0x3F2DC),
]

# AM025: numbers of the first and last port of every group.
PORTS = {
    (CORE, "master"): "AIE_Core0=0 DMA0=1 DMA1=2 Tile_Ctrl=3 FIFO0=4 South0=5 South3=8 West0=9 West3=12 North0=13 "
    "North5=18 East0=19 East3=22",
    (CORE, "slave"): "AIE_Core0=0 DMA0=1 DMA1=2 Tile_Ctrl=3 FIFO0=4 South0=5 South5=10 West0=11 West3=14 North0=15 "
    "North3=18 East0=19 East3=22 AIE_Trace=23 Mem_Trace=24",
    (MEM, "master"): "DMA0=0 DMA5=5 Tile_Ctrl=6 South0=7 South3=10 North0=11 North5=16",
    (MEM, "slave"): "DMA0=0 DMA5=5 Tile_Ctrl=6 South0=7 South5=12 North0=13 North3=16 Trace=17",
    (SHIM, "master"): "Tile_Ctrl=0 FIFO0=1 South0=2 South5=7 West0=8 West3=11 North0=12 North5=17 East0=18 East3=21",
    (SHIM, "slave"): "Tile_Ctrl=0 FIFO0=1 South0=2 South7=9 West0=10 West3=13 North0=14 North3=17 East0=18 East3=21 "
    "Trace=22",
}


@pytest.mark.parametrize(("kind", "name", "offset"), OFFSETS)
def test_offset_is_the_reference_manuals(kind: TileKind, name: str, offset: int) -> None:
    assert register(kind, name).offset == offset
    assert describe(kind, offset).name == name


@pytest.mark.parametrize(("kind", "side"), PORTS)
def test_ports_have_the_reference_manuals_numbers(kind: TileKind, side: Literal["master", "slave"]) -> None:
    expected = {name: int(number) for name, number in (item.split("=") for item in PORTS[kind, side].split())}
    assert {name: port_index(kind, side, name) for name in expected} == expected
    ports = tile(kind).masters if side == "master" else tile(kind).slaves
    assert len(ports) == len(set(ports)) == max(expected.values()) + 1


# Words that mlir-aie's flow writes for a shim-to-core design (single-core attention, one column), and their meaning.
WORDS = [
    (SHIM, 0x3F034, 0x80000005, {"Master_Enable": 1, "Configuration": 5}),
    (
        SHIM,
        0x3F008,
        0xC0000045,
        {"Master_Enable": 1, "Packet_Enable": 1, "Drop_Header": 0, "Configuration": 8 << 3 | 5},
    ),
    (SHIM, 0x3F200, 0x0F1F0135, {"ID": 15, "Mask": 31, "Enable": 1, "MSel": 3, "Arbiter": 5}),
    (SHIM, 0x1F000, 0x00000400, {"South3": 1}),
    (SHIM, 0x1F004, 0x00000010, {"South2": 1}),
    (SHIM, 0x1D204, 0x80000001, {"Enable_Token_Issue": 1, "Start_BD_ID": 1}),
    (SHIM, 0x1D200, 0x00000F00, {"Controller_ID": 15}),
    (CORE, 0x1DE14, 0x00000002, {"Start_BD_ID": 2, "Repeat_Count": 0}),
    (CORE, 0x32000, 0x00000002, {"Reset": 1, "Enable": 0}),
    (CORE, 0x1F000, 0x00000002, {"Lock_value": 2}),
    (MEM, 0xA0634, 0x80030018, {"Enable_Token_Issue": 1, "Repeat_Count": 3, "Start_BD_ID": 24}),
]


@pytest.mark.parametrize(("kind", "offset", "word", "meaning"), WORDS)
def test_word_decodes_to_its_meaning(kind: TileKind, offset: int, word: int, meaning: dict[str, int]) -> None:
    found = describe(kind, offset, word)
    assert found.known
    assert found.other_bits == 0
    assert {name: found.fields[name] for name in meaning} == meaning
    assert register(kind, found.name).encode(**meaning) == word


# mlir-aie's test of `npu.writebd` on a mem tile: these raw field values give these eight words.
MEM_BD_WORDS = (0x00000001, 0x00580002, 0x000C0005, 0x00100007, 0x00000009, 0x00000000, 0x059A000C, 0x84038201)
MEM_BD_FIELDS = [
    {"Buffer_Length": 1},
    {"Base_Address": 2, "Next_BD": 5, "Use_Next_BD": 1},
    {"D0_Stepsize": 5, "D0_Wrap": 6},
    {"D1_Stepsize": 7, "D1_Wrap": 8},
    {"D2_Stepsize": 9, "D2_Wrap": 0},
    {"D3_Stepsize": 0},
    {"Iteration_Current": 11, "Iteration_Wrap": 13, "Iteration_Stepsize": 12},
    {"Lock_Acq_ID": 1, "Lock_Acq_Value": 2, "Lock_Acq_Enable": 1, "Lock_Rel_ID": 3, "Lock_Rel_Value": 4, "Valid_BD": 1},
]


@pytest.mark.parametrize("index", range(8))
def test_mem_tile_bd_words_match_upstreams_test(index: int) -> None:
    found = register(MEM, f"DMA_BD6_{index}")
    assert tile_address(3, 1, found.offset) == 0x061A00C0 + 4 * index
    assert found.encode(**MEM_BD_FIELDS[index]) == MEM_BD_WORDS[index]
    decoded = found.decode(MEM_BD_WORDS[index])
    assert {name: decoded[name] for name in MEM_BD_FIELDS[index]} == MEM_BD_FIELDS[index]


def test_signed_lock_values_count_down() -> None:
    found = register(CORE, "DMA_BD0_5")
    assert found.decode(0x7F << 5)["Lock_Acq_Value"] == -1
    assert found.encode(Lock_Acq_Value=-1) == 0x7F << 5
    assert found.encode(Lock_Rel_Value=-64) == 0x40 << 18


@pytest.mark.parametrize("kind", TileKind)
def test_table_has_no_overlaps(kind: TileKind) -> None:
    table = tile(kind)
    assert len(table.by_name) == len(table.by_offset)
    for found in table.by_offset.values():
        assert found.offset % 4 == 0
        assert 0 <= found.offset < 1 << 20
        assert not any(memory.offset <= found.offset < memory.offset + memory.size for memory in table.memories)
        bits = 0
        for field in found.fields:
            assert 31 >= field.high >= field.low >= 0
            assert bits & field.mask == 0, f"{found.name}.{field.name}"
            bits |= field.mask
        assert len({field.name for field in found.fields}) == len(found.fields)


def test_memories_have_their_sizes() -> None:
    assert describe(CORE, tile_address(2, 3, 0x20010)).name == "Program_Memory+0x10"
    assert describe(CORE, 0x23FFC).name == "Program_Memory+0x3ffc"
    assert not describe(CORE, 0x24000).known
    assert describe(CORE, 0xFFFC).name == "Data_Memory+0xfffc"
    assert describe(MEM, 0x7FFFC).name == "Data_Memory+0x7fffc"
    assert describe(SHIM, 0x0, 5).other_bits == 5


def test_unknown_bits_are_reported() -> None:
    assert describe(CORE, 0x32000, 0x10001).other_bits == 0x10000
    assert str(describe(CORE, 0x32000, 0x10001)) == "Core_Control Enable=1 other bits 0x10000"


@given(st.integers(0, 127), st.integers(0, 31), st.integers(0, (1 << 20) - 1))
def test_addresses_split_into_what_made_them(column: int, row: int, offset: int) -> None:
    assert split_address(tile_address(column, row, offset)) == (column, row, offset)


def test_addresses_known_from_real_files() -> None:
    assert tile_address(0, 2, 0x32000) == 0x232000
    assert tile_address(3, 0, 0x1D214) == 0x0601D214
    assert split_address(0x0C3DE04).kind is CORE
    assert [kind_of_row(row) for row in range(6)] == [SHIM, MEM, CORE, CORE, CORE, CORE]


@given(st.sampled_from(list(TileKind)), st.data())
def test_fields_survive_encoding(kind: TileKind, data: st.DataObject) -> None:
    found = data.draw(st.sampled_from([item for item in tile(kind).by_offset.values() if item.fields]))
    word = data.draw(st.integers(0, 0xFFFFFFFF))
    assert found.encode(**found.decode(word)) == word & ~found.other_bits(word)


def test_errors_name_the_limit_and_near_names() -> None:
    with pytest.raises(InputError, match="Core_Control"):
        register(CORE, "Core_Contrl")
    with pytest.raises(InputError, match="no field Enabel; it has Reset, Enable"):
        register(CORE, "Core_Control").encode(Enabel=1)
    with pytest.raises(InputError, match="Start_BD_ID is 16, which is outside 0 to 15"):
        register(SHIM, "DMA_S2MM_0_Task_Queue").encode(Start_BD_ID=16)
    with pytest.raises(InputError, match="no master port East0"):
        port_index(MEM, "master", "East0")
    with pytest.raises(InputError, match="columns go to 127"):
        tile_address(128, 0)
    with pytest.raises(InputError, match="row 32"):
        kind_of_row(32)
    with pytest.raises(InputError, match="32-bit"):
        split_address(1 << 32)
