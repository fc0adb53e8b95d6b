"""From a design to numbers: addresses, locks, DMA channels, buffer descriptors and routes.

What the hardware has too little of is an InputError that names the number, the limit and a remedy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple, TypeVar

from xattn.array.buffer_descriptor import BufferDescriptor, LockUse
from xattn.array.configuration import (
    ChannelStart,
    Circuit,
    LockValue,
    PlacedBd,
    ShimPort,
    TokenRoute,
)
from xattn.array.design import Design, DmaEnd, End, Fifo, HostEnd, Stream, TileId, Wait, Walk
from xattn.array.design_check import check_design
from xattn.array.memory import place_memory
from xattn.array.registers import TileKind
from xattn.array.routing import PortAt, Router
from xattn.array.streams import SHIM_PORTS
from xattn.array.transfers import ShimChannel
from xattn.array.words import WORD
from xattn.errors import InputError

CHANNELS = {TileKind.CORE: 2, TileKind.MEM: 6, TileKind.SHIM: 2}
LOCKS = {TileKind.CORE: 16, TileKind.MEM: 64}
_BDS = {TileKind.CORE: 16, TileKind.MEM: 48}
# A mem tile's DMA sees its west neighbour first, then itself.
_OWN_WINDOW, _OWN_LOCKS = 0x80000, 64


@dataclass(frozen=True)
class PlacedFifo:
    """A FIFO's buffers (byte offsets in the tile) and the locks that count the free and the full ones.

    `done_lock` counts those that are to be emptied: the full ones, or, in place, those that a core has changed.
    """

    fifo: Fifo
    offsets: tuple[int, ...]
    free_lock: int
    full_lock: int
    done_lock: int

    @property
    def locks(self) -> tuple[tuple[int, int], ...]:
        """(number, first value) of its locks."""
        locks = ((self.free_lock, self.fifo.depth), (self.full_lock, 0), (self.done_lock, 0))
        return locks if self.fifo.in_place else locks[:2]

    def taken_by_core(self, output: bool) -> int:
        """The lock that a core takes before it works on a buffer."""
        return self.free_lock if output and not self.fifo.in_place else self.full_lock

    def given_by_core(self, output: bool) -> int:
        """The lock that a core gives when it is done with a buffer."""
        if self.fifo.in_place:
            return self.done_lock
        return self.full_lock if output else self.free_lock

    def used_by_dma(self, outward: bool) -> tuple[int, int]:
        """The locks that a DMA channel takes and gives."""
        return (self.done_lock, self.free_lock) if outward else (self.free_lock, self.full_lock)


class EndChannel(NamedTuple):
    """The DMA channel at an end of a stream: MM2S at the source, S2MM at a sink."""

    tile: TileId
    channel: int


@dataclass(frozen=True)
class Placement:
    """A design with everything numbered.

    `scratch`: byte offsets of each core's scratch memory by name. `shim`: the DMA channels of the host's streams.
    `ends`: the channel of each stream's source, and those of its sinks. `turns`: what a channel's chain of BDs does,
    as walks with the number of the buffer, by tile and channel ("S2MM_0").
    """

    design: Design
    fifos: dict[str, PlacedFifo]
    locks: tuple[LockValue, ...]
    bds: tuple[PlacedBd, ...]
    starts: tuple[ChannelStart, ...]
    routes: tuple[Circuit | TokenRoute, ...]
    shim_ports: tuple[ShimPort, ...]
    shim: dict[str, ShimChannel]
    scratch: dict[TileId, dict[str, int]]
    ends: dict[str, tuple[EndChannel, ...]]
    turns: dict[tuple[TileId, str], tuple[tuple[Walk, int], ...]]


def place(design: Design) -> Placement:
    """Number everything; InputError says what does not fit."""
    check_design(design)
    memory = place_memory(design)
    fifos = _number_locks(design, memory.fifos)
    channels = _Channels()
    bds = _Bds()
    router = Router(design.columns)
    starts: list[ChannelStart] = []
    routes: list[Circuit | TokenRoute] = []
    ports: list[ShimPort] = []
    shim: dict[str, ShimChannel] = {}
    stream_ends: dict[str, tuple[EndChannel, ...]] = {}
    for stream in design.streams:
        ends: list[PortAt] = []
        numbers: list[EndChannel] = []
        for end, outward in ((stream.source, True), *((sink, False) for sink in stream.sinks)):
            # To the switch, a DMA end is outward (MM2S); a host end that sends is the shim's MM2S too.
            where = end_tile(design, end)
            channel = channels.take(stream, where, outward)
            if isinstance(end, HostEnd):
                shim[stream.name] = ShimChannel(where.column, channel, outward)
                port = SHIM_PORTS[outward][channel]
                ports.append(ShimPort(where, port, outward))
            else:
                port = f"DMA{channel}"
                starts.append(bds.chain(stream, end, where, channel, outward, fifos))
            ends.append(PortAt(where, port))
            numbers.append(EndChannel(where, channel))
        stream_ends[stream.name] = tuple(numbers)
        routes += router.route(stream.name, ends[0], tuple(ends[1:]))
    routes += [TokenRoute(TileId(column, 0)) for column in _waited_columns(design, shim)]
    locks = [LockValue(placed.fifo.tile, lock, value) for placed in fifos.values() for lock, value in placed.locks]
    return Placement(
        design,
        fifos,
        tuple(locks),
        _by_tile(bds.placed),
        _by_tile(starts),
        tuple(routes),
        tuple(ports),
        shim,
        memory.scratch,
        stream_ends,
        bds.turns,
    )


_OfTile = TypeVar("_OfTile", PlacedBd, ChannelStart)


def _by_tile(items: list[_OfTile]) -> tuple[_OfTile, ...]:
    """The items of one tile together, tiles in the order in which they come first."""
    tiles = list(dict.fromkeys(item.tile for item in items))
    return tuple(sorted(items, key=lambda item: tiles.index(item.tile)))


def end_tile(design: Design, end: End) -> TileId:
    """The tile whose DMA an end is."""
    return TileId(end.column, 0) if isinstance(end, HostEnd) else design.fifo(end.walks[0].fifo).tile


def _waited_columns(design: Design, shim: dict[str, ShimChannel]) -> list[int]:
    return sorted({shim[step.stream].column for step in design.sequence if isinstance(step, Wait)})


def _number_locks(design: Design, offsets: dict[str, tuple[int, ...]]) -> dict[str, PlacedFifo]:
    taken: dict[TileId, int] = defaultdict(int)
    placed = {}
    for fifo in design.fifos:
        first = taken[fifo.tile]
        taken[fifo.tile] += 3 if fifo.in_place else 2
        if taken[fifo.tile] > LOCKS[fifo.tile.kind]:
            raise InputError(
                f"FIFO {fifo.name} needs locks {first} to {taken[fifo.tile] - 1} of tile {fifo.tile}, which has "
                f"{LOCKS[fifo.tile.kind]}: put fewer FIFOs there"
            )
        done = first + 2 if fifo.in_place else first + 1
        placed[fifo.name] = PlacedFifo(fifo, offsets[fifo.name], first, first + 1, done)
    return placed


class _Channels:
    """DMA channels, handed out in order."""

    def __init__(self) -> None:
        self.taken: dict[tuple[TileId, bool], int] = defaultdict(int)

    def take(self, stream: Stream, where: TileId, outward: bool) -> int:
        number = self.taken[where, outward]
        limit = CHANNELS[where.kind]
        if number >= limit:
            direction = "MM2S" if outward else "S2MM"
            raise InputError(
                f"stream {stream.name} needs {direction} channel {number} of the {where.kind.value} tile {where}, "
                f"which has {limit}: let one stream carry several FIFOs in turn, or go through another column"
            )
        self.taken[where, outward] += 1
        return number


class _Bds:
    """Buffer descriptors, handed out in order: in mem tiles, even channels use 0 to 23 and odd ones 24 to 47."""

    def __init__(self) -> None:
        self.placed: list[PlacedBd] = []
        self.turns: dict[tuple[TileId, str], tuple[tuple[Walk, int], ...]] = {}
        self.taken: dict[tuple[TileId, bool], int] = defaultdict(int)

    def chain(
        self, stream: Stream, end: DmaEnd, where: TileId, channel: int, outward: bool, fifos: dict[str, PlacedFifo]
    ) -> ChannelStart:
        """A closed chain of BDs: a buffer of each FIFO in turn, until all FIFOs are at their first buffer again."""
        turns = list(_turns(end, fifos))
        numbers = self._take(stream, where, channel, len(turns))
        name = f"{'MM2S' if outward else 'S2MM'}_{channel}"
        self.turns[where, name] = tuple(turns)
        for index, (walk, buffer) in enumerate(turns):
            placed = fifos[walk.fifo]
            own = where.kind is TileKind.MEM
            take, give = (lock + _OWN_LOCKS * own for lock in placed.used_by_dma(outward))
            bd = BufferDescriptor(
                length=placed.fifo.bytes // WORD,
                address=placed.offsets[buffer] + _OWN_WINDOW * own,
                dimensions=walk.dimensions,
                acquire=LockUse(take, -1),
                release=LockUse(give, 1),
                next_bd=numbers[(index + 1) % len(numbers)],
            )
            self.placed.append(PlacedBd(where, numbers[index], bd))
        return ChannelStart(where, name, numbers[0])

    def _take(self, stream: Stream, where: TileId, channel: int, count: int) -> list[int]:
        odd = where.kind is TileKind.MEM and channel % 2 == 1
        limit = _BDS[where.kind] // (2 if where.kind is TileKind.MEM else 1)
        first = self.taken[where, odd]
        if first + count > limit:
            which = f" for {'odd' if odd else 'even'} channels" if where.kind is TileKind.MEM else ""
            raise InputError(
                f"stream {stream.name} needs {count} buffer descriptors of tile {where}, of whose {limit}{which} "
                f"{limit - first} are left: take FIFOs of less depth, or fewer of them"
            )
        self.taken[where, odd] += count
        return [first + index + limit * odd for index in range(count)]


def _turns(end: DmaEnd, fifos: dict[str, PlacedFifo]) -> Iterator[tuple[Walk, int]]:
    """(walk, number of its FIFO's buffer) for every BD of the chain."""
    for turn in range(lcm(*(fifos[walk.fifo].fifo.depth for walk in end.walks))):
        for walk in end.walks:
            yield walk, turn % fifos[walk.fifo].fifo.depth
