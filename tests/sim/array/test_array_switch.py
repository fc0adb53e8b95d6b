"""Where streams go: circuits across tiles, and packets by their id."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from array_programs import Draft, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import Packet
from xattn.array.cdo import Cdo, Command, Write, read_cdo, write_cdo
from xattn.array.configuration import ChannelStart, LockValue
from xattn.array.design import TileId
from xattn.array.instructions import Noop
from xattn.array.registers import kind_of_row, register, tile_address
from xattn.array.routing import PortAt, Router
from xattn.array.streams import SHIM_PORTS
from xattn.errors import InputError
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array

A, B, C = TileId(0, 2), TileId(0, 3), TileId(1, 3)


def setting(place: tuple[int, int], name: str, **fields: int) -> Command:
    entry = register(kind_of_row(place[1]), name)
    return Write(tile_address(*place, entry.offset), entry.encode(**fields))


def packets(place: tuple[int, int], slave: str, rules: dict[int, tuple[int, int]]) -> list[Command]:
    """Packets that come in at a slave port: id → (arbiter, selection)."""
    commands = [setting(place, f"Stream_Switch_Slave_Config_{slave}", Slave_Enable=1, Packet_Enable=1)]
    for slot, (number, (arbiter, select)) in enumerate(rules.items()):
        fields = {"ID": number, "Mask": 31, "Enable": 1, "MSel": select, "Arbiter": arbiter}
        commands.append(setting(place, f"Stream_Switch_Slave_{slave}_Slot{slot}", **fields))
    return commands


def outward(place: tuple[int, int], master: str, arbiter: int, select: int, drop: bool = False) -> Command:
    fields = {"Master_Enable": 1, "Packet_Enable": 1, "Drop_Header": int(drop)}
    return setting(place, f"Stream_Switch_Master_Config_{master}", **fields, Configuration=1 << select << 3 | arbiter)


def run(draft: Draft, *commands: list[Command] | Command, data: dict[TileId, np.ndarray]) -> Array:
    array = draft.load()
    flat = [c for item in commands for c in (item if isinstance(item, list) else [item])]
    array.load(read_cdo(write_cdo(Cdo(tuple(flat)))))
    for tile, words in data.items():
        array.tiles[tile].write(0, words.tolist())
    array.run(stream_of(Noop()), [])
    return array


def words(array: Array, tile: TileId, count: int) -> np.ndarray:
    return np.frombuffer(array.tile_memory(*tile), np.uint32)[:count]


def numbers(count: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.uint32)


def test_packets_of_two_senders_arrive_whole() -> None:
    draft = Draft()
    for tile, number in ((A, 3), (C, 5)):
        draft.bd(tile, 0, length=200, address=0, packet=Packet(number), next_bd=1)
        draft.bd(tile, 1, length=100, address=800, packet=Packet(number))
        draft.starts.append(ChannelStart(tile, "MM2S_0", 0))
    draft.bd(B, 0, length=600, address=0)
    draft.starts.append(ChannelStart(B, "S2MM_0", 0))
    array = run(
        draft,
        packets(A, "DMA0", {3: (0, 0)}),
        outward(A, "North1", 0, 0),
        packets(C, "DMA0", {5: (2, 1)}),
        outward(C, "West2", 2, 1),
        packets(B, "South1", {3: (1, 2)}),
        packets(B, "East2", {5: (1, 2)}),
        outward(B, "DMA0", 1, 2, drop=True),
        data={A: numbers(300), C: numbers(300, 1001)},
    )
    found = words(array, B, 600)
    pieces, start = [], 0
    while start < 600:  # each packet comes in one piece
        first = int(found[start])
        length = 200 if first % 1000 == 1 else 100
        assert np.array_equal(found[start : start + length], numbers(length, first))
        pieces.append(first)
        start += length
    assert sorted(pieces) == [1, 201, 1001, 1201]
    assert pieces.index(1) < pieces.index(201) and pieces.index(1001) < pieces.index(1201)
    assert {1, 1001} == set(pieces[:2])  # the senders take turns


def test_a_sender_reaches_two_receivers_by_packet_id() -> None:
    draft = Draft()
    draft.bd(A, 0, length=40, address=0, packet=Packet(1), next_bd=1)
    draft.bd(A, 1, length=60, address=160, packet=Packet(2))
    draft.bd(B, 0, length=60, address=0)
    draft.bd(TileId(0, 1), 0, length=40, address=0x80000)
    draft.starts += [
        ChannelStart(A, "MM2S_0", 0),
        ChannelStart(B, "S2MM_1", 0),
        ChannelStart(TileId(0, 1), "S2MM_0", 0),
    ]
    draft.circuit(((0, 1), "North2", "DMA0"))
    array = run(
        draft,
        packets(A, "DMA0", {1: (0, 0), 2: (0, 1)}),
        outward(A, "South2", 0, 0, drop=True),
        outward(A, "North0", 0, 1),
        packets(B, "South0", {2: (4, 3)}),
        outward(B, "DMA1", 4, 3, drop=True),
        data={A: numbers(100)},
    )
    assert np.array_equal(words(array, TileId(0, 1), 40), numbers(40))
    assert np.array_equal(words(array, B, 60), numbers(60, 41))


def test_a_header_that_is_kept_is_a_word_of_data() -> None:
    draft = Draft()
    draft.bd(C, 0, length=4, address=0, packet=Packet(id=9, kind=2))
    draft.bd(B, 0, length=5, address=0)
    draft.starts += [ChannelStart(C, "MM2S_0", 0), ChannelStart(B, "S2MM_0", 0)]
    draft.circuit(((0, 3), "East0", "DMA0"))
    array = run(draft, packets(C, "DMA0", {9: (0, 0)}), outward(C, "West0", 0, 0), data={C: numbers(4)})
    # id 9, kind 2 at bit 12, row 3 at bit 16, column 1 at bit 21: six bits, so bit 31 makes the parity odd
    assert words(array, B, 5).tolist() == [0x8000_0000 | 1 << 21 | 3 << 16 | 2 << 12 | 9, 1, 2, 3, 4]


def test_a_packet_that_no_rule_matches_goes_nowhere() -> None:
    draft = Draft()
    draft.bd(C, 0, length=4, address=0, packet=Packet(8))
    draft.starts.append(ChannelStart(C, "MM2S_0", 0))
    array = run(draft, packets(C, "DMA0", {9: (0, 0)}), outward(C, "West0", 0, 0), data={C: numbers(4)})
    assert [finding.kind.value for finding in array.context.findings.all()] == ["stream-goes-nowhere"]


def test_a_circle_of_circuits_is_found_and_not_followed_for_ever() -> None:
    draft = Draft()
    draft.bd(A, 0, length=4, address=0)
    draft.starts.append(ChannelStart(A, "MM2S_0", 0))
    draft.circuit(((0, 2), "DMA0", "North0"), ((0, 3), "South0", "South0"), ((0, 2), "North0", "North0"))
    array = run(draft, data={A: numbers(4)})
    (finding,) = array.context.findings.all()
    assert finding.kind.value == "stream-goes-nowhere"


tiles = st.builds(TileId, st.integers(0, 3), st.integers(0, 5))


@settings(max_examples=25, deadline=None)
@given(tiles, st.lists(tiles, min_size=1, max_size=6, unique=True), st.lists(st.tuples(tiles, tiles), max_size=6))
def test_routes_lead_where_the_router_laid_them(source: TileId, sinks: list[TileId], others) -> None:
    """Every route of the router, one to many, between others, over all kinds of tiles."""
    sinks = [tile for tile in sinks if tile.row] + [tile for tile in sinks if not tile.row][:1]
    router = Router(4)
    circuits = []
    with suppress(InputError):  # ways run out
        for number, (one, other) in enumerate(others):
            circuits += router.route(
                f"r{number}", PortAt(one, port(one, 1, True)), (PortAt(other, port(other, 1, False)),)
            )
    ends = tuple(PortAt(sink, port(sink, 0, False)) for sink in sinks)
    laid = router.route("asked", PortAt(source, port(source, 0, True)), ends)
    draft = Draft(routes=[*circuits, *laid])
    for column in range(4):
        draft.shim(column, ("South3", True), ("South7", True), ("South2", False), ("South3", False))
    legs = draft.load().network.from_channel(source, 0, None).legs
    assert sorted((leg.place, leg.channel) for leg in legs) == sorted((tuple(sink), 0) for sink in sinks)
    assert all(leg.capacity > leg.latency > 0 for leg in legs)  # what the streams' exactness rests on


def port(tile: TileId, channel: int, outward: bool) -> str:
    if tile.row:
        return f"DMA{channel}"
    return SHIM_PORTS[outward][channel]


def test_what_a_switch_cannot_connect_goes_nowhere() -> None:
    draft = Draft()
    draft.bd(TileId(0, 3), 0, length=4, address=0)
    draft.bd(TileId(0, 0), 0, length=4)
    draft.starts.append(ChannelStart(TileId(0, 3), "MM2S_0", 0))
    draft.circuit(((0, 3), "DMA0", "South1"), ((0, 2), "North1", "South1"), ((0, 1), "North1", "South2"))
    array = run(draft, data={TileId(0, 3): numbers(4)})
    cause = array.context.findings.all()[0].cause
    assert "South2, which the switch cannot connect to North1" in cause


def test_shim_dma_needs_its_multiplexers() -> None:
    draft = Draft()
    draft.bd(TileId(0, 1), 0, length=4, address=0x80000)
    draft.starts.append(ChannelStart(TileId(0, 1), "S2MM_0", 0))
    draft.circuit(((0, 0), "South3", "North0"), ((0, 1), "South0", "DMA0"))
    array = draft.load()
    assert array.network.from_channel((0, 0), 0, None).legs == ()
    array.load(Cdo((setting((0, 0), "Mux_Config", South3=1),)))
    (leg,) = array.network.from_channel((0, 0), 0, None).legs
    assert (leg.place, leg.channel) == ((0, 1), 0)


def test_a_core_lock_of_a_neighbour_is_the_neighbours() -> None:
    draft = Draft()
    text = "mova r16, #1\nnop*4\nrel #{lock}, r16\nnop*8\ndone\nnop*5"
    for tile, lock in ((TileId(1, 3), 3), (TileId(2, 3), 16 + 4), (TileId(3, 3), 32 + 5)):  # south, west, north
        draft.program(tile, text.format(lock=lock))
    array = draft.load()
    array.run(stream_of(Noop()), [])
    values = [array.tiles[place].locks[lock].value for place, lock in (((1, 2), 3), ((1, 3), 4), ((3, 4), 5))]
    assert values == [1, 1, 1]
    lone = Draft()
    lone.program(TileId(0, 3), text.format(lock=16))
    with pytest.raises(
        ArrayError, match=r"core \(0,3\) uses lock 16: that is lock 0 of the west, where no core tile is"
    ):
        lone.load().run(stream_of(Noop()), [])


def test_cores_see_their_neighbours_memory() -> None:
    """Each of three cores copies a word from its neighbour and adds one; what nobody wrote is found."""
    draft = Draft()
    copy = """
        mova r17, #-1
        nop*4
        acq #{lock}, r17
        nop*8
        movxm p0, #{source}
        movxm p1, #{target}
        lda r1, [p0, #0]
        nop*6
        add r1, r1, #1
        st r1, [p1, #0]
        mova r16, #1
        nop*8
        rel #48, r16
        nop*8
        done
        nop*5
    """
    west, middle, north = TileId(1, 3), TileId(2, 3), TileId(2, 4)
    draft.program(west, copy.format(lock=48, source=0x70104, target=0x70100))
    draft.program(middle, copy.format(lock=16, source=0x50100, target=0x70200))  # from the west
    draft.program(north, copy.format(lock=0, source=0x40200, target=0x40300))  # south, and back to the south
    draft.locks.append(LockValue(west, 0, 1))
    array = draft.load()
    array.tiles[west].write(0x104, [41])
    result = array.run(stream_of(Noop()), [])
    assert words(array, west, 65)[64] == 42
    assert words(array, middle, 129)[128] == 43 and words(array, middle, 193)[192] == 44
    assert [core.findings for core in result.cores] == [[], [], []]
    assert array.tiles[west].locks[0].value == 0 and array.tiles[north].locks[0].value == 1

    alone = Draft(locks=[LockValue(west, 0, 1)])  # the west has written nothing
    alone.program(middle, copy.format(lock=16, source=0x50100, target=0x70200))
    (core,) = alone.load().run(stream_of(Noop()), []).cores
    assert [finding.kind.value for finding in core.findings] == ["undefined-register"]
