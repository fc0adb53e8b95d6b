"""The core's way to data memory: what loads and stores call, with the checks of address and content.

The functions are closures over one core's memory and lists, since they are called once for every access.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.sim.findings import Kind
from xattn.sim.memory import DEFINED, OUTSIDE, UNDEFINED, WIDE, WINDOW, Memory

# Gathers read 64 bits at any multiple of 4; everything else is aligned to its size.
ALIGNMENT = {1: 1, 2: 2, 4: 4, 8: 4, 16: 16, 32: 32}
Lanes = NDArray[Any]


class MemoryPort:
    """Loads and stores of one core. `load[size]` and `store[size]` are the functions for accesses of that many bytes.

    `load[size](address, now, site)` gives an int (up to 8 bytes) or fresh `uint8` lanes; `store[size](address, value,
    now, site)` takes the same. `now` is the place of the current cycle in the core's lists; each access leaves its
    address in `banks[now]` for the arbitration, and `ring` takes the stores that reach memory later.
    """

    def __init__(self, memory: Memory, banks: list[list[int]], ring: list[list[Any]], track_undefined: bool):
        self.memory, self.banks, self.ring = memory, banks, ring
        self.track_undefined = track_undefined
        self.last_store = [0]
        self.load = {size: self._loader(size) for size in ALIGNMENT}
        self.store = {4: self._word_storer(), 16: self._lane_storer(16), 32: self._lane_storer(32)}
        self._part_words: deque[int] = deque()  # words read for part-word stores under way, the oldest first
        self._late = _Late(self)
        self._late_part_word = _LatePartWord(self)

    def _loader(self, size: int) -> Callable[[int, int, Any], Any]:
        banks, map_, words, arrays = self.banks, self.memory.map, self.memory.words, self.memory.arrays
        good, low, slow, number = bytes([DEFINED]) * size, ALIGNMENT[size] - 1, self._odd_load, self._number
        wide = WIDE if size == 32 else 0

        def load_word(address: int, now: int, site: Any) -> Any:
            banks[now].append(address)
            if address & 3 or map_[address : address + 4] != good:
                return slow(address, 4, now, site)
            return words[address >> 16][(address & 65535) >> 2]  # type: ignore[index]

        def load_part(address: int, now: int, site: Any) -> Any:
            banks[now].append(address)
            if address & low or map_[address : address + size] != good:
                return slow(address, size, now, site)
            return number(address, size)

        def load_lanes(address: int, now: int, site: Any) -> Any:
            banks[now].append(address | wide)
            if address & low or map_[address : address + size] != good:
                return slow(address, size, now, site)
            offset = address & 65535
            return arrays[address >> 16][offset : offset + size].copy()  # type: ignore[index]

        return load_word if size == 4 else load_part if size < 16 else load_lanes

    def _word_storer(self) -> Callable[[int, int, int, Any], None]:
        banks, map_, words = self.banks, self.memory.map, self.memory.words
        good, prepare, last = bytes([DEFINED]) * 4, self.prepare, self.last_store

        def store_word(address: int, value: int, now: int, site: Any) -> None:
            banks[now].append(address)
            if address & 3 or map_[address : address + 4] != good:
                address = prepare(address, 4, site)
                if address < 0:
                    return
            last[0] = address
            words[address >> 16][(address & 65535) >> 2] = value  # type: ignore[index]

        return store_word

    def _lane_storer(self, size: int) -> Callable[[int, Lanes, int, Any], None]:
        banks, map_, arrays = self.banks, self.memory.map, self.memory.arrays
        good, low, prepare, last = bytes([DEFINED]) * size, size - 1, self.prepare, self.last_store
        wide = WIDE if size == 32 else 0

        def store_lanes(address: int, value: Lanes, now: int, site: Any) -> None:
            banks[now].append(address | wide)
            if address & low or map_[address : address + size] != good:
                address = prepare(address, size, site)
                if address < 0:
                    return
            last[0] = address
            offset = address & 65535
            arrays[address >> 16][offset : offset + size] = value  # type: ignore[index]

        return store_lanes

    def store_later(self, address: int, value: Lanes, slot: int, site: Any) -> None:
        """Store 32 bytes in the cycle of `slot`, after the loads of that cycle."""
        self.banks[slot].append(address | WIDE)
        self.ring[slot + 1].append((self._late, (address, site), value.copy(), -1))

    def part_word_begin(self, address: int, now: int, end: int) -> None:
        """Read the word around a byte or half word that is to be stored in the cycle of `end`."""
        self.banks[now].append(address)
        self.banks[end].append(address)
        word = address & 0xFFFFC
        outside = OUTSIDE in self.memory.map[word : word + 4]
        self._part_words.append(0 if outside else self._number(word, 4))

    def part_word_end(self, address: int, size: int, value: int, slot: int, site: Any) -> None:
        """Put the part into its word and write that back, once the loads of this cycle are done."""
        old = self._part_words.popleft()
        self.ring[slot].append((self._late_part_word, (address, size, old, site), value, -1))

    def forget(self) -> None:
        """Drop the part-word stores that are under way."""
        self._part_words.clear()

    def undefine_last_store(self, size: int) -> None:
        """Mark what the last plain store wrote as undefined: it carried a register that holds no value."""
        address = self.last_store[0]
        self.memory.map[address : address + size] = bytes([UNDEFINED]) * size

    # accesses that are not plain

    def _number(self, address: int, size: int) -> int:
        window = self.memory.windows[address >> 16]
        assert window is not None
        offset = address % WINDOW
        return int.from_bytes(window[offset : offset + size], "little")

    def _checked(self, address: int, size: int, site: Any) -> int:
        """The address that is really used, or -1 where there is no memory. Reports what is wrong with it."""
        low = ALIGNMENT[size] - 1
        if address & low:
            site.report(Kind.MISALIGNED, f"access of {size} bytes at {address:#x}, which is no multiple of {low + 1}")
            address &= ~low
        if OUTSIDE in self.memory.map[address : address + size] or address + size > len(self.memory.map):
            regions = ", ".join(f"{r.name} {r.base:#x}..{r.end - 1:#x}" for r in self.memory.regions)
            site.report(Kind.OUT_OF_REGION, f"access of {size} bytes at {address:#x}; the memory is {regions}")
            return -1
        return address

    def _odd_load(self, address: int, size: int, now: int, site: Any) -> Any:
        address = self._checked(address, size, site)
        if address < 0:
            return 0 if size <= 8 else np.zeros(size, np.uint8)
        if self.track_undefined and UNDEFINED in self.memory.map[address : address + size]:
            site.loads_undefined(address, size, now)
        if size <= 8:
            return self._number(address, size)
        return np.frombuffer(self.memory.read(address, size), np.uint8).copy()

    def prepare(self, address: int, size: int, site: Any) -> int:
        """Check a store's address and note that its bytes hold a value; the address to use, or -1."""
        address = self._checked(address, size, site)
        if address >= 0:
            self.memory.map[address : address + size] = bytes([DEFINED]) * size
        return address


class _Late:
    """Where vector stores land that reach memory after cycle 5."""

    def __init__(self, port: MemoryPort):
        self.port = port

    def __setitem__(self, key: tuple[int, Any], value: Lanes) -> None:
        address = self.port.prepare(key[0], 32, key[1])
        if address >= 0:
            array = self.port.memory.arrays[address >> 16]
            assert array is not None
            array[address % WINDOW : address % WINDOW + 32] = value


class _LatePartWord:
    """Where part-word stores land: the whole word is written, as it was when it was read but for the part."""

    def __init__(self, port: MemoryPort):
        self.port = port

    def __setitem__(self, key: tuple[int, int, int, Any], value: int) -> None:
        address, size, old, site = key
        address = self.port.prepare(address, size, site)
        if address >= 0:
            shift, mask = 8 * (address & 3), (1 << 8 * size) - 1
            words = self.port.memory.words[address >> 16]
            assert words is not None
            words[(address & 65535) >> 2] = old & ~(mask << shift) | value << shift


class Sticky:
    """Status bits that stay set: `sticky[index] = bits`."""

    def __init__(self, scalars: list[int]):
        self._scalars = scalars

    def __setitem__(self, index: int, bits: int) -> None:
        self._scalars[index] |= bits
