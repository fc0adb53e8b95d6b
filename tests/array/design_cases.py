"""Designs for the tests of this folder."""

from __future__ import annotations

from xattn.array.design import Core, Design, DmaEnd, Fifo, HostBuffer, HostEnd, Scratch, Stream, TileId, Transfer, Wait

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
