"""A design around a kernel that Peano compiled: its object in place of ours, everything else the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from xattn.array.design import Scratch
from xattn.build.designs import design_of
from xattn.build.images import (
    STACK_BYTES,
    Images,
    assemble_images,
    kernel_use,
    place_deepest,
)
from xattn.build.peano.compile import ToolchainError, compile_kernel
from xattn.build.peano.tools import Tool
from xattn.errors import InputError
from xattn.isa.elf import SHF_ALLOC, ElfImage, read_elf
from xattn.kernels.registry import compiled, kernel_spec


def build_peano_images(
    kernel: str,
    design: str,
    tokens: int,
    width: int,
    scalars: Mapping[str, int],
    symbol: str,
    blocks: int,
    tool: Tool,
) -> Images:
    """As `xattn.build.images.build_images`, of what `tool` makes of the kernel's C source.

    ToolchainError when the compiler fails; InputError for a kernel that is not there in C, and for what does not fit.
    """
    spec = kernel_spec(kernel)
    symbol = symbol or kernel
    if not re.fullmatch(r"[A-Za-z_]\w*", symbol, re.ASCII):
        raise InputError(f"{symbol!r} cannot name a function in C: expected letters, digits and underscores")
    use = kernel_use(spec, compiled(kernel, tokens, width), tokens, width, scalars, symbol)
    data = compile_kernel(kernel, tokens, width, symbol, tool)
    image = read_elf(data)
    use = replace(use, scratch=_memory(image, tool))
    images = assemble_images(place_deepest(design_of(design), use, blocks), use, image, tokens, width)
    return replace(images, object=data)


def _memory(image: ElfImage, tool: Tool) -> tuple[Scratch, ...]:
    """What the program needs of a core's data memory: the stack, and the object's own data sections."""
    sections = [item for item in image.sections if item.flags & SHF_ALLOC and item.bytes_in_memory and not item.is_code]
    names = [section.name for section in sections]
    if len(set(names)) < len(names) or not all(name.startswith(".") for name in names):
        raise ToolchainError(f"the object of {tool.path} has data sections {', '.join(names)}: names must differ")
    stack = Scratch("stack", STACK_BYTES, offset=0)
    return (stack, *(Scratch(section.name, section.bytes_in_memory) for section in sections))
