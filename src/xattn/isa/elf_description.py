"""What an AIE2 ELF file says, as plain data for people and for JSON, and as facts for comparing two files."""

from __future__ import annotations

import hashlib
from typing import Any

from xattn.isa.elf import UNDEFINED, ElfImage, Section
from xattn.isa.timing import DATA_MEMORY_BYTES, PROGRAM_MEMORY_BYTES


def describe_elf(image: ElfImage) -> dict[str, Any]:
    """Kind, entry, sections, functions, objects, names that others have to define, and the memory it takes."""
    code = sum(len(data) for _, data in image.code())
    data = sum(s.bytes_in_memory for s in image.sections if s.flags & 2 and not s.is_code)
    functions = sorted((s for s in image.symbols if s.kind == "func"), key=lambda s: s.value)
    objects = sorted((s for s in image.symbols if s.kind == "object"), key=lambda s: (s.section, s.value))
    return {
        "format": "ELF relocatable object" if image.is_object else "ELF executable",
        "entry": f"{image.entry:#x}",
        "code_bytes": code,
        "program_memory_bytes": PROGRAM_MEMORY_BYTES,
        "data_bytes": data,
        "data_memory_bytes": DATA_MEMORY_BYTES,
        "sections": [_section(section) for section in image.sections],
        "functions": [
            {"name": s.name, "address": f"{s.value:#x}", "bytes": s.size, "binding": s.binding} for s in functions
        ],
        "objects": [{"name": s.name, "section": s.section, "bytes": s.size} for s in objects],
        "undefined": sorted(s.name for s in image.symbols if s.section == UNDEFINED),
        "relocations": len(image.relocations),
    }


def _section(section: Section) -> dict[str, Any]:
    kind = "code" if section.is_code else "data" if section.data else "zeros"
    return {
        "name": section.name,
        "kind": kind if section.flags & 2 else "not loaded",
        "address": f"{section.address:#x}",
        "bytes": section.bytes_in_memory,
        "alignment": section.alignment,
    }


def elf_facts(image: ElfImage) -> dict[str, str]:
    """Facts by name: sections with a digest of their contents, symbols, relocations; code as assembly text apart."""
    facts = {"kind": "object" if image.is_object else "executable", "entry": f"{image.entry:#x}"}
    for section in image.sections:
        digest = hashlib.sha256(section.data).hexdigest()[:16] if section.data else "zeros"
        facts[f"section {section.name}"] = f"{section.bytes_in_memory:,} bytes at {section.address:#x}, {digest}"
    for symbol in image.symbols:
        if symbol.kind != "file" and symbol.name:
            facts[f"symbol {symbol.name}"] = (
                f"{symbol.kind}, {symbol.value:#x} in {symbol.section}, {symbol.size} bytes"
            )
    for relocation in image.relocations:
        name = f"relocation {relocation.section}+{relocation.offset:#x} type {relocation.type}"
        facts[name] = f"{relocation.symbol}+{relocation.addend:#x}"
    return facts
