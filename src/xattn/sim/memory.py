"""Data memory: regions, banks, alignment, and which bytes were ever written.

Addresses have 20 bits. Sixteen windows of 64 KB are looked at in one step; a map with one byte an address says whether
it lies in a region and whether it holds a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES

ADDRESS_SPACE = 1 << 20
WINDOW = 1 << 16
OUTSIDE, UNDEFINED, DEFINED = 0, 1, 2
WIDE = 1 << 20  # added to a recorded address: both 16-byte halves of a bank are needed


@dataclass(frozen=True)
class Region:
    """A piece of the address space that a program may use."""

    name: str
    base: int
    size: int

    @property
    def end(self) -> int:
        """The first address behind the region."""
        return self.base + self.size


OWN_MEMORY = Region("data memory", DATA_MEMORY_BASE, DATA_MEMORY_BYTES)


def physical_bank(address: int) -> int:
    """The 8 KB single-ported bank of an address: 16-byte words alternate between the two banks of each 16 KB."""
    return 2 * (address >> 14 & 3) + (address >> 4 & 1)


def arbitrate(accesses: Sequence[int]) -> int:
    """Cycles lost when these accesses (addresses, + WIDE for 256 bits) want their banks in one cycle.

    In every cycle each bank serves one access; an access that does not get all its banks tries again in the next.
    """
    waiting = [_banks(access) for access in accesses]
    lost = -1
    while waiting:
        lost += 1
        taken, again = 0, []
        for banks in waiting:
            if banks & taken:
                again.append(banks)
            else:
                taken |= banks
        waiting = again
    return max(lost, 0)


def _banks(access: int) -> int:
    window = access >> 16 & 15  # own memory and that of each neighbour have banks of their own
    first = 1 << (8 * window + physical_bank(access & ~16))
    return 3 * first if access & WIDE else first << (access >> 4 & 1)


# What to do about an access that is not plain: (what is wrong, address, bytes) -> None, or an exception.
Complaint = Callable[[str, int, int], None]


class Memory:
    """The data memory that one core sees. Reads and writes from outside (`read`, `write`) are not checked for banks.

    `shared`: the contents of windows of 64 KB that others see too, by number; which bytes hold a value is not shared.
    """

    def __init__(self, regions: Sequence[Region] = (OWN_MEMORY,), shared: Mapping[int, bytearray] | None = None):
        self.regions = tuple(regions)
        self.windows: list[bytearray | None] = [None] * (ADDRESS_SPACE // WINDOW)
        self.map = bytearray(ADDRESS_SPACE)
        for region in regions:
            if region.size <= 0 or region.base < 0 or region.end > ADDRESS_SPACE:
                raise InputError(
                    f"region {region.name} ({region.base:#x}, {region.size} bytes) is not inside the 1 MB of addresses"
                )
            self.map[region.base : region.end] = bytes([UNDEFINED]) * region.size
            for window in range(region.base // WINDOW, (region.end - 1) // WINDOW + 1):
                self.windows[window] = self.windows[window] or (shared or {}).get(window) or bytearray(WINDOW)
        self.words = [None if window is None else memoryview(window).cast("I") for window in self.windows]
        self.arrays: list[NDArray[np.uint8] | None] = [
            None if window is None else np.frombuffer(window, np.uint8) for window in self.windows
        ]

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory, from outside. InputError when they do not all lie in regions."""
        self._inside(address, len(data))
        for start, stop, offset, window in self._pieces(address, len(data)):
            window[offset : offset + stop - start] = data[start:stop]
        self.map[address : address + len(data)] = bytes([DEFINED]) * len(data)

    def read(self, address: int, size: int) -> bytes:
        """Take bytes from memory, from outside; bytes that nobody wrote are 0. InputError outside of regions."""
        self._inside(address, size)
        return b"".join(
            bytes(window[offset : offset + stop - start]) for start, stop, offset, window in self._pieces(address, size)
        )

    def is_defined(self, address: int, size: int) -> bool:
        """Whether all of these bytes were written."""
        return self.map[address : address + size] == bytes([DEFINED]) * size

    def _inside(self, address: int, size: int) -> None:
        if address < 0 or size < 0 or address + size > ADDRESS_SPACE or OUTSIDE in self.map[address : address + size]:
            known = ", ".join(f"{r.name} {r.base:#x}..{r.end - 1:#x}" for r in self.regions)
            raise InputError(f"bytes {address:#x} to {address + size - 1:#x} are not in data memory; it has {known}")

    def _pieces(self, address: int, size: int) -> list[tuple[int, int, int, bytearray]]:
        pieces, start = [], 0
        while start < size:
            offset = (address + start) % WINDOW
            stop = min(size, start + WINDOW - offset)
            window = self.windows[(address + start) // WINDOW]
            assert window is not None
            pieces.append((start, stop, offset, window))
            start = stop
        return pieces
