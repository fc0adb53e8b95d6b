"""From a kernel of the registry to the bytes that run it: core programs, PDI, instruction stream, xclbin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xattn.array.configuration import Configuration, configure
from xattn.array.design import Design, Scratch
from xattn.array.host_sequence import host_sequence
from xattn.array.instructions import InstructionStream, write_instructions
from xattn.array.pdi import build_pdi, write_pdi
from xattn.array.placement import Placement, place
from xattn.array.xclbin import write_xclbin
from xattn.array.xclbin_build import NpuKernel, build_xclbin
from xattn.build.core_program import core_image, link_core, protocol_text
from xattn.build.designs import KernelPort, KernelUse, design_of
from xattn.build.kernel_object import kernel_object, own_arrays, section_name
from xattn.build.layouts import input_layouts, output_layout
from xattn.compiler.compile import CompiledKernel
from xattn.errors import InputError
from xattn.isa.elf import ElfImage, read_elf
from xattn.isa.elf_writer import write_elf
from xattn.isa.syntax import is_symbol
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.kernels.registry import KernelSpec, compiled, kernel_spec

STACK_BYTES = 1024
DEFAULT_SCALARS = {"shift": 4}


@dataclass(frozen=True)
class Images:
    """A built design. `cores`: an executable for each core of the design, in its order; several may be the same."""

    kernel: KernelUse
    tokens: int
    width: int
    placement: Placement
    configuration: Configuration
    cores: tuple[bytes, ...]
    object: bytes
    pdi: bytes
    stream: InstructionStream

    @property
    def design(self) -> Design:
        """The design that was built."""
        return self.placement.design

    @property
    def instructions(self) -> bytes:
        """The instruction stream as a file."""
        return write_instructions(self.stream)

    @property
    def xclbin(self) -> bytes:
        """The container that XRT loads."""
        kernel = NpuKernel(buffers=len(self.design.buffers))
        return write_xclbin(build_xclbin(self.pdi, self.design.columns, kernel))


def build_images(
    kernel: str,
    design: str = "tile",
    tokens: int = 64,
    width: int = 64,
    scalars: Mapping[str, int] | None = None,
    symbol: str = "",
    blocks: int = 1,
) -> Images:
    """Build a kernel into a design; `scalars` are its integer arguments by name (default: a shift of 4).

    `symbol` is the name of its function (default: the kernel's), `blocks` how many blocks each core computes in a run,
    1 to 64. Where two buffers a FIFO do not fit the cores' memories, one is taken (then DMA waits for the core).
    InputError names what does not fit otherwise.
    """
    spec, program = kernel_spec(kernel), compiled(kernel, tokens, width)
    symbol = symbol or kernel
    if not is_symbol(symbol):
        raise InputError(f"{symbol!r} cannot name a function: expected letters, digits, underscores and dots")
    image = kernel_object(program, symbol)
    use = kernel_use(spec, program, tokens, width, scalars or {}, symbol)
    maker = design_of(design)
    placement = place_deepest(maker, use, blocks)
    try:
        return assemble_images(placement, use, image, tokens, width)
    except InputError:
        # With two buffers a program has two turns, with one it has one: a kernel that fills program memory may fit.
        return assemble_images(place(maker(use, 1, blocks)), use, image, tokens, width)


def place_deepest(maker: Callable[[KernelUse, int, int], Design], kernel: KernelUse, blocks: int = 1) -> Placement:
    """The design with two buffers a FIFO in the cores, or with one, where two do not fit."""
    try:
        return place(maker(kernel, 2, blocks))
    except InputError:
        return place(maker(kernel, 1, blocks))


def kernel_use(
    spec: KernelSpec,
    program: CompiledKernel,
    tokens: int,
    width: int,
    scalars: Mapping[str, int],
    symbol: str = "",
) -> KernelUse:
    """The kernel as designs see it: its arguments with their layouts, its integers, its own memory."""
    symbol = symbol or spec.name
    values = {**DEFAULT_SCALARS, **scalars}
    unknown = [name for name in program.scalars if name not in values]
    extra = [name for name in scalars if name not in program.scalars]
    if unknown or extra:
        names = ", ".join(program.scalars) or "none"
        raise InputError(f"kernel {spec.name} takes the integers {names}; {', '.join(unknown or extra)} is wrong")
    layouts = input_layouts(spec, tokens, width)
    in_place = tuple(name for name in spec.outputs if name in layouts)
    if len(spec.outputs) == 1 and not in_place:
        layouts[spec.outputs[0]] = output_layout(spec, tokens, width)
    banks = {array.name: array.bank for array in program.arrays}
    ports = tuple(KernelPort.of(layouts[name], banks[name]) for name in program.arguments)
    scratch = [Scratch("stack", STACK_BYTES, offset=0)]
    scratch += [Scratch(section_name(symbol, array), array.size, bank=array.bank) for array in own_arrays(program)]
    integers = tuple((name, values[name]) for name in program.scalars)
    return KernelUse(symbol, ports, spec.outputs, integers, tuple(scratch), in_place)


def assemble_images(placement: Placement, kernel: KernelUse, image: ElfImage, tokens: int, width: int) -> Images:
    """Programs for the cores of a placed design, all with this kernel, and everything that loads and runs them."""
    linked: dict[tuple[str, tuple[tuple[str, int], ...]], bytes] = {}
    executables = []
    for core in placement.design.cores:
        places = {
            name: DATA_MEMORY_BASE + offset
            for name, offset in placement.scratch[core.tile].items()
            if name.startswith(".")
        }
        # Cores whose FIFOs lie at the same places have the same program.
        key = (protocol_text(core, placement), tuple(places.items()))
        if key not in linked:
            linked[key] = write_elf(link_core(core, placement, image, places))
        executables.append(linked[key])
    cores = [
        core_image(core.tile, read_elf(data)) for core, data in zip(placement.design.cores, executables, strict=True)
    ]
    configuration = Configuration(
        tuple(cores), placement.locks, placement.bds, placement.starts, placement.routes, placement.shim_ports
    )
    return Images(
        kernel,
        tokens,
        width,
        placement,
        configuration,
        tuple(executables),
        write_elf(image),
        write_pdi(build_pdi(configure(configuration))),
        host_sequence(placement),
    )
