"""Writes ELF files of AIE2 programs: executables that a loader takes as they are, and objects for a linker.

The layout is header, program headers, contents, symbol and string tables, relocations, section headers. Everything is
deterministic: the same image gives the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xattn.errors import InputError
from xattn.isa.assembly import Program
from xattn.isa.elf import (
    ABSOLUTE,
    EF_AIE_AIE2,
    EM_AIE,
    PF_R,
    PF_W,
    PF_X,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    UNDEFINED,
    ElfImage,
    Relocation,
    Section,
    Segment,
    Symbol,
)
from xattn.isa.relocations import relocation_type
from xattn.isa.timing import FETCH_BYTES, PROGRAM_MEMORY_BYTES

DATA_ADDRESSES = range(0x40000, 0x80000)  # what a core reaches: its neighbours' data memories, and its own at 0x70000

_KINDS = {"notype": 0, "object": 1, "func": 2, "section": 3, "file": 4}
_BINDINGS = {"local": 0, "global": 1, "weak": 2}
_SHN_ABS = 0xFFF1


def write_executable(
    code: Program | bytes,
    data: Iterable[tuple[int, bytes]] = (),
    symbols: Iterable[Symbol] = (),
    *,
    base: int = 0,
    entry: int | None = None,
) -> bytes:
    """An executable: `code` in program memory (at `base`, or where the program was assembled), `data` at its addresses.

    `data` are (byte address, contents) in data memory, 0x70000 and up for the core's own. A program brings its labels
    as symbols; `symbols` are added. `entry` defaults to the start of the code. InputError when something does not fit.
    """
    if isinstance(code, Program):
        if code.external_symbols:
            raise InputError(f"undefined symbols {', '.join(sorted(code.external_symbols))}: an executable has none")
        base, symbols, code = code.base, [*program_symbols(code), *symbols], code.code
    if base % FETCH_BYTES or base < 0 or base + len(code) > PROGRAM_MEMORY_BYTES:
        raise InputError(
            f"{len(code)} bytes of code at {base:#x} do not fit program memory: {PROGRAM_MEMORY_BYTES} bytes, "
            f"start at a multiple of {FETCH_BYTES}"
        )
    pieces = sorted(data)
    _check_data(pieces)
    sections = [Section(".text", base, code, flags=SHF_ALLOC | SHF_EXECINSTR, alignment=FETCH_BYTES)]
    segments = [Segment(base, code, len(code), PF_R | PF_X, FETCH_BYTES)]
    for i, (address, contents) in enumerate(pieces):
        name = ".data" if i == 0 else f".data.{i}"
        sections.append(Section(name, address, contents, flags=SHF_ALLOC | SHF_WRITE, alignment=4))
        segments.append(Segment(address, contents, len(contents), PF_R | PF_W, 4))
    start = base if entry is None else entry
    return write_elf(ElfImage(False, start, tuple(sections), tuple(segments), locals_first(symbols)))


def write_object(
    program: Program,
    data: bytes = b"",
    rodata: bytes = b"",
    symbols: Iterable[Symbol] = (),
    relocations: Iterable[Relocation] = (),
) -> bytes:
    """A relocatable object with sections .text, .data and .rodata (empty ones are left out).

    The program's labels and external names become symbols, its references relocations; `symbols` (of kind object, in
    .data or .rodata) and `relocations` are added. InputError when an operand has no relocation type.
    """
    if program.base:
        raise InputError(f"an object's code is assembled at base 0, not {program.base:#x}: the linker places it")
    sections = [Section(".text", 0, program.code, flags=SHF_ALLOC | SHF_EXECINSTR, alignment=FETCH_BYTES)]
    for name, contents, flags in ((".data", data, SHF_ALLOC | SHF_WRITE), (".rodata", rodata, SHF_ALLOC)):
        if contents:
            sections.append(Section(name, 0, contents, flags=flags, alignment=32))
    references = [
        Relocation(".text", r.address, relocation_type(r.bundle, r.slot, r.operand), r.symbol, r.addend)
        for r in program.references
    ]
    named = locals_first([*program_symbols(program), *symbols])
    return write_elf(ElfImage(True, 0, tuple(sections), (), named, (*references, *relocations)))


def program_symbols(program: Program) -> list[Symbol]:
    """The labels, functions, constants and external names of a program as ELF symbols."""
    found = []
    for name, value in program.symbols.items():
        size = program.functions[name][1] if name in program.functions else 0
        kind = "func" if name in program.functions else "notype"
        found.append(Symbol(name, value, size, kind, _binding(program, name), ".text"))
    for name, value in program.constants.items():
        found.append(Symbol(name, value & 0xFFFFFFFF, 0, "notype", _binding(program, name), ABSOLUTE))
    found += [Symbol(name, 0, 0, "notype", "global", UNDEFINED) for name in sorted(program.external_symbols)]
    return found


def _binding(program: Program, name: str) -> str:
    return "global" if name in program.global_symbols else "local"


def locals_first(symbols: Iterable[Symbol]) -> tuple[Symbol, ...]:
    """Symbols in the order that an ELF symbol table has: local ones first."""
    return tuple(sorted(symbols, key=lambda symbol: symbol.binding != "local"))


def _check_data(pieces: Sequence[tuple[int, bytes]]) -> None:
    end = 0
    for address, contents in pieces:
        if address not in DATA_ADDRESSES or address + len(contents) > DATA_ADDRESSES.stop:
            raise InputError(
                f"{len(contents)} bytes of data at {address:#x} do not lie in data memory, "
                f"{DATA_ADDRESSES.start:#x} to {DATA_ADDRESSES.stop - 1:#x} (a core's own: from 0x70000)"
            )
        if address < end:
            raise InputError(f"data at {address:#x} overlaps the data before it, which ends at {end:#x}")
        end = address + len(contents)


@dataclass
class _Header:
    """A row of the section table."""

    name: str
    type: int
    flags: int = 0
    address: int = 0
    offset: int = 0
    size: int = 0
    link: int = 0
    info: int = 0
    alignment: int = 1
    entry_size: int = 0


def write_elf(image: ElfImage) -> bytes:
    """The bytes of an ELF file with these contents; `read_elf` gives an equal image. InputError for what is no ELF."""
    names = [section.name for section in image.sections]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise InputError(f"two sections are called {repeated}")
    body = _Body(52 + 32 * len(image.segments))
    segment_offsets = [body.add(segment.data, segment.alignment, segment.address) for segment in image.segments]
    headers = [_Header("", 0, alignment=0)]
    headers += [_place(section, image, segment_offsets, body) for section in image.sections]
    _add_tables(image, headers, body)
    start = body.add(b"", 4)
    names_table = _Strings([header.name for header in headers])
    table = b"".join(_section_row(header, names_table) for header in headers)
    program_offset = 52 if image.segments else 0
    header = _file_header(image, program_offset, start, len(headers))
    rows = b"".join(
        struct.pack("<8I", 1, offset, s.address, s.address, len(s.data), s.size, s.flags, s.alignment)
        for s, offset in zip(image.segments, segment_offsets, strict=True)
    )
    return header + rows + bytes(body.data) + table


class _Body:
    """The contents of the file after its headers."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()

    def add(self, contents: bytes, alignment: int, congruent: int = 0) -> int:
        """Append contents at a file offset equal to `congruent` modulo `alignment`; the offset."""
        here = self.start + len(self.data)
        self.data += bytes((congruent - here) % max(1, alignment))
        offset = self.start + len(self.data)
        self.data += contents
        return offset


def _place(section: Section, image: ElfImage, offsets: list[int], body: _Body) -> _Header:
    """The header of a section, whose contents lie in a segment that is already written, or are appended."""
    header = _Header(section.name, section.type, section.flags, section.address, 0, section.bytes_in_memory)
    header.alignment, header.entry_size = section.alignment, section.entry_size
    if section.type == SHT_NOBITS:
        header.offset = body.add(b"", 1)
        return header
    for segment, offset in zip(image.segments, offsets, strict=True):
        inside = section.address - segment.address
        allocated = section.flags & SHF_ALLOC and section.is_code == segment.is_code
        if allocated and inside >= 0 and inside + len(section.data) <= len(segment.data):
            if segment.data[inside : inside + len(section.data)] != section.data:
                raise InputError(f"section {section.name} and the segment it lies in have different contents")
            header.offset = offset + inside
            return header
    header.offset = body.add(section.data, section.alignment)
    return header


def _add_tables(image: ElfImage, headers: list[_Header], body: _Body) -> None:
    """Append symbols, strings and relocations; `headers` gets their rows, the names of sections last."""
    index = {header.name: i for i, header in enumerate(headers)}
    symbols = locals_first(image.symbols)
    strings = _Strings()
    rows = [bytes(16), *(_symbol_row(symbol, strings, index) for symbol in symbols)]
    local = 1 + sum(symbol.binding == "local" for symbol in symbols)
    table = len(headers)
    offset = body.add(b"".join(rows), 4)
    headers.append(_Header(".symtab", 2, 0, 0, offset, 16 * len(rows), table + 1, local, 4, 16))
    headers.append(_Header(".strtab", 3, 0, 0, body.add(strings.data, 1), len(strings.data)))
    number = {s.name: i for i, s in reversed(list(enumerate(symbols, start=1))) if s.kind != "file"}
    for section in image.sections:
        entries = [r for r in image.relocations if r.section == section.name]
        if entries:
            relocations = b"".join(_relocation_row(r, section, number) for r in entries)
            offset = body.add(relocations, 4)
            size = len(relocations)
            headers.append(_Header(f".rela{section.name}", 4, 0x40, 0, offset, size, table, index[section.name], 4, 12))
    names = {header.name for header in headers}
    lost = next((r.section for r in image.relocations if r.section not in names), None)
    if lost:
        raise InputError(f"relocation in section {lost}, which does not exist")
    section_names = _Strings([header.name for header in headers] + [".shstrtab"])
    headers.append(_Header(".shstrtab", 3, 0, 0, body.add(section_names.data, 1), len(section_names.data)))


class _Strings:
    """A string table under construction."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.data = b"\0"
        self.offset_of = {"": 0}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> int:
        """Offset of the text, which is added when it is new."""
        if text not in self.offset_of:
            self.offset_of[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self.offset_of[text]


def _symbol_row(symbol: Symbol, strings: _Strings, index: dict[str, int]) -> bytes:
    homes = {ABSOLUTE: _SHN_ABS, UNDEFINED: 0, **index}
    if symbol.section not in homes or symbol.kind not in _KINDS or symbol.binding not in _BINDINGS:
        raise InputError(
            f"symbol {symbol.name} of kind {symbol.kind}, binding {symbol.binding}, in {symbol.section}: expected of "
            f"{', '.join(_KINDS)}; {', '.join(_BINDINGS)}; {', '.join(filter(None, homes))}"
        )
    name = 0 if symbol.kind == "section" else strings.add(symbol.name)
    info = _BINDINGS[symbol.binding] << 4 | _KINDS[symbol.kind]
    return struct.pack("<IIIBBH", name, symbol.value, symbol.size, info, 0, homes[symbol.section])


def _relocation_row(relocation: Relocation, section: Section, number: dict[str, int]) -> bytes:
    if relocation.symbol not in number:
        raise InputError(
            f"relocation at {section.name} + {relocation.offset:#x} names unknown symbol {relocation.symbol}"
        )
    info = number[relocation.symbol] << 8 | relocation.type
    return struct.pack("<IIi", relocation.offset, info, relocation.addend)


def _section_row(header: _Header, names: _Strings) -> bytes:
    return struct.pack(
        "<10I",
        *(names.add(header.name), header.type, header.flags, header.address, header.offset, header.size),
        *(header.link, header.info, header.alignment, header.entry_size),
    )


def _file_header(image: ElfImage, program_offset: int, section_offset: int, sections: int) -> bytes:
    identity = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    kind = 1 if image.is_object else 2
    fields = (kind, EM_AIE, 1, image.entry, program_offset, section_offset, EF_AIE_AIE2)
    sizes = (52, 32 if image.segments else 0, len(image.segments), 40, sections, sections - 1)
    return identity + struct.pack("<HHIIIII", *fields) + struct.pack("<6H", *sizes)
