"""Placement: the numbers that a design gets, and what the hardware has too little of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from design_cases import CORE, MEM, in_turns, one_core

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, Iteration, LockUse
from xattn.array.configuration import ChannelStart, Circuit, LockValue, PlacedBd, ShimPort, TokenRoute
from xattn.array.design import Core, Design, DmaEnd, Fifo, HostEnd, Piece, Scratch, Stream, TileId, Transfer, Wait, Walk
from xattn.array.host_sequence import host_sequence
from xattn.array.instructions import AddressPatch, BlockWrite, MaskWrite, Write32
from xattn.array.operation_text import operation_text
from xattn.array.placement import place
from xattn.array.transfers import ShimChannel
from xattn.errors import InputError

SHIM = TileId(0, 0)


def test_one_core() -> None:
    """The same numbers as in the image that mlir-aie built for this design, but for the switches' lanes."""
    placed = place(one_core(scratch=(Scratch("stack", 1024, 0),)))
    assert placed.fifos["in"].offsets == (0x4000, 0x8000)
    assert placed.fifos["out"].offsets == (0xC000, 0x400)  # each in the emptiest bank
    assert placed.locks == tuple(LockValue(CORE, lock, value) for lock, value in enumerate((2, 0, 2, 0)))
    take, full = LockUse(0, -1), LockUse(1, 1)
    assert placed.bds[:2] == (
        PlacedBd(CORE, 0, BufferDescriptor(3072, 0x4000, acquire=take, release=full, next_bd=1)),
        PlacedBd(CORE, 1, BufferDescriptor(3072, 0x8000, acquire=take, release=full, next_bd=0)),
    )
    assert placed.bds[2].bd == BufferDescriptor(1024, 0xC000, acquire=LockUse(3, -1), release=LockUse(2, 1), next_bd=3)
    assert placed.starts == (ChannelStart(CORE, "S2MM_0", 0), ChannelStart(CORE, "MM2S_0", 2))
    assert placed.shim_ports == (ShimPort(SHIM, "South3", True), ShimPort(SHIM, "South2", False))
    assert placed.shim == {"to": ShimChannel(0, 0, True), "from": ShimChannel(0, 0, False)}
    assert placed.routes == (
        Circuit(SHIM, "South3", "North0"),
        Circuit(MEM, "South0", "North0"),
        Circuit(CORE, "South0", "DMA0"),
        Circuit(CORE, "DMA0", "South0"),
        Circuit(MEM, "North0", "South0"),
        Circuit(SHIM, "North0", "South2"),
        TokenRoute(SHIM),
    )


def forwarding(depth: int = 2, streams: int = 1) -> Design:
    """Through the mem tile and back, several times."""
    names = [f"f{n}" for n in range(streams)]
    return Design(
        "forward",
        1,
        tuple(Fifo(name, MEM, 64, depth) for name in names),
        (
            *(Stream(f"{name}_in", HostEnd(0), (DmaEnd.of(name),)) for name in names),
            *(Stream(f"{name}_out", DmaEnd.of(name), (HostEnd(0),)) for name in names),
        ),
        (),
        (),
        (),
    )


def test_mem_tiles_see_themselves_behind_their_neighbour_and_split_bds_by_channel() -> None:
    placed = place(forwarding(streams=2))
    assert [item.number for item in placed.bds] == [0, 1, 24, 25, 2, 3, 26, 27]
    assert placed.bds[0].bd.address == 0x80000
    assert placed.bds[0].bd.acquire == LockUse(64, -1)
    assert placed.bds[2].bd.acquire == LockUse(66, -1)
    assert placed.bds[4].bd.release == LockUse(64, 1)
    assert placed.starts[2] == ChannelStart(MEM, "MM2S_0", 2)


def test_fifos_in_turn_share_a_channel() -> None:
    """Two arrays by one channel: the chain closes when both are at their first buffer again."""
    design = Design(
        "turns",
        1,
        (Fifo("k", CORE, 64, 2), Fifo("v", CORE, 128, 3), Fifo("o", CORE, 64, 1)),
        (
            Stream("kv", HostEnd(0), (DmaEnd((Walk("k"), Walk("v", (Dimension(2, 4), Dimension(1))))),)),
            Stream("o_out", DmaEnd.of("o"), (HostEnd(0),)),
        ),
        (Core(CORE, "kernel", ("k", "v", "o"), ("o",)),),
        (),
        (),
    )
    placed = place(design)
    chain = [item.bd for item in placed.bds if item.number < 12]
    assert [bd.length for bd in chain] == [16, 32] * 6
    assert [bd.address for bd in chain[::2]] == [placed.fifos["k"].offsets[n % 2] for n in range(6)]
    assert [bd.address for bd in chain[1::2]] == [placed.fifos["v"].offsets[n % 3] for n in range(6)]
    assert [bd.next_bd for bd in chain] == [*range(1, 12), 0]
    assert chain[1].dimensions == (Dimension(2, 4),)


def test_memory_prefers_banks_and_says_what_is_left() -> None:
    placed = place(one_core(into=20480, out=4096, depth=1, scratch=(Scratch("table", 512, bank=3),)))
    assert placed.scratch[CORE]["table"] == 0xC000  # the bank that it asks for
    assert placed.fifos["in"].offsets == (0,)  # larger than a bank
    with pytest.raises(InputError, match=r"FIFO in needs 2 × 40960 bytes in tile \(0, 2\), .* 65536 24576 are left"):
        place(one_core(into=40960))


def asking(size: int, depth: int = 2, *more: Scratch) -> Design:
    """FIFOs and scratch memory that all ask for bank 1, of 16 KB."""
    design = one_core(into=size, out=size, depth=depth, scratch=(Scratch("own", size, bank=1), *more))
    return replace(design, fifos=tuple(replace(fifo, bank=1) for fifo in design.fifos))


def test_second_buffers_leave_banks_to_what_every_turn_uses() -> None:
    placed = place(asking(4096))
    banks = {name: [offset >> 14 for offset in fifo.offsets] for name, fifo in placed.fifos.items()}
    assert banks == {"in": [1, 1], "out": [1, 0]}
    assert placed.scratch[CORE]["own"] >> 14 == 1
    unasked = place(asking(4096, 1, Scratch("large", 8192)))  # comes last, though it is larger
    assert [unasked.fifos[name].offsets[0] >> 14 for name in ("in", "out")] == [1, 1]
    assert unasked.scratch[CORE]["large"] >> 14 == 0


def test_banks_are_given_up_where_not_everything_fits_otherwise() -> None:
    """A piece that needs several banks in one piece has to come first."""
    design = asking(8192, 1, Scratch("large", 40960))
    placed = place(design)
    assert placed.scratch[CORE]["large"] == 0
    assert sorted(fifo.offsets[0] for fifo in placed.fifos.values()) == [0xA000, 0xC000]
    assert placed.scratch[CORE]["own"] == 0xE000


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (forwarding(streams=3), r"f2_in needs MM2S channel 2 of the shim tile \(0, 0\), which has 2"),
        (forwarding(depth=25), r"f0_in needs 25 buffer descriptors of tile \(0, 1\), of whose 24 for even channels 24"),
        (
            one_core(depth=9, into=64, out=64),
            "from needs 9 buffer descriptors of tile .0, 2., of whose 16 7 are left",
        ),
        (replace(one_core(), columns=5), "has 5 columns; XDNA1 has 1 to 4"),
        (replace(one_core(), fifos=one_core().fifos[:1]), "no FIFO is called out"),
        (replace(one_core(), streams=one_core().streams[:1]), "FIFO out: nothing empties it"),
        (replace(one_core(), cores=()), "FIFO in: nothing empties it"),
        (replace(one_core(), cores=one_core().cores * 2), "cannot have 2 kernels"),
        (replace(one_core(), fifos=(*one_core().fifos, one_core().fifos[0])), "two FIFOs are called in"),
        (replace(one_core(), sequence=(Wait("from"),)), "waits for from more often than it started it"),
        (replace(one_core(), sequence=(Transfer("to", "c", 1),)), "no host buffer is called c; there are a, b"),
        (replace(one_core(), sequence=(Transfer("to", "a", 3073),)), "reaches byte 12292 of host buffer a"),
        (replace(one_core(), sequence=(Transfer("to", "a", 4, offset=2),)), "start at a multiple of 4"),
        (replace(one_core(), sequence=(Transfer("ot", "a", 4),)), "the host cannot use stream ot"),
        (
            replace(one_core(), sequence=(Transfer("to", "a", 4, then=(Piece("b", 4, 4096),)),)),
            "reaches byte 4112 of host buffer b",
        ),
        (
            replace(one_core(), sequence=(Transfer("to", "a", 1024, iteration=Iteration(1024, 4), repeat=4),)),
            "reaches byte 16384 of host buffer a",
        ),
        (one_core(into=62), "multiple of 4"),
    ],
)
def test_what_cannot_be_is_said(design: Design, message: str) -> None:
    with pytest.raises(InputError, match=message):
        place(design)


def test_locks_run_out() -> None:
    names = [f"f{n}" for n in range(9)]
    design = Design(
        "locks",
        1,
        tuple(Fifo(name, CORE, 32, 1) for name in names),
        (Stream("in", HostEnd(0), (DmaEnd.of(*names),)), Stream("out", DmaEnd.of(*names), (HostEnd(0),))),
        (),
        (),
        (),
    )
    with pytest.raises(InputError, match=r"FIFO f8 needs locks 16 to 17 of tile \(0, 2\), which has 16"):
        place(design)


def changed_in_place() -> Design:
    fifo = Fifo("state", CORE, 64, 1, in_place=True)
    streams = (
        Stream("to", HostEnd(0), (DmaEnd.of("state"),)),
        Stream("from", DmaEnd.of("state"), (HostEnd(0),)),
    )
    return Design("in place", 1, (fifo,), streams, (Core(CORE, "kernel", ("state",), ("state",)),), (), ())


def test_what_is_changed_in_place_has_a_third_lock() -> None:
    placed = place(changed_in_place())
    assert placed.locks == (LockValue(CORE, 0, 1), LockValue(CORE, 1, 0), LockValue(CORE, 2, 0))
    filled, emptied = (item.bd for item in placed.bds)
    assert (filled.acquire, filled.release) == (LockUse(0, -1), LockUse(1, 1))
    assert (emptied.acquire, emptied.release) == (LockUse(2, -1), LockUse(0, 1))
    state = placed.fifos["state"]
    assert (state.taken_by_core(True), state.given_by_core(True)) == (1, 2)
    with pytest.raises(InputError, match="FIFO state is to be changed in place, by one core and not 0"):
        place(replace(changed_in_place(), cores=()))


def test_ends_have_to_agree() -> None:
    streams = (Stream("to", HostEnd(0), (DmaEnd.of("in"),)), Stream("from", DmaEnd.of("in"), (DmaEnd.of("out"),)))
    design = replace(one_core(), streams=streams, cores=(), sequence=())
    with pytest.raises(InputError, match="stream from: its ends take 4096 and 12288 bytes a round"):
        place(design)


def test_a_task_of_several_pieces_is_a_chain_that_is_started_once() -> None:
    """Against the words of the register tables: iteration in the seventh word, the next BD in the eighth."""
    operations = host_sequence(place(in_turns(turns=3))).operations
    first, patch, second, other, identify, push = operations[:6]
    assert first == BlockWrite(0x1D000, (16, 0, 0, 0, 2 << 30, 2 << 24, 2 << 20 | 15, 1 << 25 | 1 << 26 | 1 << 27))
    assert patch == AddressPatch(0x1D004, 0, 64)
    assert second == BlockWrite(0x1D020, (32, 0, 0, 0, 2 << 30, 2 << 24, 2 << 20 | 31, 1 << 25))
    assert other == AddressPatch(0x1D024, 1, 0)
    assert identify == MaskWrite(0x1D210, 0xF00, 0x1F00)
    assert push == Write32(0x1D214, 1 << 31 | 2 << 16 | 0)
    assert operations[6] == BlockWrite(0x1D040, (48, 0, 0, 0, 2 << 30, 2 << 24, 0, 1 << 25))  # the third BD
    assert operation_text(first) == "tile (0, 0): BD 0 = 16 words at 0x0, moved by 16 words each of 3 times, then BD 1"
    assert operation_text(push) == "tile (0, 0): MM2S_0 starts BD 0, 3 times, with a token at the end"


def test_host_queues_and_bds_are_limited() -> None:
    many = tuple(Transfer("to", "a", 16) for _ in range(5))
    with pytest.raises(InputError, match="5 transfers under way, and its channel's queue holds 4"):
        host_sequence(place(replace(one_core(), sequence=many)))
    step = (Transfer("to", "a", 16, token=True), Wait("to"))
    chain = (Transfer("to", "a", 16, token=True, then=(Piece("a", 16),) * 8), Wait("to"))
    assert len(host_sequence(place(replace(one_core(), sequence=chain))).operations) == 21
    with pytest.raises(InputError, match="more than 16 host transfers"):
        host_sequence(place(replace(one_core(), sequence=chain * 2)))
    with pytest.raises(InputError, match="more than 16 host transfers"):
        host_sequence(place(replace(one_core(), sequence=step * 17)))
