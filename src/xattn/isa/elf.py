"""ELF files of AIE2 programs: executables and relocatable objects, read with pyelftools.

EM_AIE is 264 (0x108), class ELF32, little-endian, e_flags 2 for AIE2 (public llvm-aie, BinaryFormat/ELF.h). Program
memory starts at address 0; a core sees its own data memory at 0x70000. `elf_writer` is the other way.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xattn.errors import FileFormatError, InputError

EM_AIE = 264
EF_AIE_AIE2 = 2
ARCHITECTURES = {1: "AIE1", 2: "AIE2", 3: "AIE2P", 4: "AIE2PS"}

STACK_SYMBOL = "_sp_start_value_DM_stack"  # where the linker scripts of mlir-aie put the start of the stack

ABSOLUTE = "*absolute*"
UNDEFINED = "*undefined*"

SHT_PROGBITS, SHT_NOBITS = 1, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
PF_X, PF_W, PF_R = 1, 2, 4


@dataclass(frozen=True)
class Section:
    """A section with contents (not the symbol, string and relocation tables, which are made from the rest)."""

    name: str
    address: int
    data: bytes
    type: int = SHT_PROGBITS
    flags: int = SHF_ALLOC
    alignment: int = 1
    size: int | None = None  # bytes; other than len(data) only where the file holds none (SHT_NOBITS)
    entry_size: int = 0

    @property
    def bytes_in_memory(self) -> int:
        """How many bytes the section occupies."""
        return len(self.data) if self.size is None else self.size

    @property
    def is_code(self) -> bool:
        """Whether the section holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)


@dataclass(frozen=True)
class Segment:
    """A range of memory that a loader fills (PT_LOAD): `data`, then zeros up to `size` bytes."""

    address: int
    data: bytes
    size: int
    flags: int = PF_R | PF_W
    alignment: int = 16

    @property
    def is_code(self) -> bool:
        """Whether the segment lies in program memory."""
        return bool(self.flags & PF_X)


@dataclass(frozen=True)
class Symbol:
    """A name for an address (or, in an object, for an offset in a section)."""

    name: str
    value: int
    size: int = 0
    kind: str = "notype"  # notype, object, func, section, file
    binding: str = "global"  # local, global, weak
    section: str = ABSOLUTE


@dataclass(frozen=True)
class Relocation:
    """A place in `section` that a linker patches with symbol + addend; `type` is n of R_AIE_n."""

    section: str
    offset: int
    type: int
    symbol: str
    addend: int = 0


@dataclass(frozen=True)
class ElfImage:
    """What an AIE2 ELF file says. `is_object`: relocatable (sections count), else executable (segments count)."""

    is_object: bool
    entry: int
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...] = ()

    def section(self, name: str) -> Section:
        """The section of that name; InputError when there is none."""
        for section in self.sections:
            if section.name == name:
                return section
        raise InputError(f"no section {name}; there are {', '.join(s.name for s in self.sections) or 'none'}")

    def symbol(self, name: str) -> Symbol:
        """The symbol of that name, a global one first; InputError, with similar names, when there is none."""
        found = [symbol for symbol in self.symbols if symbol.name == name and symbol.kind != "file"]
        if found:
            return min(found, key=lambda symbol: symbol.binding == "local")
        near = difflib.get_close_matches(name, [symbol.name for symbol in self.symbols if symbol.kind != "file"], n=3)
        functions = [symbol.name for symbol in self.symbols if symbol.kind == "func"]
        hint = f"did you mean {', '.join(near)}?" if near else f"functions: {', '.join(functions) or 'none'}"
        raise InputError(f"no symbol {name}; {hint}")

    def addresses(self) -> dict[str, int]:
        """Symbol name to value, functions and objects before bare labels, without section and file names."""
        order = {"func": 0, "object": 1, "notype": 2}
        named = [s for s in self.symbols if s.kind in order and s.section != UNDEFINED]
        found: dict[str, int] = {}
        for symbol in sorted(named, key=lambda s: (order[s.kind], s.binding == "local")):
            found.setdefault(symbol.name, symbol.value)
        return found

    def code(self) -> list[tuple[int, bytes]]:
        """(address, bytes) of what holds instructions."""
        if self.is_object:
            return [(s.address, s.data) for s in self.sections if s.is_code and s.data]
        return [(s.address, s.data) for s in self.segments if s.is_code and s.data]

    def data(self) -> list[tuple[int, bytes]]:
        """(address, bytes) of what a loader writes into data memory, zeros included."""
        return [(s.address, s.data.ljust(s.size, b"\0")) for s in self.segments if not s.is_code and s.size]


def is_elf(data: bytes) -> bool:
    """Whether the bytes start as an ELF file does, or as an archive of such files."""
    return data.startswith((b"\x7fELF", b"!<arch>"))


def load_elf(path: str | Path) -> ElfImage:
    """Read an ELF file. FileFormatError when it cannot be read or is no AIE2 program; the message names the file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None
    return read_elf(data, str(path))


def read_elf(data: bytes, name: str = "ELF file") -> ElfImage:
    """The contents of an AIE2 ELF file given as bytes. FileFormatError when it is truncated, broken or foreign."""
    from elftools.elf.elffile import ELFFile

    _check_identity(data, name)
    with _reading(name, "header"):
        elf = ELFFile(io.BytesIO(data))
        header = dict(elf.header)
    _check_header(header, len(data), name)
    with _reading(name, "section table"):
        tables = list(elf.iter_sections())
        for section in tables:
            _check_range(section.name, section["sh_offset"], _file_size(section), len(data), name)
        names = [_section_name(section) for section in tables]
        sections = tuple(_section(section) for section in tables if _section_name(section) is not None)
    with _reading(name, "program headers"):
        segments = tuple(_segments(elf, len(data), name))
    with _reading(name, "symbol table"):
        symbols = tuple(_symbols(tables, names))
    with _reading(name, "relocations"):
        relocations = tuple(_relocations(elf, tables))
    return ElfImage(header["e_type"] == "ET_REL", header["e_entry"], sections, segments, symbols, relocations)


@contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    """Turn whatever the library says about broken bytes into a FileFormatError; it promises no exception type."""
    try:
        yield
    except FileFormatError:
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{name}: {what} cannot be read, the file is truncated or broken ({why})") from error


def _check_identity(data: bytes, name: str) -> None:
    if data.startswith(b"!<arch>"):
        raise FileFormatError(f"{name}: an archive of objects; extract the object from it (ar x) and give that")
    if not is_elf(data):
        raise FileFormatError(f"{name}: no ELF file, it starts with {data[:4].hex() or 'nothing'}, expected 7f454c46")
    if len(data) < 52:
        raise FileFormatError(f"{name}: {len(data)} bytes are too few for an ELF header of 52")
    if data[4] != 1 or data[5] != 1:
        bits = {1: "32-bit", 2: "64-bit"}.get(data[4], f"class {data[4]}")
        order = {1: "little-endian", 2: "big-endian"}.get(data[5], f"byte order {data[5]}")
        raise FileFormatError(f"{name}: {bits} {order} ELF, expected 32-bit little-endian (AIE2)")


def _check_header(header: dict[str, Any], size: int, name: str) -> None:
    machine, flags, kind = header["e_machine"], header["e_flags"], header["e_type"]
    if machine not in (EM_AIE, "EM_AIE"):
        raise FileFormatError(f"{name}: ELF for machine {machine}, expected EM_AIE ({EM_AIE})")
    if flags != EF_AIE_AIE2:
        what = ARCHITECTURES.get(flags, "an unknown architecture")
        raise FileFormatError(f"{name}: e_flags {flags} ({what}), expected {EF_AIE_AIE2} (AIE2)")
    if kind not in ("ET_EXEC", "ET_REL"):
        raise FileFormatError(f"{name}: ELF of type {kind}, expected an executable or a relocatable object")
    for table, entry in (("e_shentsize", 40), ("e_phentsize", 32)):
        if header[table] != entry and header[table.replace("entsize", "num")]:
            raise FileFormatError(f"{name}: {table} is {header[table]}, expected {entry}")
    _check_range("section table", header["e_shoff"], header["e_shnum"] * header["e_shentsize"], size, name)
    _check_range("program headers", header["e_phoff"], header["e_phnum"] * header["e_phentsize"], size, name)


def _check_range(what: str, offset: int, count: int, size: int, name: str) -> None:
    if count and offset + count > size:
        raise FileFormatError(f"{name}: truncated, {what} would end at byte {offset + count} of {size}")


def _file_size(section: Any) -> int:
    return 0 if section["sh_type"] in ("SHT_NOBITS", "SHT_NULL") else int(section["sh_size"])


_TABLES = ("SHT_NULL", "SHT_SYMTAB", "SHT_STRTAB", "SHT_RELA", "SHT_REL", "SHT_GROUP")


def _section_name(section: Any) -> str | None:
    """The name of a section with contents; None for the tables."""
    return None if section["sh_type"] in _TABLES else str(section.name)


def _section(section: Any) -> Section:
    kind = section["sh_type"]
    empty = kind == "SHT_NOBITS"
    return Section(
        name=str(section.name),
        address=section["sh_addr"],
        data=b"" if empty else section.data(),
        type={"SHT_PROGBITS": SHT_PROGBITS, "SHT_NOBITS": SHT_NOBITS}.get(kind) or _type_number(kind),
        flags=section["sh_flags"],
        alignment=section["sh_addralign"],
        size=section["sh_size"] if empty else None,
        entry_size=section["sh_entsize"],
    )


def _type_number(kind: str | int) -> int:
    from elftools.elf.enums import ENUM_SH_TYPE_BASE

    return kind if isinstance(kind, int) else int(ENUM_SH_TYPE_BASE[kind])


def _segments(elf: Any, size: int, name: str) -> Iterator[Segment]:
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_LOAD":
            _check_range(f"segment at {segment['p_vaddr']:#x}", segment["p_offset"], segment["p_filesz"], size, name)
            if segment["p_memsz"] < segment["p_filesz"] or segment["p_memsz"] > 1 << 20:
                raise FileFormatError(
                    f"{name}: segment at {segment['p_vaddr']:#x} has {segment['p_memsz']} bytes of memory"
                )
            data = segment.data()
            yield Segment(segment["p_vaddr"], data, segment["p_memsz"], segment["p_flags"], segment["p_align"])


def _symbols(tables: list[Any], names: list[str | None]) -> Iterator[Symbol]:
    for table in tables:
        if table["sh_type"] != "SHT_SYMTAB":
            continue
        for symbol in list(table.iter_symbols())[1:]:
            info, index = symbol["st_info"], symbol["st_shndx"]
            kind = str(info["type"]).removeprefix("STT_").lower()
            yield Symbol(
                name=(names[index] or "") if kind == "section" and isinstance(index, int) else str(symbol.name),
                value=symbol["st_value"],
                size=symbol["st_size"],
                kind=kind,
                binding=str(info["bind"]).removeprefix("STB_").lower(),
                section=_home(index, names),
            )


def _home(index: int | str, names: list[str | None]) -> str:
    """The section that a symbol is in. Linkers give absolute symbols the index of some table: those have no home."""
    if index == "SHN_UNDEF":
        return UNDEFINED
    return (names[index] if isinstance(index, int) else None) or ABSOLUTE


def _relocations(elf: Any, tables: list[Any]) -> Iterator[Relocation]:
    for table in tables:
        if table["sh_type"] == "SHT_RELA":
            target, symbols = elf.get_section(table["sh_info"]), elf.get_section(table["sh_link"])
            for entry in table.iter_relocations():
                symbol = symbols.get_symbol(entry["r_info_sym"])
                home = symbol["st_shndx"]
                is_section = symbol["st_info"]["type"] == "STT_SECTION"
                name = elf.get_section(home).name if is_section else symbol.name
                addend = entry["r_addend"]
                yield Relocation(str(target.name), entry["r_offset"], entry["r_info_type"], str(name), addend)
        elif table["sh_type"] == "SHT_REL":
            raise FileFormatError(
                f"section {table.name} has relocations without addends, which AIE2 objects do not use"
            )
