"""Small configurations for the array simulator's tests, taken through their encoded forms, and a core program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xattn.array.buffer_descriptor import BufferDescriptor, LockUse
from xattn.array.configuration import (
    ChannelStart,
    Circuit,
    Configuration,
    CoreImage,
    LockValue,
    PlacedBd,
    ShimPort,
    TokenRoute,
    configure,
)
from xattn.array.design import TileId
from xattn.array.instructions import InstructionStream, Operation, read_instructions, write_instructions
from xattn.array.pdi import build_pdi, read_pdi, write_pdi
from xattn.array.transfers import ShimChannel, host_bd, transfer, wait
from xattn.isa import assemble_program
from xattn.sim.array.machine import Array
from xattn.sim.array.timing import ArrayTiming, published

PROGRAM = 0x20000
CORE_DATA = 0x70000
# The figures of one tile with all host costs taken away, so that expected cycles can be said in a test.
QUICK = replace(
    published(),
    shim_mm2s_cold=0,
    shim_mm2s_task=0,
    shim_s2mm_cold=0,
    shim_s2mm_task=0,
    shim_mm2s_percent=100,
    operation=1,
    push_idle=0,
    push_busy=0,
    token=0,
)


@dataclass
class Draft:
    """A configuration in the making."""

    cores: list[CoreImage] = field(default_factory=list)
    locks: list[LockValue] = field(default_factory=list)
    bds: list[PlacedBd] = field(default_factory=list)
    starts: list[ChannelStart] = field(default_factory=list)
    routes: list[Circuit | TokenRoute] = field(default_factory=list)
    ports: list[ShimPort] = field(default_factory=list)

    def program(self, tile: TileId, text: str, *data: tuple[int, bytes]) -> None:
        code = assemble_program(text).code
        self.cores.append(CoreImage(tile, ((PROGRAM, code + bytes(-len(code) % 4)), *data)))

    def bd(self, tile: TileId, number: int, **options) -> None:
        """`acquire`, `release`: (lock, value)."""
        uses = {name: LockUse(*options.pop(name)) for name in ("acquire", "release") if name in options}
        self.bds.append(PlacedBd(tile, number, BufferDescriptor(**uses, **options)))

    def circuit(self, *steps: tuple[tuple[int, int], str, str]) -> None:
        self.routes += [Circuit(TileId(*place), slave, master) for place, slave, master in steps]

    def shim(self, column: int, *ports: tuple[str, bool]) -> None:
        self.ports += [ShimPort(TileId(column, 0), port, to_array) for port, to_array in ports]
        self.routes.append(TokenRoute(TileId(column, 0)))

    def image(self) -> bytes:
        """The PDI of this configuration."""
        configuration = Configuration(
            *(tuple(part) for part in (self.cores, self.locks, self.bds, self.starts, self.routes, self.ports))
        )
        return write_pdi(build_pdi(configure(configuration)))

    def load(self, timing: ArrayTiming = QUICK, **options) -> Array:
        """A fresh array with this configuration, by way of the bytes of a PDI."""
        array = Array(timing=timing, **options)
        array.load(read_pdi(self.image()).cdo())
        return array


def stream_of(*operations: Operation | Sequence[Operation]) -> InstructionStream:
    """An instruction stream, by way of its bytes."""
    flat: list[Operation] = []
    for item in operations:
        flat += [item] if not isinstance(item, Sequence) else item
    return read_instructions(write_instructions(InstructionStream(tuple(flat))))


def send(column: int, number: int, words: int, argument: int, offset: int = 0, channel: int = 0, **options):
    """Host to array; BD options besides `repeat` and `token`."""
    return _transfer(ShimChannel(column, channel, True), number, words, argument, offset, options)


def fetch(column: int, number: int, words: int, argument: int, offset: int = 0, channel: int = 0, **options):
    """Array to host, with a token."""
    return _transfer(ShimChannel(column, channel, False), number, words, argument, offset, {"token": True, **options})


def done(column: int, channel: int = 0):
    """Wait for a token of array to host."""
    return wait(ShimChannel(column, channel, False))


def _transfer(channel: ShimChannel, number: int, words: int, argument: int, offset: int, options: dict):
    run = {name: options.pop(name) for name in ("repeat", "token") if name in options}
    return transfer(channel, number, host_bd(words, **options), argument, offset, **run)


def adder(words: int, inputs: Sequence[int], outputs: Sequence[int], work: int = 0, rounds: int | None = None) -> str:
    """A core program: out[i] = in[i] + 1 over buffers in turn; locks 0 free, 1 full of the input, 2, 3 of the output.

    `inputs`, `outputs`: byte offsets in the tile. `work`: idle turns (7 cycles each) on top. `rounds`: then DONE.
    """
    head = f"mova r16, #1\nmova r17, #-1\nmovxm r5, #{rounds or 1}\nnop*4\n.align 16\nagain:\n"
    turns = [
        _turn(words, n, source, target, work) for n, (source, target) in enumerate(zip(inputs, outputs, strict=True))
    ]
    tail = "j #again\nnop*5\n" if rounds is None else "add r5, r5, #-1\njnz r5, #again\nnop*5\ndone\nnop*5\n"
    return head + "".join(turns) + tail


def _turn(words: int, number: int, source: int, target: int, work: int) -> str:
    waste = f"movxm r0, #{work}\nnop*4\n.align 16\nidle{number}:\nadd r0, r0, #-1\njnz r0, #idle{number}\nnop*5\n"
    return f"""
        acq #49, r17
        nop*4
        acq #50, r17
        nop*8
        movxm p0, #{CORE_DATA + source}
        movxm p1, #{CORE_DATA + target}
        movxm r0, #{words}
        nop*4
        .align 16
        turn{number}:
        lda r1, [p0], #4
        nop*6
        add r1, r1, #1
        st r1, [p1], #4
        add r0, r0, #-1
        jnz r0, #turn{number}
        nop*5
        {waste if work else ""}
        nop*8
        rel #48, r16
        nop*4
        rel #51, r16
        nop*4
    """


def one_core(
    column: int = 0, row: int = 2, words: int = 64, depth: int = 2, draft: Draft | None = None, **options
) -> Draft:
    """Host → core (double-buffered) → host in one column, with the adder on the core."""
    draft = draft or Draft()
    tile, size = TileId(column, row), 4 * words
    inputs = [0x400 + n * size for n in range(depth)]
    outputs = [0x8000 + n * size for n in range(depth)]
    draft.program(tile, adder(words, inputs, outputs, **options))
    for lock, value in enumerate((depth, 0, depth, 0)):
        draft.locks.append(LockValue(tile, lock, value))
    for n in range(depth):
        after = (n + 1) % depth
        draft.bd(tile, n, length=words, address=inputs[n], acquire=(0, -1), release=(1, 1), next_bd=after)
        draft.bd(tile, 8 + n, length=words, address=outputs[n], acquire=(3, -1), release=(2, 1), next_bd=8 + after)
    draft.starts += [ChannelStart(tile, "S2MM_0", 0), ChannelStart(tile, "MM2S_0", 8)]
    up, down = range(1, row), range(row - 1, 0, -1)
    draft.circuit(
        ((column, 0), "South3", "North1"),
        *(((column, step), "South1", "North1") for step in up),
        ((column, row), "South1", "DMA0"),
        ((column, row), "DMA0", "South0"),
        *(((column, step), "North0", "South0") for step in down),
        ((column, 0), "North0", "South2"),
    )
    draft.shim(column, ("South3", True), ("South2", False))
    return draft
