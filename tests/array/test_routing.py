"""Routes through the stream switches: they arrive, keep to the switches' rules, and share no port."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.array.configuration import Circuit
from xattn.array.design import TileId
from xattn.array.registers import TileKind, tile
from xattn.array.routing import PortAt, Router, can_connect
from xattn.errors import InputError

NEXT = {"North": (0, 1, "South"), "South": (0, -1, "North"), "East": (1, 0, "West"), "West": (-1, 0, "East")}


def arrivals(circuits: list[Circuit], source: PortAt) -> set[PortAt]:
    """The master ports that end a route: follow the words from the source, switch by switch."""
    reached, ends = {source}, set()
    waiting = [source]
    while waiting:
        at = waiting.pop()
        for circuit in circuits:
            if (circuit.tile, circuit.slave) != (at.tile, at.port):
                continue
            side = circuit.master.rstrip("0123456789")
            if side not in NEXT or (side == "South" and circuit.tile.row == 0):
                ends.add(PortAt(circuit.tile, circuit.master))
                continue
            east, north, entry = NEXT[side]
            there = PortAt(
                TileId(circuit.tile.column + east, circuit.tile.row + north), entry + circuit.master[len(side) :]
            )
            assert there not in reached, "words come in twice at one port"
            reached.add(there)
            waiting.append(there)
    return ends


def cores() -> st.SearchStrategy[TileId]:
    return st.builds(TileId, st.integers(0, 3), st.integers(2, 5))


@given(cores(), st.lists(cores(), min_size=1, max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_stream_reaches_all_its_sinks(start: TileId, sinks: list[TileId]) -> None:
    router = Router(4)
    source = PortAt(start, "DMA0")
    targets = tuple(PortAt(sink, "DMA1") for sink in sinks)
    circuits = router.route("s", source, targets)
    assert arrivals(circuits, source) == set(targets)
    masters = [(circuit.tile, circuit.master) for circuit in circuits]
    assert len(set(masters)) == len(masters)
    assert all(circuit.tile.column < 4 and circuit.tile.row < 6 for circuit in circuits)


def test_many_streams_share_no_port() -> None:
    """From every shim to every other column's top core, until the switches are full."""
    router = Router(4)
    masters: list[tuple[TileId, str]] = []
    for column in range(4):
        source = PortAt(TileId(column, 0), "South3")
        sink = PortAt(TileId(3 - column, 5), "DMA0")
        circuits = router.route(f"s{column}", source, (sink,))
        assert arrivals(circuits, source) == {sink}
        masters += [(circuit.tile, circuit.master) for circuit in circuits]
        for circuit in circuits:
            assert can_connect(circuit.tile.kind, circuit.slave, circuit.master)
            assert circuit.master in tile(circuit.tile.kind).masters
            assert circuit.slave in tile(circuit.tile.kind).slaves
    assert len(set(masters)) == len(masters)


def test_a_mem_tile_passes_on_the_same_number_only() -> None:
    assert can_connect(TileKind.MEM, "South2", "North2")
    assert not can_connect(TileKind.MEM, "South2", "North3")
    assert can_connect(TileKind.MEM, "South2", "DMA5")
    assert can_connect(TileKind.MEM, "DMA1", "North4")
    assert not can_connect(TileKind.MEM, "DMA1", "DMA2")
    assert can_connect(TileKind.CORE, "South2", "North3")
    assert not can_connect(TileKind.CORE, "North2", "North3")
    assert can_connect(TileKind.SHIM, "South3", "East1")


def test_the_way_down_is_four_streams_wide() -> None:
    router = Router(1)
    for number in range(4):
        router.route("down", PortAt(TileId(0, 2 + number), "DMA0"), (PortAt(TileId(0, 1), f"DMA{number}"),))
    with pytest.raises(InputError, match=r"stream fifth: no way is left from tile \(0, 2\) to DMA4 of tile \(0, 1\)"):
        router.route("fifth", PortAt(TileId(0, 2), "DMA1"), (PortAt(TileId(0, 1), "DMA4"),))


def test_a_port_takes_one_stream() -> None:
    router = Router(1)
    sink = (PortAt(TileId(0, 2), "DMA0"),)
    router.route("a", PortAt(TileId(0, 0), "South3"), sink)
    with pytest.raises(InputError, match=r"stream b: port DMA0 of tile \(0, 2\) has another stream already"):
        router.route("b", PortAt(TileId(0, 0), "South7"), sink)
