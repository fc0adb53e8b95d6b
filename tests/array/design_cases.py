"""Designs for the tests of this folder."""

from __future__ import annotations

from xattn.array.buffer_descriptor import Iteration
from xattn.array.design import (
    Core,
    Design,
    DmaEnd,
    Fifo,
    HostBuffer,
    HostEnd,
    Piece,
    Scratch,
    Stream,
    TileId,
    Transfer,
    Wait,
)

CORE, MEM = TileId(0, 2), TileId(0, 1)


def one_core(depth: int = 2, into: int = 12288, out: int = 4096, scratch: tuple[Scratch, ...] = ()) -> Design:
    """One core: a FIFO in, a FIFO out, as in the seed's design."""
    return Design(
        "one",
        1,
        (Fifo("in", CORE, into, depth), Fifo("out", CORE, out, depth)),
        (
            Stream("to", HostEnd(0), (DmaEnd.of("in"),)),
            Stream("from", DmaEnd.of("out"), (HostEnd(0),)),
        ),
        (Core(CORE, "kernel", ("in", "out"), ("out",), (4,), scratch),),
        (HostBuffer("a", into), HostBuffer("b", out)),
        (Transfer("to", "a", into // 4), Transfer("from", "b", out // 4, token=True), Wait("from")),
    )


def in_turns(turns: int = 3) -> Design:
    """One core that takes two arrays in turn, from two host buffers: the host starts one task for all turns."""
    pieces = [
        Piece("a", 16, 64, iteration=Iteration(16, turns)),
        Piece("b", 32, iteration=Iteration(32, turns)),
    ]
    return Design(
        "turns",
        1,
        (Fifo("a", CORE, 64), Fifo("b", CORE, 128), Fifo("c", CORE, 64)),
        (Stream("to", HostEnd(0), (DmaEnd.of("a", "b"),)), Stream("from", DmaEnd.of("c"), (HostEnd(0),))),
        (Core(CORE, "kernel", ("a", "b", "c"), ("c",)),),
        (HostBuffer("a", 64 * (turns + 1)), HostBuffer("b", 128 * turns), HostBuffer("c", 64 * turns)),
        (
            Transfer.of("to", pieces, repeat=turns, token=True),
            Transfer("from", "c", 16 * turns, token=True),
            Wait("to"),
            Wait("from"),
        ),
    )
