"""Streams followed through the switches, the picture, and a configuration in words."""

from __future__ import annotations

from design_cases import CORE, one_core

from xattn.array.configuration import Circuit, Configuration, CoreImage
from xattn.array.design import TileId
from xattn.array.overview import overview
from xattn.array.picture import draw
from xattn.array.placement import place
from xattn.array.streams import crossings, follow_streams

EMPTY = Configuration((), (), (), (), (), ())


def configured() -> Configuration:
    placed = place(one_core())
    core = CoreImage(CORE, ((0x20000, bytes(64)),))
    return Configuration((core,), placed.locks, placed.bds, placed.starts, placed.routes, placed.shim_ports)


def test_streams_end_at_channels() -> None:
    streams = follow_streams(configured())
    assert [(s.source.tile, s.source.port, [(t.tile, t.port) for t in s.sinks]) for s in streams] == [
        (TileId(0, 0), "MM2S_0", [(CORE, "S2MM_0")]),
        (CORE, "MM2S_0", [(TileId(0, 0), "S2MM_0")]),
    ]


def test_a_multicast_has_several_ends() -> None:
    at = TileId(0, 2)
    routes = (
        Circuit(at, "DMA0", "North1"),
        Circuit(TileId(0, 3), "South1", "DMA0"),
        Circuit(TileId(0, 3), "South1", "East2"),
        Circuit(TileId(1, 3), "West2", "DMA1"),
    )
    configuration = Configuration((), (), (), (), routes, ())
    (stream,) = follow_streams(configuration)
    assert {(sink.tile, sink.port) for sink in stream.sinks} == {(TileId(0, 3), "S2MM_0"), (TileId(1, 3), "S2MM_1")}
    assert crossings(configuration) == {(at, TileId(0, 3)): 1, (TileId(0, 3), TileId(1, 3)): 1}
    text = "\n".join(draw(configuration))
    assert "─1→" in text
    assert text.count("core") == 3


def test_circles_and_loose_ends_are_followed_to_their_end() -> None:
    circle = tuple(
        Circuit(TileId(x, y), slave, master)
        for x, y, slave, master in ((0, 2, "West0", "East0"), (1, 2, "West0", "West0"), (0, 2, "East0", "East0"))
    )
    assert isinstance(follow_streams(Configuration((), (), (), (), circle, ())), tuple)
    loose = (Circuit(CORE, "South3", "North2"),)
    (stream,) = follow_streams(Configuration((), (), (), (), loose, ()))
    assert (stream.source.port, stream.sinks[0].port) == ("South3", "South2")


def test_the_picture_of_one_core() -> None:
    assert draw(configured()) == [
        "       ┌──────────┐",
        "row 2  │  core ▶  │",
        "       │  4 BDs   │",
        "       └──────────┘",
        "          ↑1  ↓1",
        "       ┌──────────┐",
        "row 1  │   mem    │",
        "       │          │",
        "       └──────────┘",
        "          ↑1  ↓1",
        "       ┌──────────┐",
        "row 0  │   shim   │",
        "       │  tokens  │",
        "       └──────────┘",
        "         column 0",
    ]
    assert draw(EMPTY) == []


def test_the_words_of_one_core() -> None:
    text = "\n".join(overview(configured()))
    assert "shim (0, 0) MM2S_0 → core (0, 2) S2MM_0" in text
    assert "program memory from 0x0: 64 bytes" in text
    assert "locks start at 0: 2, 1: 0, 2: 2, 3: 0" in text
    assert "S2MM_0: 2 BDs, again from BD 0" in text
    assert "BD 1: 3,072 words at 0x4000, takes 1 of lock 0, gives 1 of lock 1" in text
    assert list(overview(EMPTY)) == []
