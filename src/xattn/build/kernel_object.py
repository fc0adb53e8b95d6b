"""A compiled kernel as a relocatable object: callable by the C convention, movable by any linker of AIE2 programs.

Its scratch arrays are sections `.bss.KERNEL.ARRAY`, its tables `.rodata.KERNEL.ARRAY`: a linker that knows banks can
put each where the compiler wanted it (`preferred_places`), any other one puts them anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.ir import Address, Array, Label
from xattn.isa.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    ElfImage,
    Relocation,
    Section,
    Symbol,
)
from xattn.isa.elf_writer import locals_first
from xattn.isa.relocations import relocation_type
from xattn.isa.timing import FETCH_BYTES

TEXT = ".text"


def kernel_object(kernel: CompiledKernel, symbol: str) -> ElfImage:
    """The object; the kernel's function is the global symbol `symbol`."""
    own = own_arrays(kernel)
    text = Section(TEXT, 0, kernel.code, flags=SHF_ALLOC | SHF_EXECINSTR, alignment=FETCH_BYTES)
    symbols = [Symbol(symbol, 0, len(kernel.code), "func", "global", TEXT)]
    symbols += [
        Symbol(_symbol(symbol, array), 0, array.size, "object", "local", section_name(symbol, array)) for array in own
    ]
    sections = (text, *(_section(symbol, array) for array in own))
    return ElfImage(True, 0, sections, (), locals_first(symbols), tuple(_relocations(kernel, symbol)))


def own_arrays(kernel: CompiledKernel) -> tuple[Array, ...]:
    """Scratch and tables: the arrays that no caller passes."""
    return tuple(array for array in kernel.arrays if array.base is None)


def preferred_places(kernel: CompiledKernel, symbol: str) -> dict[str, int]:
    """Section name to the address at which the kernel is at its best, for `xattn.isa.link`."""
    return {section_name(symbol, array): kernel.addresses[array.name] for array in own_arrays(kernel)}


def section_name(symbol: str, array: Array) -> str:
    """The section of an array."""
    return f"{'.bss' if array.contents is None else '.rodata'}.{_symbol(symbol, array)}"


def _symbol(symbol: str, array: Array) -> str:
    return f"{symbol}.{re.sub(r'[^0-9A-Za-z_]', '_', array.name)}"


def _section(symbol: str, array: Array) -> Section:
    name = section_name(symbol, array)
    if array.contents is not None:
        return Section(name, 0, array.contents, flags=SHF_ALLOC, alignment=array.alignment)
    flags = SHF_ALLOC | SHF_WRITE
    return Section(name, 0, b"", type=SHT_NOBITS, flags=flags, alignment=array.alignment, size=array.size)


def _relocations(kernel: CompiledKernel, symbol: str) -> Iterator[Relocation]:
    """Branch targets and loop bounds are relative to the function, data addresses to their arrays."""
    for (address, slot), operation in sorted(kernel.emitted.operations.items()):
        choice = next(choice for choice in operation.choices if choice.opcode.slot == slot)
        bundle = kernel.bundles[address // FETCH_BYTES]
        for operand, value in choice.operands.items():
            if isinstance(value, Label):
                target, addend = symbol, kernel.emitted.labels[value.name]
            elif isinstance(value, Address):
                target, addend = _symbol(symbol, value.array), value.offset
            else:
                continue
            yield Relocation(TEXT, address, relocation_type(bundle, slot, operand), target, addend)
