"""AIE2 tile registers by name: addresses, fields, and what a register write means.

The facts stand in tables/aie2_registers.json; this file only expands that table and looks things up in it.
Addresses are byte addresses. An array address is `column << 25 | row << 20 | offset`; a tile's offset has 20 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import msgspec

from xattn.array.words import U32_MAX
from xattn.errors import InputError

COLUMN_SHIFT = 25
ROW_SHIFT = 20
OFFSET_MASK = (1 << ROW_SHIFT) - 1
COLUMNS = 1 << (32 - COLUMN_SHIFT)
ROWS = 1 << (COLUMN_SHIFT - ROW_SHIFT)
FIRST_CORE_ROW = 2


class TileKind(Enum):
    """The three kinds of tile: row 0 is shim, row 1 mem, the rows from 2 on are core."""

    SHIM = "shim"
    MEM = "mem"
    CORE = "core"


class TileAddress(NamedTuple):
    """Where a register stands: column and row of the tile, byte offset inside it."""

    column: int
    row: int
    offset: int

    @property
    def kind(self) -> TileKind:
        """The kind of tile that stands in this row of an XDNA1 array."""
        return kind_of_row(self.row)


@dataclass(frozen=True, slots=True)
class Field:
    """Bits high..low (both included) of a register; `signed` fields are two's complement."""

    name: str
    high: int
    low: int
    signed: bool = False

    @property
    def width(self) -> int:
        """Width in bits."""
        return self.high - self.low + 1

    @property
    def mask(self) -> int:
        """The field's bits in the register."""
        return ((1 << self.width) - 1) << self.low

    def decode(self, word: int) -> int:
        """The field's value in `word`."""
        value = (word & self.mask) >> self.low
        return value - (1 << self.width) if self.signed and value >> (self.width - 1) else value

    def encode(self, value: int) -> int:
        """The register bits for `value`; a value that does not fit is an InputError."""
        least = -(1 << (self.width - 1)) if self.signed else 0
        most = (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1
        if not least <= value <= most:
            raise InputError(f"{self.name} is {value}, which is outside {least} to {most} ({self.width} bits)")
        return (value << self.low) & self.mask


@dataclass(frozen=True, slots=True)
class Register:
    """A 32-bit register: its name and byte offset inside the tile. Registers without listed fields are names only."""

    name: str
    offset: int
    fields: tuple[Field, ...] = ()

    def decode(self, word: int) -> dict[str, int]:
        """Field values by name."""
        return {field.name: field.decode(word) for field in self.fields}

    def encode(self, **values: int) -> int:
        """The word that holds these field values, the others 0; an unknown field is an InputError."""
        known = {field.name: field for field in self.fields}
        for name in values:
            if name not in known:
                raise InputError(f"{self.name} has no field {name}; it has {', '.join(known) or 'no listed fields'}")
        return sum(known[name].encode(value) for name, value in values.items())

    def other_bits(self, word: int) -> int:
        """The bits of `word` that no listed field explains."""
        return word & U32_MAX & ~sum(field.mask for field in self.fields)


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory window of a tile: name, first byte offset and size in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Description:
    """What stands at an address: `fields` needs a value; `other_bits` are set bits that no field explains."""

    name: str
    known: bool
    fields: dict[str, int]
    other_bits: int = 0

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name, value in self.fields.items() if value]
        if self.other_bits:
            parts.append(f"other bits {self.other_bits:#x}")
        return f"{self.name} {' '.join(parts)}".rstrip()


@dataclass(frozen=True, slots=True)
class Tile:
    """Every register and memory window of one kind of tile, and its stream switch ports in register order."""

    kind: TileKind
    memories: tuple[Memory, ...]
    masters: tuple[str, ...]
    slaves: tuple[str, ...]
    by_offset: dict[int, Register]
    by_name: dict[str, Register]


def kind_of_row(row: int) -> TileKind:
    """The kind of tile in `row` of an XDNA1 array (0 shim, 1 mem, from 2 on core)."""
    if not 0 <= row < ROWS:
        raise InputError(f"row {row} is outside 0 to {ROWS - 1}")
    return TileKind.SHIM if row == 0 else TileKind.MEM if row < FIRST_CORE_ROW else TileKind.CORE


def tile_address(column: int, row: int, offset: int = 0) -> int:
    """The array address (32 bits) of byte `offset` inside the tile at (column, row)."""
    if not (0 <= column < COLUMNS and 0 <= row < ROWS and 0 <= offset <= OFFSET_MASK):
        raise InputError(
            f"tile ({column}, {row}), offset {offset:#x} has no array address; columns go to {COLUMNS - 1}, "
            f"rows to {ROWS - 1}, offsets to {OFFSET_MASK:#x}"
        )
    return column << COLUMN_SHIFT | row << ROW_SHIFT | offset


def split_address(address: int) -> TileAddress:
    """Column, row and offset of a 32-bit array address."""
    if not 0 <= address <= U32_MAX:
        raise InputError(f"{address:#x} is no 32-bit array address")
    return TileAddress(address >> COLUMN_SHIFT, address >> ROW_SHIFT & (ROWS - 1), address & OFFSET_MASK)


def register(kind: TileKind, name: str) -> Register:
    """The register of this name in a tile of this kind; an unknown name is an InputError with near names."""
    table = tile(kind).by_name
    if name not in table:
        near = ", ".join(get_close_matches(name, table, n=3)) or "none is near"
        raise InputError(f"a {kind.value} tile has no register {name}; near names: {near}")
    return table[name]


def port_index(kind: TileKind, side: Literal["master", "slave"], port: str) -> int:
    """The number of a stream switch port (`South3`, `DMA0`, …), as used in register order and circuit routes."""
    ports = tile(kind).masters if side == "master" else tile(kind).slaves
    if port not in ports:
        raise InputError(
            f"the stream switch of a {kind.value} tile has no {side} port {port}; it has {', '.join(ports)}"
        )
    return ports.index(port)


def describe(kind: TileKind, address: int, value: int | None = None) -> Description:
    """What stands at `address` (array address or offset inside the tile), and what a write of `value` means."""
    table = tile(kind)
    offset = address & OFFSET_MASK
    found = table.by_offset.get(offset)
    if found is not None:
        if value is None:
            return Description(found.name, True, {})
        return Description(found.name, True, found.decode(value), found.other_bits(value))
    for memory in table.memories:
        if memory.offset <= offset < memory.offset + memory.size:
            return Description(f"{memory.name}+{offset - memory.offset:#x}", True, {})
    return Description(f"unknown+{offset:#x}", False, {}, value or 0)


@cache
def tile(kind: TileKind) -> Tile:
    """The register table of one kind of tile, expanded once per process."""
    table = _table()
    row = table.tiles[kind.value]
    masters, slaves = _ports(row.masters), _ports(row.slaves)
    lists = {"masters": masters, "slaves": slaves}
    registers = [found for entry in row.registers for found in _expand(entry, table.layouts, lists)]
    memories = []
    for name, window in row.memories.items():
        offset, size = (int(number, 0) for number in window.split())
        memories.append(Memory(name, offset, size))
    return Tile(
        kind=kind,
        memories=tuple(memories),
        masters=masters,
        slaves=slaves,
        by_offset={found.offset: found for found in registers},
        by_name={found.name: found for found in registers},
    )


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    at: str
    over: list[str] = []
    fields: str = ""


class _TileEntry(msgspec.Struct, forbid_unknown_fields=True):
    memories: dict[str, str]
    masters: str
    slaves: str
    registers: list[_Entry]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: list[str]
    layouts: dict[str, str]
    tiles: dict[str, _TileEntry]


@cache
def _table() -> _Table:
    source = files("xattn.array").joinpath("tables/aie2_registers.json").read_bytes()
    return msgspec.json.decode(source, type=_Table)


def _ports(text: str) -> tuple[str, ...]:
    """'DMA0-1 FIFO0' becomes ('DMA0', 'DMA1', 'FIFO0')."""
    names: list[str] = []
    for part in text.split():
        first, dash, last = part.rpartition("-")
        if not dash:
            names.append(part)
            continue
        stem = first.rstrip("0123456789")
        names += [f"{stem}{number}" for number in range(int(first[len(stem) :]), int(last) + 1)]
    return tuple(names)


def _expand(entry: _Entry, layouts: dict[str, str], lists: dict[str, tuple[str, ...]]) -> Iterator[Register]:
    fields = _fields(layouts[entry.fields[1:]] if entry.fields.startswith("$") else entry.fields)
    axes = []
    for axis in entry.over:
        key, extent, stride = axis.split()
        labels: tuple[str, ...] = lists[extent] if extent in lists else tuple(str(n) for n in range(int(extent, 0)))
        axes.append([(key, label, index * int(stride, 0)) for index, label in enumerate(labels)])
    for steps in itertools.product(*axes):
        name = entry.name.format(**{key: label for key, label, _ in steps})
        yield Register(name, int(entry.at, 0) + sum(distance for _, _, distance in steps), fields)


def _fields(text: str) -> tuple[Field, ...]:
    """'Next_BD 30:27, Lock_Rel_Value 24:18 (signed)' becomes two Fields."""
    fields = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, bits, *rest = part.split()
        high, _, low = bits.partition(":")
        fields.append(Field(name, int(high), int(low or high), rest == ["(signed)"]))
    return tuple(fields)
