"""Where FIFOs and scratch memory lie in their tiles: a piece is in one bank of a core's memory if it can be.

A kernel is at its best when its arrays are in the banks for which they ask. There is not always room for two buffers a
FIFO there: then the second one goes elsewhere, rather than an array that every turn uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from xattn.array.design import Design, Fifo, Scratch, TileId
from xattn.array.registers import TileKind, tile
from xattn.array.words import align_up
from xattn.errors import InputError

ALIGNMENT = 32  # bytes: a vector of a core
CORE_BANKS = 4


@dataclass(frozen=True)
class MemoryMap:
    """Byte offsets in their tiles: of the buffers of each FIFO, and of each core's scratch memory by name."""

    fifos: dict[str, tuple[int, ...]]
    scratch: dict[TileId, dict[str, int]]


def place_memory(design: Design) -> MemoryMap:
    """Give every piece its place, large pieces first, so that small ones do not cut their room.

    InputError says what does not fit.
    """
    try:
        return _place(design, by_bank=True)
    except InputError:
        return _place(design, by_bank=False)


def _place(design: Design, by_bank: bool) -> MemoryMap:
    """`by_bank`: pieces that ask for a bank come before those that do not, and further buffers of a FIFO last."""
    memories: dict[TileId, _Memory] = {}
    placed = MemoryMap({}, {core.tile: {} for core in design.cores})
    pieces: list[tuple[TileId, Fifo | Scratch, int]] = []
    pieces += [(fifo.tile, fifo, number) for fifo in design.fifos for number in range(fifo.depth)]
    pieces += [(core.tile, item, 0) for core in design.cores for item in core.scratch]

    def order(item: tuple[TileId, Fifo | Scratch, int]) -> tuple[bool, bool, bool, int]:
        _, piece, number = item
        asks = piece.bank is not None
        further = by_bank and asks and number > 0
        return isinstance(piece, Fifo) or piece.offset is None, further, by_bank and not asks, -piece.bytes

    for where, piece, _ in sorted(pieces, key=order):
        memory = memories.setdefault(where, _Memory(where))
        if isinstance(piece, Fifo):
            placed.fifos[piece.name] = (*placed.fifos.get(piece.name, ()), memory.take(piece, piece.depth))
        elif piece.offset is None:
            placed.scratch[where][piece.name] = memory.take(piece)
        else:
            memory.reserve(piece.offset, piece.bytes)
            placed.scratch[where][piece.name] = piece.offset
    return placed


class _Memory:
    """One tile's data memory: what is free, as (start, end) in order."""

    def __init__(self, where: TileId) -> None:
        self.where = where
        self.size = next(m.size for m in tile(where.kind).memories if m.name == "Data_Memory")
        self.free = [(0, self.size)]

    def reserve(self, start: int, size: int) -> None:
        end = start + size
        pieces: list[tuple[int, int]] = []
        for a, b in self.free:
            pieces += [(a, min(b, start)), (max(a, end), b)]
        self.free = [(a, b) for a, b in pieces if a < b]

    def take(self, piece: Fifo | Scratch, count: int = 1) -> int:
        """Room for one more buffer: in the bank that is asked for, in the emptiest one, or anywhere."""
        for start, end in self._windows(piece.bank):
            for a, b in self.free:
                first = align_up(max(a, start), ALIGNMENT)
                if first + piece.bytes <= min(b, end):
                    self.reserve(first, piece.bytes)
                    return first
        left = sum(b - a for a, b in self.free)
        largest = max((b - a for a, b in self.free), default=0)
        what = f"FIFO {piece.name}" if isinstance(piece, Fifo) else f"array {piece.name}"
        raise InputError(
            f"{what} needs {count} × {piece.bytes} bytes in tile {self.where}, of whose {self.size} {left} are left "
            f"({largest} in one piece): take a depth of 1, or smaller blocks"
        )

    def _windows(self, bank: int | None) -> list[tuple[int, int]]:
        whole = (0, self.size)
        if self.where.kind is not TileKind.CORE:
            return [whole]
        size = self.size // CORE_BANKS
        banks = sorted(range(CORE_BANKS), key=lambda number: -self._room(number * size, (number + 1) * size))
        if bank is not None:
            banks.sort(key=lambda number: number != bank)
        return [*((number * size, (number + 1) * size) for number in banks), whole]

    def _room(self, start: int, end: int) -> int:
        return sum(max(0, min(b, end) - max(a, start)) for a, b in self.free)
