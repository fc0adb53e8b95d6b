"""Memory as DMA channels see it: words by number, and which of them hold a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.array.words import WORD
from xattn.errors import InputError
from xattn.sim.array.addressing import PADDING, Offsets
from xattn.sim.memory import DEFINED, UNDEFINED, WINDOW, Memory, Region

HOST_BASE = 0x1_0000_0000
HOST_GAP = 1 << 20
Words = NDArray[np.uint32]


class WordMemory:
    """Words, and a map of bytes that hold a value (one row a word), shared with whoever else uses the memory."""

    def __init__(self, words: Words, written: NDArray[np.uint8] | None):
        self.words, self._written = words, written

    def __len__(self) -> int:
        return len(self.words)

    def load(self, offset: int, data: bytes) -> None:
        """Put whole words at byte `offset`, from outside."""
        first = offset // WORD
        self.write(np.arange(first, first + len(data) // WORD), np.frombuffer(data, np.uint32))

    def undefined(self, numbers: Offsets) -> Offsets:
        """Those of these words that nobody has written (completely)."""
        if self._written is None:
            return numbers[:0]
        used = numbers[numbers != PADDING]
        undefined: Offsets = used[(self._written[used] != DEFINED).any(axis=1)]
        return undefined

    def read(self, numbers: Offsets) -> Words:
        """These words; zeros for padding."""
        data = self.words[numbers]
        data[numbers == PADDING] = 0
        return data

    def write(self, numbers: Offsets, data: Words) -> None:
        """Write these words, in order."""
        self.words[numbers] = data
        if self._written is not None:
            self._written[numbers] = DEFINED


class TileMemory(WordMemory):
    """The memory of a tile, unwritten at first: `data`, and in `map` for each byte whether it holds a value."""

    def __init__(self, size: int):
        self.data, self.map = bytearray(size), bytearray([UNDEFINED]) * size
        super().__init__(np.frombuffer(self.data, np.uint32), np.frombuffer(self.map, np.uint8).reshape(-1, WORD))


class SharedView:
    """What a core sees of its own tile's memory and of the neighbours', by number of the 64 KB window.

    The core works on a map of its own of which bytes hold a value: `enter` brings that up to date before the core goes
    on, `leave` hands on what it wrote.
    """

    def __init__(self, tiles: Mapping[int, tuple[str, TileMemory]]):
        self._tiles = {number: memory for number, (_, memory) in tiles.items()}
        regions = [Region(name, number * WINDOW, WINDOW) for number, (name, _) in tiles.items()]
        self.memory = Memory(regions, {number: memory.data for number, memory in self._tiles.items()})

    def enter(self) -> None:
        """Take over which bytes hold a value."""
        for number, tile in self._tiles.items():
            self.memory.map[number * WINDOW : (number + 1) * WINDOW] = tile.map

    def leave(self) -> None:
        """Hand on which bytes hold a value now."""
        for number, tile in self._tiles.items():
            mine = self.memory.map[number * WINDOW : (number + 1) * WINDOW]
            if mine != tile.map:
                tile.map[:] = mine


@dataclass(frozen=True)
class HostBuffer:
    """A buffer of the host: its argument number, its address, and its words."""

    argument: int
    address: int
    size: int
    memory: WordMemory


class HostMemory:
    """The host's buffers, by the number of the kernel's argument."""

    def __init__(self, contents: Sequence[bytes]):
        self.buffers: list[HostBuffer] = []
        address = HOST_BASE
        for argument, data in enumerate(contents):
            if len(data) % WORD:
                raise InputError(f"host buffer {argument} has {len(data)} bytes; transfers move whole words of {WORD}")
            words = np.frombuffer(bytearray(data), np.uint32)
            self.buffers.append(HostBuffer(argument, address, len(data), WordMemory(words, None)))
            address += -(-(len(data) + HOST_GAP) // HOST_GAP) * HOST_GAP

    def at(self, address: int) -> HostBuffer | None:
        """The buffer that holds this address."""
        found = (buffer for buffer in self.buffers if buffer.address <= address < buffer.address + buffer.size)
        return next(found, None)

    def contents(self) -> list[bytes]:
        """What the buffers hold now."""
        return [buffer.memory.words.tobytes() for buffer in self.buffers]


class MemoryChannel:
    """The way to DDR of one direction, shared by all shim channels: `bytes_a_cycle` in all, served in order."""

    def __init__(self, bytes_a_cycle: int):
        self._rate = bytes_a_cycle
        self._free = 0  # in units of 1/rate cycles
        self.moved = 0

    def reserve(self, size: int, now: int) -> int:
        """Move `size` bytes from `now` on, behind what was asked for before; the cycle in which they are moved."""
        self._free = max(self._free, now * self._rate) + size
        self.moved += size
        return -(-self._free // self._rate)
