"""The streams of a configuration, followed switch by switch from the DMA channel that sends to those that receive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from xattn.array.configuration import Circuit, Configuration
from xattn.array.design import TileId
from xattn.array.registers import TileKind
from xattn.array.routing import PortAt, entry, number, side

_LONGEST = 256  # switches on a way; more is a circle


@dataclass(frozen=True)
class FollowedStream:
    """A stream: where it starts, where it ends, and the connections in between. Ports of DMA channels go by channel."""

    source: PortAt
    sinks: tuple[PortAt, ...]
    circuits: tuple[Circuit, ...]


def follow_streams(configuration: Configuration) -> tuple[FollowedStream, ...]:
    """All streams, by their source; connections that lead from nowhere start a stream too."""
    outgoing: dict[PortAt, list[Circuit]] = defaultdict(list)
    for route in configuration.routes:
        if isinstance(route, Circuit):
            outgoing[PortAt(route.tile, route.slave)].append(route)
    reached = {entry(PortAt(c.tile, c.master)) for circuits in outgoing.values() for c in circuits}
    sources = sorted(set(outgoing) - reached, key=lambda port: (port.tile, port.port))
    return tuple(_follow(source, outgoing, configuration) for source in sources)


def _follow(source: PortAt, outgoing: dict[PortAt, list[Circuit]], configuration: Configuration) -> FollowedStream:
    sinks: list[PortAt] = []
    circuits: list[Circuit] = []
    waiting = [source]
    while waiting and len(circuits) < _LONGEST:
        at = waiting.pop(0)
        found = outgoing.get(at, [])
        if not found:
            sinks.append(at)
        for circuit in found:
            circuits.append(circuit)
            out = PortAt(circuit.tile, circuit.master)
            there = entry(out)
            if there is None:
                sinks.append(channel_port(out, configuration))
            else:
                waiting.append(there)
    return FollowedStream(channel_port(source, configuration, sends=True), tuple(sinks), tuple(circuits))


def channel_port(at: PortAt, configuration: Configuration, sends: bool = False) -> PortAt:
    """A port that a DMA channel has, under the channel's name (MM2S_0, S2MM_1); any other one as it is."""
    direction = "MM2S" if sends else "S2MM"
    if at.tile.kind is TileKind.SHIM and side(at.port) == "South":
        ports = {port.port for port in configuration.shim_ports if port.tile == at.tile and port.to_array == sends}
        if at.port in ports:
            names = SHIM_PORTS[sends]
            return PortAt(at.tile, f"{direction}_{names.index(at.port)}" if at.port in names else at.port)
    if side(at.port) == "DMA":
        return PortAt(at.tile, f"{direction}_{number(at.port)}")
    return at


# Shim DMA channels in the shim's switch: slaves of MM2S, masters of S2MM.
SHIM_PORTS = {True: ("South3", "South7"), False: ("South2", "South3")}


def crossings(configuration: Configuration) -> dict[tuple[TileId, TileId], int]:
    """How many streams cross from a tile to its neighbour."""
    found: dict[tuple[TileId, TileId], int] = defaultdict(int)
    for circuit in _circuits(configuration):
        there = entry(PortAt(circuit.tile, circuit.master))
        if there is not None:
            found[circuit.tile, there.tile] += 1
    return dict(found)


def _circuits(configuration: Configuration) -> Iterator[Circuit]:
    return (route for route in configuration.routes if isinstance(route, Circuit))
