"""A small linker: objects of any AIE2 compiler, placed and joined to one executable.

Code sections follow one another in program memory, at multiples of 16; data sections in data memory, as aligned.
There are no libraries, no common symbols and no section garbage collection: what is needed is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xattn.errors import InputError
from xattn.isa.elf import (
    ABSOLUTE,
    PF_R,
    PF_W,
    PF_X,
    SHF_ALLOC,
    UNDEFINED,
    ElfImage,
    Relocation,
    Section,
    Segment,
    Symbol,
)
from xattn.isa.elf_writer import locals_first
from xattn.isa.relocations import apply_relocation
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES, FETCH_BYTES, PROGRAM_MEMORY_BYTES


@dataclass(frozen=True)
class _Placed:
    """A section of an object (`number` in the list of objects) and the address that it gets."""

    number: int
    source: ElfImage
    section: Section
    address: int


def link(
    objects: Sequence[ElfImage],
    *,
    code_base: int = 0,
    data_base: int = DATA_MEMORY_BASE + 1024,
    symbols: Mapping[str, int] | None = None,
    places: Mapping[str, int] | None = None,
    entry: str | None = None,
) -> ElfImage:
    """One executable of several relocatable objects.

    `code_base` and `data_base` are where code and data start (the default leaves 1 KB of stack before the data).
    `places` gives data sections, by name, addresses of their own; they may not overlap. `symbols` gives addresses to
    names that no object defines. `entry` names the function to start with, by default the first code. InputError for
    undefined or doubly defined symbols, and for code or data that do not fit.
    """
    for image in objects:
        if not image.is_object:
            raise InputError("an executable cannot be linked again: expected relocatable objects")
    placed = _place(objects, code_base, data_base, places or {})
    known = _globals(objects, placed) | dict(symbols or {})
    missing = {s.name for image in objects for s in image.symbols if s.section == UNDEFINED} - known.keys()
    if missing:
        raise InputError(f"undefined symbols: {', '.join(sorted(missing))}; give another object, or their addresses")
    contents = [_linked(item, placed, known) for item in placed]
    sections = tuple(
        replace(item.section, name=name, address=item.address, data=data)
        for item, data, name in zip(placed, contents, _names(placed), strict=True)
    )
    if entry is not None and entry not in known:
        raise InputError(f"no global symbol {entry} to start with; there are {', '.join(sorted(known)) or 'none'}")
    start = known[entry] if entry is not None else code_base
    named = _symbols(placed, sections, dict(symbols or {}))
    return ElfImage(False, start, sections, tuple(_segment(section) for section in sections), named)


def _place(objects: Sequence[ElfImage], code_base: int, data_base: int, places: Mapping[str, int]) -> list[_Placed]:
    placed = []
    ends = {True: code_base, False: data_base}
    limits = {True: PROGRAM_MEMORY_BYTES, False: DATA_MEMORY_BASE + DATA_MEMORY_BYTES}
    for number, image in enumerate(objects):
        for section in image.sections:
            if section.flags & SHF_ALLOC and section.bytes_in_memory:
                if section.name in places and not section.is_code:
                    placed.append(_Placed(number, image, section, places[section.name]))
                    continue
                step = max(section.alignment, FETCH_BYTES if section.is_code else 1)
                address = -(-ends[section.is_code] // step) * step
                ends[section.is_code] = address + section.bytes_in_memory
                placed.append(_Placed(number, image, section, address))
    for is_code, what in ((True, "code"), (False, "data")):
        if ends[is_code] > limits[is_code]:
            raise InputError(f"{what} would end at {ends[is_code]:#x}, {what} memory ends at {limits[is_code]:#x}")
    if places:
        _check_places([item for item in placed if not item.section.is_code])
    return placed


def _check_places(placed: Sequence[_Placed]) -> None:
    last = ""
    end = DATA_MEMORY_BASE
    for item in sorted(placed, key=lambda item: item.address):
        if item.address < end or item.address % max(1, item.section.alignment):
            raise InputError(
                f"section {item.section.name} at {item.address:#x} overlaps {last or 'what lies before data memory'}, "
                f"or is not at a multiple of {item.section.alignment}"
            )
        last, end = item.section.name, item.address + item.section.bytes_in_memory
    if end > DATA_MEMORY_BASE + DATA_MEMORY_BYTES:
        raise InputError(f"section {last} would end at {end:#x}, behind the end of data memory")


def _home(placed: Sequence[_Placed], number: int) -> dict[str, int]:
    """Section name to address, of one object."""
    return {item.section.name: item.address for item in placed if item.number == number}


def _globals(objects: Sequence[ElfImage], placed: Sequence[_Placed]) -> dict[str, int]:
    """Addresses of global symbols; a weak one gives way to another."""
    found: dict[str, int] = {}
    strong: set[str] = set()
    for number, image in enumerate(objects):
        home = _home(placed, number)
        for symbol in image.symbols:
            if symbol.binding == "local" or not (symbol.section in home or symbol.section == ABSOLUTE):
                continue
            if symbol.binding == "global" and symbol.name in strong:
                raise InputError(f"symbol {symbol.name} is defined in two objects")
            if symbol.binding == "global":
                strong.add(symbol.name)
            elif symbol.name in found:
                continue
            found[symbol.name] = symbol.value + home.get(symbol.section, 0)
    return found


def _linked(item: _Placed, placed: Sequence[_Placed], known: Mapping[str, int]) -> bytes:
    """The section's contents with its relocations applied."""
    home = _home(placed, item.number)
    own = {
        symbol.name: symbol.value + home.get(symbol.section, 0)
        for symbol in item.source.symbols
        if symbol.binding == "local" and (symbol.section in home or symbol.section == ABSOLUTE)
    }
    data = bytearray(item.section.data)
    for relocation in item.source.relocations:
        if relocation.section == item.section.name:
            apply_relocation(data, relocation.offset, relocation.type, _value(relocation, own, known))
    return bytes(data)


def _value(relocation: Relocation, own: Mapping[str, int], known: Mapping[str, int]) -> int:
    value = own.get(relocation.symbol, known.get(relocation.symbol))
    if value is None:
        raise InputError(
            f"relocation at {relocation.section} + {relocation.offset:#x} names {relocation.symbol}, unknown"
        )
    return value + relocation.addend


def _names(placed: Sequence[_Placed]) -> list[str]:
    """Section names, made different where objects have the same."""
    names: list[str] = []
    for item in placed:
        name, number = item.section.name, 1
        while name in names:
            number += 1
            name = f"{item.section.name}.{number}"
        names.append(name)
    return names


def _segment(section: Section) -> Segment:
    flags = PF_R | (PF_X if section.is_code else PF_W)
    return Segment(section.address, section.data, section.bytes_in_memory, flags, section.alignment)


def _symbols(placed: Sequence[_Placed], sections: Sequence[Section], given: Mapping[str, int]) -> tuple[Symbol, ...]:
    found = [Symbol(name, value) for name, value in given.items()]
    for item, section in zip(placed, sections, strict=True):
        found += [
            replace(symbol, value=symbol.value + item.address, section=section.name)
            for symbol in item.source.symbols
            if symbol.section == item.section.name and symbol.kind != "section"
        ]
    return locals_first(found)
