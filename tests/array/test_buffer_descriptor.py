"""BD words against mlir-aie's published test expectations and hand-computed layouts."""

from __future__ import annotations

import pytest
from array_strategies import buffer_descriptors
from hypothesis import given
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import (
    BufferDescriptor,
    Dimension,
    Iteration,
    LockUse,
    Packet,
    bd_offset,
    bd_words,
    decode_bd,
    encode_bd,
)
from xattn.array.registers import TileKind, register
from xattn.errors import InputError

CORE, MEM, SHIM = TileKind.CORE, TileKind.MEM, TileKind.SHIM


def test_shim_words_are_those_of_a_real_stream() -> None:
    # blockwrite_data of mlir-aie's single-core attention build: 12,288 bytes in, 256-byte bursts, cache bits 2.
    words = encode_bd(SHIM, BufferDescriptor(3072, burst=256, cache=2))
    assert words == (3072, 0, 0, 0, 0x80000000, 0x02000000, 0, 0x02000000)


def test_shim_dimensions_are_those_of_upstreams_test() -> None:
    # mlir-aie, npu_dma_memcpy: sizes [1, 2, 32, 32], strides [4096, 2048, 64, 1] of 32-bit elements.
    pattern = (Dimension(1, 32), Dimension(64, 32), Dimension(2048))
    words = encode_bd(SHIM, BufferDescriptor(2048, dimensions=pattern, burst=256))
    assert words == (2048, 0, 0, 33554432, 0x100000000 - 2113929153, 2047, 0, 33554432)


def test_shim_lock_and_chain_words_are_those_of_upstreams_test() -> None:
    # mlir-aie, shims: acquire lock 0 = 0, release lock 0 by 1, next BD is itself (no chain bit on the last word there).
    words = encode_bd(SHIM, BufferDescriptor(16, burst=256, acquire=LockUse(0, 0), release=LockUse(0, 1)))
    assert words[7] == 0x02041000
    assert encode_bd(SHIM, BufferDescriptor(4, burst=128))[4] == 0x40000000


@pytest.mark.parametrize(
    ("kind", "word", "iteration", "expected"),
    [
        # mlir-aie, dma_bd_iteration: "current | size - 1 | step - 1" at each tile's place.
        (MEM, 6, Iteration(16, 4), 0x0006000F),
        (MEM, 6, Iteration(16, 4, 2), 0x0106000F),
        (MEM, 6, Iteration(16, 64), 0x007E000F),
        (MEM, 6, Iteration(131072, 4), 0x0007FFFF),
        (CORE, 4, Iteration(16, 4), 0x0000600F),
        (SHIM, 6, Iteration(200000, 4), 0x00330D3F),
        (SHIM, 6, Iteration(), 0),
    ],
)
def test_iteration_words_are_those_of_upstreams_test(
    kind: TileKind, word: int, iteration: Iteration, expected: int
) -> None:
    assert encode_bd(kind, BufferDescriptor(64, iteration=iteration))[word] == expected


def test_core_words_follow_the_reference_manual() -> None:
    # Input buffer of the single-core attention design: 12,288 bytes at 0x400, locks 0 and 1, BD 0 followed by BD 1.
    bd = BufferDescriptor(3072, address=0x400, acquire=LockUse(0, -1), release=LockUse(1, 1), next_bd=1)
    last = 1 << 27 | 1 << 26 | 1 << 25 | 1 << 18 | 1 << 13 | 1 << 12 | 0x7F << 5 | 0
    assert encode_bd(CORE, bd) == (0x100 << 14 | 3072, 0, 0, 0, 0, last)
    packet = BufferDescriptor(1, packet=Packet(5, 2), dimensions=(Dimension(3, 7), Dimension(9, 4), Dimension(11)))
    words = encode_bd(CORE, packet)
    assert words[1:4] == (1 << 30 | 5 << 19 | 2 << 16, 8 << 13 | 2, 4 << 21 | 7 << 13 | 10)


def test_mem_tile_words_follow_the_reference_manual() -> None:
    # A mem tile sees its own memory at 0x80000 and its own lock n as n + 64.
    bd = BufferDescriptor(
        100,
        address=0x80000 + 64,
        acquire=LockUse(64 + 3, -2),
        release=LockUse(64 + 4, 1),
        zero_before=(1, 2, 3),
        zero_after=(4, 5, 6),
        dimensions=(Dimension(1, 10), Dimension(20, 5), Dimension(30, 4), Dimension(40)),
    )
    words = encode_bd(MEM, bd)
    assert words[0] == 100
    assert words[1] == 1 << 26 | (0x80040 // 4)
    assert words[2] == 10 << 17
    assert words[3] == 2 << 27 | 5 << 17 | 19
    assert words[4] == 3 << 27 | 4 << 17 | 29
    assert words[5] == 6 << 28 | 5 << 23 | 4 << 17 | 39
    assert words[7] == 1 << 31 | 1 << 24 | 68 << 16 | 1 << 15 | 0x7E << 8 | 67


def test_widest_values_reach_their_highest_bits() -> None:
    # The last BD, the last lock and the longest transfer of each tile, from the reference manual's field widths.
    mem = encode_bd(MEM, BufferDescriptor((1 << 17) - 1, next_bd=47, acquire=LockUse(191, 63), address=(1 << 21) - 4))
    assert (mem[0], mem[1]) == (0x1FFFF, 47 << 20 | 1 << 19 | 0x7FFFF)
    assert mem[7] == 1 << 31 | 1 << 15 | 63 << 8 | 191
    core = encode_bd(CORE, BufferDescriptor((1 << 14) - 1, next_bd=15, release=LockUse(15, -64), address=0xFFFC))
    assert (core[0], core[5]) == (0x3FFF << 14 | 0x3FFF, 15 << 27 | 1 << 26 | 1 << 25 | 64 << 18 | 15 << 13)
    shim = encode_bd(
        SHIM, BufferDescriptor((1 << 32) - 1, packet=Packet(31, 7), cache=15, qos=15, smid=15, secure=True)
    )
    assert shim[0] == 0xFFFFFFFF
    assert (shim[2], shim[3], shim[5]) == (1 << 30 | 31 << 19 | 7 << 16, 1 << 30, 0xFFF << 20)


def test_host_addresses_have_48_bits() -> None:
    words = encode_bd(SHIM, BufferDescriptor(1, address=0x1234_8000_0040))
    assert words[1] == 0x80000040
    assert words[2] == 0x1234


@pytest.mark.parametrize("kind", TileKind)
def test_places_and_sizes(kind: TileKind) -> None:
    first = {CORE: 0x1D000, MEM: 0xA0000, SHIM: 0x1D000}[kind]
    assert [bd_offset(kind, number) for number in (0, 1, 15)] == [first, first + 0x20, first + 15 * 0x20]
    assert bd_words(kind) == (6 if kind is CORE else 8)
    with pytest.raises(InputError, match="no register DMA_BD48_0"):
        bd_offset(kind, 48)


@pytest.mark.parametrize("kind", TileKind)
@given(data=st.data())
def test_bd_survives_encoding(kind: TileKind, data: st.DataObject) -> None:
    bd = data.draw(buffer_descriptors(kind))
    assert decode_bd(kind, encode_bd(kind, bd)) == bd


@pytest.mark.parametrize("kind", TileKind)
@given(data=st.data())
def test_any_words_decode_to_a_bd_that_encodes(kind: TileKind, data: st.DataObject) -> None:
    words = tuple(data.draw(st.lists(st.integers(0, 0xFFFFFFFF), min_size=bd_words(kind), max_size=bd_words(kind))))
    bd = decode_bd(kind, words)
    known = [register(kind, f"DMA_BD0_{index}") for index in range(len(words))]
    again = encode_bd(kind, bd)
    assert decode_bd(kind, again) == bd
    for found, word in zip(known, again, strict=True):
        assert found.other_bits(word) == 0


def test_plain_trailing_dimensions_do_not_matter() -> None:
    assert BufferDescriptor(4, dimensions=(Dimension(), Dimension())) == BufferDescriptor(4)
    assert BufferDescriptor(4, dimensions=(Dimension(), Dimension(2))).dimensions == (Dimension(), Dimension(2))


@pytest.mark.parametrize(
    ("kind", "bd", "message"),
    [
        (CORE, BufferDescriptor(1 << 14), "Buffer_Length is 16384, which is outside 0 to 16383"),
        (MEM, BufferDescriptor(1 << 17), "Buffer_Length is 131072"),
        (CORE, BufferDescriptor(1, address=2), "multiple of 4"),
        (CORE, BufferDescriptor(1, address=1 << 16), "Base_Address"),
        (CORE, BufferDescriptor(1, dimensions=(Dimension(2, 2),) * 4), "3 fit"),
        (SHIM, BufferDescriptor(1, dimensions=(Dimension(2, 2),) * 3), "dimension 2 of a BD cannot wrap"),
        (CORE, BufferDescriptor(1, zero_before=(1, 0, 0)), "no zero padding"),
        (SHIM, BufferDescriptor(1, compression=True), "no compression"),
        (MEM, BufferDescriptor(1, burst=256), "no host bursts"),
        (SHIM, BufferDescriptor(1, burst=512), "use one of"),
        (CORE, BufferDescriptor(1, release=LockUse(1, 0)), "leave `release` out"),
        (CORE, BufferDescriptor(1, next_bd=16), "Next_BD"),
        (CORE, BufferDescriptor(1, dimensions=(Dimension(0, 1),)), "D0_Stepsize"),
    ],
)
def test_what_the_hardware_cannot_do_is_refused(kind: TileKind, bd: BufferDescriptor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_bd(kind, bd)


def test_wrong_number_of_words_is_refused() -> None:
    with pytest.raises(InputError, match="8 words, not 6"):
        decode_bd(SHIM, (0,) * 6)
