"""What an AIE2 core is: instruction table, machine code, assembly text, ELF files and the meaning of every opcode.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.isa.assembly import Program, assemble, assemble_program
    from xattn.isa.codec import Bundle, Instruction, decode_bundle, decode_program
    from xattn.isa.disassembly import disassemble, disassemble_bundles
    from xattn.isa.elf import ElfImage, load_elf, read_elf
    from xattn.isa.elf_writer import write_elf, write_executable, write_object
    from xattn.isa.linker import link
    from xattn.isa.table import InstructionTable, instruction_table
    from xattn.isa.timing import timing_of

_HOMES = {
    "assembly": ("Program", "assemble", "assemble_program"),
    "codec": ("Bundle", "Instruction", "decode_bundle", "decode_program"),
    "disassembly": ("disassemble", "disassemble_bundles"),
    "elf": ("ElfImage", "load_elf", "read_elf"),
    "elf_writer": ("write_elf", "write_executable", "write_object"),
    "linker": ("link",),
    "table": ("InstructionTable", "instruction_table"),
    "timing": ("timing_of",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "ElfImage",
    "Instruction",
    "InstructionTable",
    "Program",
    "assemble",
    "assemble_program",
    "decode_bundle",
    "decode_program",
    "disassemble",
    "disassemble_bundles",
    "instruction_table",
    "link",
    "load_elf",
    "read_elf",
    "timing_of",
    "write_elf",
    "write_executable",
    "write_object",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"xattn.isa.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'xattn.isa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
