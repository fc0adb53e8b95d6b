"""The program of a core: the lock protocol around its kernel, linked with the kernel's object.

One turn: wait for a full buffer of each input FIFO and a free one of each output FIFO, call the kernel, hand the inputs
back as free and the outputs on as full (what it changes in place, as done). FIFOs of depth 2 alternate between their
buffers, so turns are written out until all FIFOs are at their first buffer again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import lcm

from xattn.array.configuration import CoreImage
from xattn.array.design import Core, TileId
from xattn.array.placement import Placement
from xattn.array.words import WORD
from xattn.errors import InputError
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import ElfImage, read_elf
from xattn.isa.elf_writer import write_object
from xattn.isa.linker import link
from xattn.isa.timing import DATA_MEMORY_BASE, DELAY_SLOTS

PROGRAM_OFFSET = 0x20000  # of program memory, in the tile
OWN_LOCKS = 48  # a core names the locks of its own tile 48 to 63
START = "_start"
STACK_SYMBOL = "_sp_start_value_DM_stack"
# A store reaches memory up to 10 cycles after its issue, and the release of a lock must not overtake it.
_DRAIN_CYCLES = 10
_LOCK_CYCLES = 4  # a lock operation holds the core's semaphore unit so long
_MOST_POINTERS, _MOST_SCALARS = 6, 8


def link_core(core: Core, placement: Placement, kernel: ElfImage, places: dict[str, int]) -> ElfImage:
    """The executable for `core`: the lock protocol at address 0, then `kernel`, whose function is `core.kernel`.

    `places` gives the kernel's data sections their addresses. InputError when something does not fit.
    """
    protocol = read_elf(write_object(assemble_program(protocol_text(core, placement))), START)
    stack = {STACK_SYMBOL: DATA_MEMORY_BASE}
    return link([protocol, kernel], places=places, symbols=stack, entry=START)


def core_image(where: TileId, image: ElfImage) -> CoreImage:
    """What a loader writes into the core's memories, in whole words."""
    pieces = [(PROGRAM_OFFSET + address, data) for address, data in image.code()]
    pieces += [(s.address - DATA_MEMORY_BASE, s.data) for s in image.segments if not s.is_code and s.data]
    return CoreImage(where, tuple((offset, data + bytes(-len(data) % WORD)) for offset, data in pieces))


def protocol_text(core: Core, placement: Placement) -> str:
    """Assembly text of the loop around the kernel."""
    pointers, scalars = len(core.arguments), len(core.scalars)
    if pointers > _MOST_POINTERS or scalars > _MOST_SCALARS:
        raise InputError(
            f"kernel {core.kernel} takes {pointers} pointers and {scalars} integers; "
            f"registers take {_MOST_POINTERS} and {_MOST_SCALARS}"
        )
    period = lcm(*(placement.fifos[name].fifo.depth for name in core.arguments))
    lines = [
        f".extern {core.kernel} {STACK_SYMBOL}",
        f".func {START}",
        f"    movxm sp, #{STACK_SYMBOL}",
        "    mova r16, #-1",  # what an acquire takes: waits for 1 and takes 1
        "    mova r17, #1",
    ]
    if core.rounds is None:
        lines += ["    .align 16", "again:", *_turns(core, placement, period), "    j #again", _nops(DELAY_SLOTS)]
        return "\n".join(lines) + "\n"
    whole, rest = divmod(core.rounds, period)
    if whole:
        lines += [
            f"    movxm r18, #{whole}",
            "    .align 16",
            "again:",
            *_turns(core, placement, period),
            "    add r18, r18, #-1",
        ]
        lines += ["    jnz r18, #again", _nops(DELAY_SLOTS)]
    lines += [*_turns(core, placement, rest), "    done", _nops(DELAY_SLOTS)]
    return "\n".join(lines) + "\n"


def _turns(core: Core, placement: Placement, count: int) -> Iterator[str]:
    """The bundles of the first `count` turns."""
    for number in range(count):
        yield from _turn(core, placement, number)


def _turn(core: Core, placement: Placement, number: int) -> Iterator[str]:
    """The bundles of one turn, with buffer `number` modulo depth of every FIFO."""
    fifos = {name: placement.fifos[name] for name in core.arguments}
    yield f"    // turn {number}"
    for name, placed in fifos.items():
        lock = placed.taken_by_core(name in core.outputs)
        yield from _lock_operation(f"acq #{OWN_LOCKS + lock}, r16")
    settings = [
        f"movxm p{register}, #{DATA_MEMORY_BASE + placed.offsets[number % placed.fifo.depth]:#x}"
        for register, placed in enumerate(fifos.values())
    ]
    settings += [f"movxm r{register}, #{value}" for register, value in enumerate(core.scalars)]
    early, late = settings[:-DELAY_SLOTS], settings[-DELAY_SLOTS:]
    yield from (f"    {setting}" for setting in early)
    yield from _call(core.kernel, late)
    yield _nops(_DRAIN_CYCLES)
    for name, placed in fifos.items():
        lock = placed.given_by_core(name in core.outputs)
        yield from _lock_operation(f"rel #{OWN_LOCKS + lock}, r17")


def _lock_operation(operation: str) -> Iterator[str]:
    yield f"    {operation}"
    yield _nops(_LOCK_CYCLES - 1)


# No-operations that widen a bundle of a jl or movxm, which has 6 bytes, by so many.
_WIDER = {0: "", 4: "nopb; ", 6: "nopb; nopa; ", 8: "nopb; nopa; nops; "}
# Bytes by which jl and the first setting have to grow, so that the return point is at a multiple of 16.
_GROWTH = {0: (0, 0), 4: (4, 0), 8: (8, 0), 12: (6, 6)}


def _call(function: str, settings: Sequence[str]) -> Iterator[str]:
    """A call with up to 5 settings (movxm) in its delay slots; it starts and returns at multiples of 16."""
    empty = DELAY_SLOTS - len(settings)
    jl, first = _GROWTH[-(6 * (1 + len(settings)) + 2 * empty) % 16]
    yield "    .align 16"
    yield f"    {_WIDER[jl]}jl #{function}"
    yield from ["    nop"] * empty
    yield from (f"    {_WIDER[first if i == 0 else 0]}{setting}" for i, setting in enumerate(settings))


def _nops(count: int) -> str:
    return f"    nop*{count}"
