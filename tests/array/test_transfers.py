"""Host transfers against the operations of streams that mlir-aie built."""

from __future__ import annotations

import struct

import pytest

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.instructions import AddressPatch, BlockWrite, InstructionStream, MaskWrite, Sync, Write32
from xattn.array.instructions import write_instructions as write
from xattn.array.transfers import ShimChannel, host_bd, start, transfer, wait
from xattn.errors import InputError

BD_IN = (3072, 0, 0, 0, 0x80000000, 0x02000000, 0, 0x02000000)
BD_OUT = (1024, 0, 0, 0, 0x80000000, 0x02000000, 0, 0x02000000)


def test_single_core_sequence_is_upstreams() -> None:
    """mlir-aie's sequence of the single-core attention design: 8 operations, 300 bytes."""
    into, out = ShimChannel(0, 0, to_array=True), ShimChannel(0, 0, to_array=False)
    operations = (*transfer(into, 1, host_bd(3072), 0), *transfer(out, 0, host_bd(1024), 1, token=True), wait(out))
    assert operations == (
        BlockWrite(118816, BD_IN),
        AddressPatch(118820, 0),
        Write32(119316, 1),
        BlockWrite(118784, BD_OUT),
        AddressPatch(118788, 1),
        MaskWrite(119296, 3840, 7936),
        Write32(119300, 2147483648),
        Sync(0, 0, 0),
    )
    assert len(write(InstructionStream(operations))) == 300


def test_four_column_stream_has_the_real_streams_size_and_words() -> None:
    """mlir-aie's stream for four columns: 32 operations in 1,152 bytes; the words of column 3 are the real file's."""
    operations = []
    for column in range(4):
        into, out = ShimChannel(column, 0, to_array=True), ShimChannel(column, 0, to_array=False)
        operations += transfer(into, 0, host_bd(3072), column)
        operations += [*transfer(out, 1, host_bd(1024), 4 + column, token=True), wait(out)]
    data = write(InstructionStream(tuple(operations)))
    assert (len(operations), len(data)) == (32, 1152)
    assert data[:16] == struct.pack("<4I", 0x06030100, 0x00000104, 0x20, 0x480)
    last = [0x81, 0x30, 0, 0, 0, 0, 0x0601D024, 0, 7, 0, 0, 0, 3, 0, 0x0601D200, 0, 0xF00, 0x1F00, 0x1C]
    last += [0, 0, 0x0601D204, 0, 0x80000001, 0x18, 0x80, 0x10, 0x00030000, 0x00010100]
    assert data[-4 * len(last) :] == struct.pack(f"<{len(last)}I", *last)


def test_shapes_repeats_and_offsets_arrive() -> None:
    bd = host_bd(64, (Dimension(1, 16), Dimension(100)), Iteration(400, 3))
    program, patch, push = transfer(ShimChannel(2, 1, to_array=True), 5, bd, 3, offset=4096, repeat=3)
    assert program == BlockWrite(0x0401D0A0, (64, 0, 0, 16 << 20, 2 << 30 | 99, 2 << 24, 2 << 20 | 399, 1 << 25))
    assert patch == AddressPatch(0x0401D0A4, 3, 4096)
    assert push == Write32(0x0401D21C, 2 << 16 | 5)


def test_wait_can_span_columns() -> None:
    assert wait(ShimChannel(1, 0, to_array=True), columns=3) == Sync(1, 0, 0, True, columns=3)


def test_limits_are_named() -> None:
    channel = ShimChannel(0, 0, to_array=True)
    with pytest.raises(InputError, match="Repeat_Count is 256, which is outside 0 to 255"):
        start(channel, 0, repeat=257)
    with pytest.raises(InputError, match="Start_BD_ID"):
        start(channel, 16)
    with pytest.raises(InputError, match="no register DMA_S2MM_2_Task_Queue"):
        start(ShimChannel(0, 2, to_array=False), 0)
