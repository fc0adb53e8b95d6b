"""Stream switches: where the words of a slave port go, followed from tile to tile through what the registers say.

Circuit routes: a master port names its slave port, and several may name the same one (multicast). Packet routes: the
slots of the slave port compare the packet's id, and give an arbiter and a selection; the masters that name both send
it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from xattn.array.design import TileId
from xattn.array.registers import TileKind, kind_of_row, port_index, register, tile
from xattn.array.routing import PortAt, can_connect, entry, number, side
from xattn.array.streams import SHIM_PORTS
from xattn.sim.array.timing import ArrayTiming

Place = tuple[int, int]
RegistersOf = Callable[[int, int], "Mapping[int, int] | None"]

SIDES = ("North", "South", "East", "West")
_TO_DMA = 1  # the setting of the shim's multiplexers that connects the DMA
CONTROLLER_PORT = "South0"


@dataclass(frozen=True, slots=True)
class Leg:
    """One end of a route: the S2MM channel `channel` of a tile, or what else (`end`) is there.

    `latency`: cycles from the sender's port; `capacity`: words that fit on the way; `header`: a packet's header comes.
    """

    place: Place
    channel: int | None
    end: str
    latency: int
    capacity: int
    header: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """All ends that the words of a port reach, and the arbiters (place, number) that its packets pass."""

    legs: tuple[Leg, ...]
    arbiters: tuple[tuple[Place, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """How far a route has been followed: cycles, words, whether the header is still there, and the ports passed."""

    latency: int
    capacity: int
    header: bool
    passed: frozenset[tuple[Place, str]] = frozenset()


@dataclass(slots=True)
class _Search:
    """What is found while the streams of a port, or its packets of one id, are followed."""

    packet: int | None
    legs: list[Leg] = field(default_factory=list)
    arbiters: set[tuple[Place, int]] = field(default_factory=set)


class Network:
    """The array's switches. `registers_of(column, row)` gives a tile's registers by offset, None without a tile."""

    def __init__(self, registers_of: RegistersOf, timing: ArrayTiming):
        self._registers_of, self._timing = registers_of, timing
        self._routes: dict[tuple[Place, str, int | None], Route] = {}

    def changed(self) -> None:
        """Forget the routes: a switch was configured anew."""
        self._routes.clear()

    def from_channel(self, place: Place, channel: int, packet: int | None) -> Route:
        """The route of MM2S channel `channel`; `packet` is the id of the packet that it sends, if it sends one."""
        if kind_of_row(place[1]) is TileKind.SHIM:
            port = SHIM_PORTS[True][channel]
            if self._field(place, "Mux_Config", port) != _TO_DMA:
                return Route(())
            return self.from_port(place, port, packet)
        return self.from_port(place, f"DMA{channel}", packet)

    def from_port(self, place: Place, port: str, packet: int | None) -> Route:
        """The route of a slave port."""
        key = (place, port, packet)
        if key not in self._routes:
            search = _Search(packet)
            self._follow(place, port, _Way(0, self._timing.mm2s_fifo, packet is not None), search)
            self._routes[key] = Route(tuple(search.legs), tuple(sorted(search.arbiters)))
        return self._routes[key]

    def _follow(self, place: Place, port: str, way: _Way, search: _Search) -> None:
        """Follow what comes in at a slave port."""
        if (place, port) in way.passed:
            search.legs.append(Leg(place, None, f"a circle through {port}", 0, 0))
            return
        for master, drops in self._masters(place, port, search):
            if not can_connect(kind_of_row(place[1]), port, master):
                search.legs.append(Leg(place, None, f"{master}, which the switch cannot connect to {port}", 0, 0))
                continue
            capacity = way.capacity + self._timing.slave_fifo
            passed = way.passed | {(place, port)}
            self._leave(place, master, _Way(way.latency, capacity, way.header and not drops, passed), search)

    def _leave(self, place: Place, master: str, way: _Way, search: _Search) -> None:
        """Follow what goes out at a master port."""
        timing = self._timing
        kind = kind_of_row(place[1])
        if side(master) in SIDES and not (kind is TileKind.SHIM and side(master) == "South"):
            latency = way.latency + timing.switch_external + timing.hop
            capacity = way.capacity + timing.master_fifo_external
            there = entry(PortAt(TileId(*place), master))
            if there is None or self._registers_of(*there.tile) is None:
                search.legs.append(Leg(place, None, f"{master}, where there is no tile", latency, capacity))
            else:
                self._follow(there.tile, there.port, _Way(latency, capacity, way.header, way.passed), search)
            return
        latency = way.latency + timing.switch_local
        capacity = way.capacity + timing.master_fifo_local
        channel = self._channel(place, kind, master)
        if channel is not None:
            search.legs.append(Leg(place, channel, master, latency, capacity + timing.s2mm_fifo, way.header))
        else:
            search.legs.append(Leg(place, None, master, latency, capacity))

    def _channel(self, place: Place, kind: TileKind, master: str) -> int | None:
        """The S2MM channel behind a master port that does not lead to another tile."""
        if kind is not TileKind.SHIM:
            return number(master) if side(master) == "DMA" else None
        if master in SHIM_PORTS[False] and self._field(place, "Demux_Config", master) == _TO_DMA:
            return SHIM_PORTS[False].index(master)
        return None

    def _masters(self, place: Place, port: str, search: _Search) -> Iterator[tuple[str, bool]]:
        """The master ports that send on what comes in at a slave port, and whether they drop packet headers."""
        kind = kind_of_row(place[1])
        registers = self._registers_of(*place) or {}
        slave = register(kind, f"Stream_Switch_Slave_Config_{port}")
        setting = slave.decode(registers.get(slave.offset, 0))
        if not setting["Slave_Enable"]:
            return
        chosen = self._slot(kind, registers, port, search.packet) if setting["Packet_Enable"] else None
        if setting["Packet_Enable"] and chosen is None:
            return
        for master, offset in _master_registers(kind):
            word = registers.get(offset, 0)
            if not word:
                continue
            found = register(kind, f"Stream_Switch_Master_Config_{master}").decode(word)
            if not found["Master_Enable"] or bool(found["Packet_Enable"]) != (chosen is not None):
                continue
            if chosen is None:
                if found["Configuration"] == port_index(kind, "slave", port):
                    yield master, False
            elif found["Configuration"] & 7 == chosen[0] and found["Configuration"] >> 3 & 1 << chosen[1]:
                search.arbiters.add((place, chosen[0]))
                yield master, bool(found["Drop_Header"])

    def _slot(
        self, kind: TileKind, registers: Mapping[int, int], port: str, packet: int | None
    ) -> tuple[int, int] | None:
        """Arbiter and selection that a packet of this id gets at a slave port."""
        for slot_number in range(4):
            slot = register(kind, f"Stream_Switch_Slave_{port}_Slot{slot_number}")
            found = slot.decode(registers.get(slot.offset, 0))
            if found["Enable"] and packet is not None and packet & found["Mask"] == found["ID"] & found["Mask"]:
                return found["Arbiter"], found["MSel"]
        return None

    def _field(self, place: Place, name: str, field: str) -> int:
        found = register(kind_of_row(place[1]), name)
        return found.decode((self._registers_of(*place) or {}).get(found.offset, 0))[field]


@cache
def _master_registers(kind: TileKind) -> tuple[tuple[str, int], ...]:
    return tuple((port, register(kind, f"Stream_Switch_Master_Config_{port}").offset) for port in tile(kind).masters)
