"""Ways through the stream switches: circuit-switched trees from one port to others, each master port used once.

What a switch can connect is a rule a kind of tile (source: mlir-aie's target model, Apache-2.0 with LLVM exceptions):
a mem tile passes north and south only at the same port number and has no ports to the east and west; elsewhere a
stream does not leave on the side that it came in by, except at the same number.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from xattn.array.configuration import Circuit
from xattn.array.design import TileId
from xattn.array.registers import TileKind, tile
from xattn.errors import InputError

ROWS = 6
_STEPS = {"North": (0, 1, "South"), "South": (0, -1, "North"), "East": (1, 0, "West"), "West": (-1, 0, "East")}


@dataclass(frozen=True)
class PortAt:
    """A port of a tile's stream switch."""

    tile: TileId
    port: str


@dataclass
class Router:
    """Lays routes one after another on an array of `columns` columns; ports that are used stay used."""

    columns: int
    used: set[PortAt] = field(default_factory=set)

    def route(self, name: str, source: PortAt, sinks: tuple[PortAt, ...]) -> list[Circuit]:
        """The connections that bring the slave port `source` to all master ports `sinks`; InputError if none is left.

        The shortest way to each sink from anywhere on the tree so far, lower port numbers first.
        """
        tree: list[PortAt] = [source]  # slave ports that carry the stream
        circuits: list[Circuit] = []
        for sink in sinks:
            if sink in self.used:
                raise InputError(f"stream {name}: port {sink.port} of tile {sink.tile} has another stream already")
            found = self._search(tree, sink)
            if found is None:
                raise InputError(
                    f"stream {name}: no way is left from tile {source.tile} to {sink.port} of tile {sink.tile}; "
                    "every port of the switches between them is taken: use fewer streams, or nearer tiles"
                )
            for circuit in found:
                out = PortAt(circuit.tile, circuit.master)
                circuits.append(circuit)
                self.used.add(out)
                if (there := entry(out)) is not None:
                    tree.append(there)
        return circuits

    def _search(self, tree: list[PortAt], sink: PortAt) -> list[Circuit] | None:
        came: dict[PortAt, tuple[PortAt, Circuit] | None] = dict.fromkeys(tree)
        waiting = deque(tree)
        while waiting:
            at = waiting.popleft()
            if at.tile == sink.tile and can_connect(at.tile.kind, at.port, sink.port):
                return [*_path(came, at), Circuit(at.tile, at.port, sink.port)]
            for master, there in self._moves(at):
                if there not in came:
                    came[there] = (at, Circuit(at.tile, at.port, master))
                    waiting.append(there)
        return None

    def _moves(self, at: PortAt) -> Iterator[tuple[str, PortAt]]:
        for master in tile(at.tile.kind).masters:
            out = PortAt(at.tile, master)
            if side(master) in _STEPS and out not in self.used and can_connect(at.tile.kind, at.port, master):
                there = entry(out)
                if there is not None and self._has(there):
                    yield master, there

    def _has(self, port: PortAt) -> bool:
        inside = 0 <= port.tile.column < self.columns and port.tile.row < ROWS
        return inside and port.port in tile(port.tile.kind).slaves


def _path(came: dict[PortAt, tuple[PortAt, Circuit] | None], at: PortAt) -> list[Circuit]:
    path: list[Circuit] = []
    while (step := came[at]) is not None:
        at, circuit = step
        path.append(circuit)
    return path[::-1]


def entry(out: PortAt) -> PortAt | None:
    """The neighbour's slave port that a master port leads to; None for a port that does not lead to another tile."""
    if side(out.port) not in _STEPS:
        return None
    east, north, opposite = _STEPS[side(out.port)]
    place = TileId(out.tile.column + east, out.tile.row + north)
    return PortAt(place, f"{opposite}{number(out.port)}") if place.row >= 0 else None


def side(port: str) -> str:
    """'North3' → 'North', 'DMA0' → 'DMA'."""
    return port.rstrip("0123456789")


def number(port: str) -> int:
    """'North3' → 3; a port without a number is 0."""
    found = re.search(r"\d+$", port)
    return int(found.group()) if found else 0


@cache
def can_connect(kind: TileKind, slave: str, master: str) -> bool:
    """Whether a switch of this kind of tile can send what comes in at `slave` out at `master`."""
    same_number = number(slave) == number(master)
    if kind is TileKind.MEM:
        if side(slave) == side(master) == "DMA":
            return same_number
        vertical = {"North", "South"}
        return same_number if {side(slave), side(master)} <= vertical else True
    return same_number if side(slave) == side(master) and side(slave) != "DMA" else True
