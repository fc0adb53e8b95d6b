"""The programs in a subject, ready to be looked at: those that images load into cores, executables, and objects.

A program that an image loads is taken from the image, with the names of the executable of the same code; so an
executable is looked at alone only where no image has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from xattn.array.configuration import Configuration
from xattn.array.design import TileId
from xattn.array.registers import TileKind
from xattn.array.words import WORD
from xattn.build.core_program import PROGRAM_OFFSET
from xattn.errors import XattnError
from xattn.isa.elf import ABSOLUTE, SHF_ALLOC, UNDEFINED, ElfImage, Relocation
from xattn.isa.relocations import apply_relocation
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES, FETCH_BYTES, PROGRAM_MEMORY_BYTES
from xattn.lint.code import Function, call_graph
from xattn.lint.subject import Image, Named, Subject
from xattn.sim.program import Program

_ELSEWHERE = PROGRAM_MEMORY_BYTES - FETCH_BYTES  # where calls of functions go that an object does not have


class Range(NamedTuple):
    """Bytes of data memory, in the core's addresses, that something other than the stack uses."""

    first: int
    end: int
    name: str


@dataclass
class CoreProgram:
    """A program: where it was found, the tiles whose cores run it, its entry, functions by address, memory in use."""

    where: str
    tiles: tuple[TileId, ...]
    program: Program
    entry: int
    names: dict[int, str]
    used: tuple[Range, ...]
    file: str | None = None  # the executable's file

    def name(self, address: int) -> str:
        """A function for people."""
        return self.names.get(address, f"{address:#x}")

    def functions(self) -> dict[int, Function]:
        """What control reaches, by function."""
        return call_graph(self.program, self.entry)


def core_programs(subject: Subject) -> list[CoreProgram]:
    """Every program of the subject that a core can run, each once."""
    found: list[CoreProgram] = []
    loaded: set[bytes] = set()
    for image in subject.images[:1] if subject.image else subject.images:
        for program in _of_image(image, subject.programs):
            loaded.add(_memory(program.program.pieces))
            found.append(program)
    alone = [named for named in subject.programs if _memory(named.content.code()) not in loaded]
    return [*found, *map(_of_executable, alone)]


def _of_executable(named: Named[ElfImage]) -> CoreProgram:
    image = named.content
    program = Program()
    for address, data in image.code():
        program.load(data, address)
    return CoreProgram(named.name, (), program, image.entry, names_of(image), tuple(_used(image)), named.name)


def _of_image(image: Named[Image], executables: Iterable[Named[ElfImage]]) -> Iterator[CoreProgram]:
    by_code = {_memory(named.content.code()): named for named in executables}
    same: dict[tuple[bytes, tuple[Range, ...]], list[TileId]] = {}
    for core in image.content.configuration.cores:
        code = _memory((o - PROGRAM_OFFSET, data) for o, data in core.pieces if o >= PROGRAM_OFFSET)
        if not any(code):
            continue
        named = by_code.get(code)
        ranges = [Range(DATA_MEMORY_BASE + o, DATA_MEMORY_BASE + o + len(d), "loaded data") for o, d in core.pieces
                  if o < DATA_MEMORY_BYTES]  # fmt: skip
        ranges += _buffers(image.content.configuration, core.tile)
        ranges = [*(_used(named.content) if named else ()), *ranges]
        same.setdefault((code, tuple(ranges)), []).append(core.tile)
    for (code, used), tiles in same.items():
        program = Program()
        program.load(code, 0)
        named = by_code.get(code)
        names = names_of(named.content) if named else {}
        cores = ", ".join(map(str, tiles))
        where = f"{image.name}, core{'s' if len(tiles) > 1 else ''} {cores}"
        yield CoreProgram(where, tuple(tiles), program, 0, names, used, named.name if named else None)


def _memory(pieces: Iterable[tuple[int, bytes]]) -> bytes:
    """Program memory with these pieces in it."""
    memory = bytearray(PROGRAM_MEMORY_BYTES)
    for address, data in pieces:
        kept = data[: max(0, PROGRAM_MEMORY_BYTES - address)]
        memory[address : address + len(kept)] = kept
    return bytes(memory)


def _buffers(configuration: Configuration, tile: TileId) -> Iterator[Range]:
    for placed in configuration.bds:
        if placed.tile == tile and tile.kind is TileKind.CORE and placed.bd.valid and placed.bd.length:
            first = DATA_MEMORY_BASE + placed.bd.address
            yield Range(first, first + WORD * placed.bd.length, f"the buffer of BD {placed.number}")


def names_of(image: ElfImage) -> dict[int, str]:
    """Functions by address; a name without a size only where no function starts."""
    names: dict[int, str] = {}
    symbols = [s for s in image.symbols if s.kind in ("func", "notype") and s.section not in (UNDEFINED, ABSOLUTE)]
    for symbol in sorted(symbols, key=lambda s: (s.kind != "func", s.name.startswith("."))):
        names.setdefault(symbol.value, symbol.name)
    return names


def _used(image: ElfImage) -> Iterator[Range]:
    """Data sections, and the buffers that a linker script has given names."""
    for symbol in image.symbols:
        own = DATA_MEMORY_BASE <= symbol.value < DATA_MEMORY_BASE + DATA_MEMORY_BYTES
        if symbol.section == ABSOLUTE and own and symbol.name and not symbol.name.startswith("_sp_"):
            yield Range(symbol.value, symbol.value + max(symbol.size, 1), symbol.name)
    for section in image.sections:
        if section.flags & SHF_ALLOC and not section.is_code and section.bytes_in_memory:
            yield Range(section.address, section.address + section.bytes_in_memory, f"section {section.name}")


@dataclass(frozen=True)
class ObjectProgram:
    """An object's code, put to some place: functions by name, and what control reaches from a function."""

    program: Program
    functions: dict[str, int]

    def graph(self, address: int) -> dict[int, Function]:
        """The function there and what it calls, as far as the object has it."""
        graph = call_graph(self.program, address)
        for function in graph.values():
            function.calls = [call for call in function.calls if call.target != _ELSEWHERE]
        return {start: function for start, function in graph.items() if start != _ELSEWHERE}


def object_program(image: ElfImage) -> ObjectProgram:
    """The object's code with its own names put in; data stand at the start of data memory, other names nowhere."""
    places: dict[str, int] = {}
    code: dict[str, bytearray] = {}
    address = 0
    for section in image.sections:
        if section.is_code and section.data:
            places[section.name], code[section.name] = address, bytearray(section.data)
            address += -(-len(section.data) // FETCH_BYTES) * FETCH_BYTES
    for relocation in image.relocations:
        if relocation.section in code:
            value = _value(image, relocation, places)
            try:
                apply_relocation(code[relocation.section], relocation.offset, relocation.type, value)
            except XattnError:
                continue  # a place that this object leaves as it is
    program = Program()
    for name, data in code.items():
        program.load(bytes(data), places[name])
    functions = {
        symbol.name: places[symbol.section] + symbol.value
        for symbol in image.symbols
        if symbol.kind == "func" and symbol.section in places
    }
    return ObjectProgram(program, functions)


def _value(image: ElfImage, relocation: Relocation, places: dict[str, int]) -> int:
    if relocation.symbol in places:
        return places[relocation.symbol] + relocation.addend
    symbol = next((s for s in image.symbols if s.name == relocation.symbol and s.kind != "file"), None)
    if symbol is None or symbol.section == UNDEFINED:
        return _ELSEWHERE
    return places.get(symbol.section, DATA_MEMORY_BASE) + symbol.value + relocation.addend
