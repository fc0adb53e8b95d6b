"""The registers of a core: scalars as Python ints in one list, vectors and accumulators as bytes that views share.

Two bypasses let some reads see a result one cycle before it lands: vector moves and arithmetic pass W registers to each
other (`MOV`), the multiplier passes accumulators to itself (`VEC`). The registers of such a file are therefore kept
twice: a bypassed read looks at the copy where bypassed results are written one cycle early.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.isa.model import Register
from xattn.isa.table import instruction_table

RESET_TO_ONE = ("crSCDEn", "crMCDEn")  # every other register resets to 0
BYPASS_OF = {"w": "MOV", "x": "MOV", "y": "MOV", "am": "VEC", "bm": "VEC", "cm": "VEC"}

_AM_PLACE = {"amll": 0, "amlh": 32, "amhl": 64, "amhh": 96}


@lru_cache(maxsize=1)
def storage_index() -> dict[str, int]:
    """A number for every register that holds bits (and is no view), scalars first."""
    storage = [r for r in instruction_table().registers.values() if not r.parts]
    return {r.name: k for k, r in enumerate(sorted(storage, key=_is_vector))}


@lru_cache(maxsize=1)
def storage_registers() -> tuple[Register, ...]:
    """The registers by the numbers of `storage_index`."""
    return tuple(instruction_table().register(name) for name in storage_index())


@lru_cache(maxsize=1024)
def mask_of(register: Register) -> int:
    """One bit for every register that holds a part of this one."""
    return sum(1 << storage_index()[part.name] for part in register.storage)


def names_of(mask: int) -> list[str]:
    """The registers of a mask, by their names in assembly text."""
    return [register.text for k, register in enumerate(storage_registers()) if mask >> k & 1]


def _is_vector(register: Register) -> bool:
    return register.file in ("w", "am", "qhalf")


def is_scalar(register: Register) -> bool:
    """Whether the register's value is kept as one int (64-bit pairs are two)."""
    return not register.parts and not _is_vector(register)


@lru_cache(maxsize=1024)
def place_of(register: Register) -> tuple[str, int] | None:
    """(buffer, first byte) of a vector register whose bytes lie together; None for the others."""
    first = register.storage[0]
    number = int("".join(c for c in first.name if c.isdigit()))
    if first.file == "w":
        return "w", 64 * number + (32 if first.name.startswith("wh") else 0)
    if first.file == "am":
        return "am", 128 * number + _AM_PLACE[first.name.rstrip("0123456789")]
    if register.file in ("q", "qhalf"):
        return "q", 16 * number + (8 if first.name.startswith("qh") else 0)
    return None


class Registers:
    """All registers of one core: `registers["r0"]`, `["l3"]`, `["x2"]`, `["cm1"]` … for any register or view.

    Scalars are ints (unsigned; negative ones may be written), registers of more than 64 bits `uint8` arrays of bits/8.
    `undefined` has a bit for every register that was not written since reset (numbers: `storage_index`).
    """

    def __init__(self) -> None:
        self.scalars: list[int] = [0] * (len(storage_index()) + 1)
        self.undefined_at = len(storage_index())  # the last place of `scalars` holds the mask of undefined registers
        sizes = {"w": 24 * 32, "am": 36 * 32, "q": 4 * 16}
        self._buffers = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}
        self._bypassed = {name: np.zeros(sizes[name], np.uint8) for name in ("w", "am")}
        self.reset()

    def reset(self) -> None:
        """Every register gets 0, two enables get 1; only control, status and special registers count as written."""
        index = storage_index()
        self.scalars[:] = [0] * len(self.scalars)
        for buffer in (*self._buffers.values(), *self._bypassed.values()):
            buffer[:] = 0
        for name in RESET_TO_ONE:
            self.scalars[index[name]] = 1
        self.undefined = sum(
            1 << k for k, register in enumerate(storage_registers()) if not _defined_at_reset(register)
        )

    @property
    def undefined(self) -> int:
        """A bit for every register that holds no meaningful value."""
        return self.scalars[self.undefined_at]

    @undefined.setter
    def undefined(self, mask: int) -> None:
        self.scalars[self.undefined_at] = mask

    def buffer(self, name: str, bypassed: bool) -> NDArray[np.uint8]:
        """All vector registers ("w"), accumulators ("am") or masks ("q") as bytes, or the copies for bypassed reads."""
        return self._bypassed.get(name, self._buffers[name]) if bypassed else self._buffers[name]

    def view(self, register: Register, dtype: str = "u1", bypassed: bool = False) -> NDArray[np.generic]:
        """The bytes of a vector register as they lie, as lanes of `dtype`; writing to it writes the register's copy."""
        place = place_of(register)
        assert place is not None, register
        buffer = (self._bypassed if bypassed else self._buffers)[place[0]]
        return buffer[place[1] : place[1] + register.bits // 8].view(dtype)

    def copies(self, register: Register, dtype: str = "u1") -> list[NDArray[np.generic]]:
        """The register's own bytes and, where its file has one, those that bypassed reads see."""
        twice = register.file in BYPASS_OF
        return [self.view(register, dtype), *([self.view(register, dtype, bypassed=True)] if twice else [])]

    def __getitem__(self, name: str) -> int | NDArray[np.uint8]:
        register = _named(name)
        if is_scalar(register):
            return self.scalars[storage_index()[register.name]]
        if place_of(register) is not None and register.bits > 64:
            return self.view(register).astype(np.uint8)
        if register.bits == 64 and register.file == "qhalf":
            return int.from_bytes(self.view(register).tobytes(), "little")
        if register.bits == 64:
            low, high = (self.scalars[storage_index()[part.name]] for part in register.parts)
            return low | high << 32
        pieces = [self[part.name] for part in register.parts]
        if all(isinstance(piece, int) for piece in pieces):
            shifts = np.cumsum([0, *(part.bits for part in register.parts)])
            return sum(int(piece) << int(shift) for piece, shift in zip(pieces, shifts, strict=False))
        return np.concatenate([_bytes(piece, part.bits) for piece, part in zip(pieces, register.parts, strict=True)])

    def __setitem__(self, name: str, value: int | bytes | NDArray[np.generic]) -> None:
        register = _named(name)
        self.undefined &= ~mask_of(register)
        if is_scalar(register):
            if not isinstance(value, (int, np.integer)):
                raise InputError(
                    f"register {name} holds an integer of {register.bits} bits, not {type(value).__name__}"
                )
            self.scalars[storage_index()[register.name]] = int(value) & ((1 << register.bits) - 1)
            return
        data = _bytes(value, register.bits)
        if len(data) != register.bits // 8:
            raise InputError(f"register {name} holds {register.bits // 8} bytes, not {len(data)}")
        if place_of(register) is not None:
            for copy in self.copies(register):
                copy[:] = data
            return
        whole = int.from_bytes(data.tobytes(), "little")
        for part in register.parts:
            self[part.name] = whole & ((1 << part.bits) - 1)
            whole >>= part.bits


def _named(name: str) -> Register:
    registers = instruction_table().registers
    found = registers.get(name) or next((r for r in registers.values() if r.text == name.lower()), None)
    if found is None:
        raise InputError(f"no register is called {name!r} (examples: r0, p3, dj2, sp, wl4, x4, cm0, crSat)")
    return found


def _bytes(value: int | bytes | NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    if isinstance(value, (int, np.integer)):
        value = (int(value) & ((1 << bits) - 1)).to_bytes(-(-bits // 8), "little")
    if isinstance(value, (bytes, bytearray)):
        return np.frombuffer(bytes(value), np.uint8)
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def _defined_at_reset(register: Register) -> bool:
    return register.file in ("control", "status", "special") and register.name not in ("lr", "SP", "DP")
