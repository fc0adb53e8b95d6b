"""Host transfers as NPU instructions: program a shim BD, point it at a host buffer, start it, wait for it.

The operations and their order are those of mlir-aie's streams: block write of the BD, address patch, then, if the
transfer is waited for, the controller id that its token carries, then the push on the channel's task queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, Iteration, bd_offset, encode_bd
from xattn.array.instructions import AddressPatch, BlockWrite, MaskWrite, Operation, Sync, Write32
from xattn.array.registers import Register, TileKind, register, tile_address
from xattn.array.words import WORD

SHIM_ROW = 0
TOKEN_CONTROLLER = 0xF
HOST_BURST = 256
HOST_CACHE = 2
# The controller id field is 8 bits wide; upstream streams replace its lower 5, the width of a packet id.
_CONTROLLER_MASK = 0x1F << 8


@dataclass(frozen=True, slots=True)
class ShimChannel:
    """One DMA channel of a shim tile: `to_array` is True for MM2S (host to array), False for S2MM (array to host)."""

    column: int
    channel: int
    to_array: bool

    @property
    def name(self) -> str:
        """As in register names: MM2S_0, S2MM_1, …"""
        return f"{'MM2S' if self.to_array else 'S2MM'}_{self.channel}"

    def address(self, found: Register) -> int:
        """The array address of a register of this channel's tile."""
        return tile_address(self.column, SHIM_ROW, found.offset)


def host_bd(
    length: int,
    dimensions: tuple[Dimension, ...] = (),
    iteration: Iteration | None = None,
    next_bd: int | None = None,
) -> BufferDescriptor:
    """A shim BD for `length` words of host memory, with the burst length and cache bits that upstream uses.

    `next_bd`: the BD with which its task goes on.
    """
    return BufferDescriptor(
        length=length,
        dimensions=dimensions,
        iteration=iteration or Iteration(),
        next_bd=next_bd,
        burst=HOST_BURST,
        cache=HOST_CACHE,
    )


def program_bd(column: int, number: int, bd: BufferDescriptor, argument: int, offset: int = 0) -> list[Operation]:
    """Write `bd` as BD `number` of the shim tile in `column`, for the host buffer `argument` at byte `offset`."""
    kind = TileKind.SHIM
    start = tile_address(column, SHIM_ROW, bd_offset(kind, number))
    return [BlockWrite(start, encode_bd(kind, bd)), AddressPatch(start + WORD, argument, offset)]


def start(channel: ShimChannel, number: int, repeat: int = 1, token: bool = False) -> list[Operation]:
    """Push BD `number` on the channel's task queue, for `repeat` runs (1 to 256); with `token` it can be waited for."""
    queue = register(TileKind.SHIM, f"DMA_{channel.name}_Task_Queue")
    word = queue.encode(Enable_Token_Issue=int(token), Repeat_Count=repeat - 1, Start_BD_ID=number)
    push = Write32(channel.address(queue), word)
    if not token:
        return [push]
    control = register(TileKind.SHIM, f"DMA_{channel.name}_Ctrl")
    identify = MaskWrite(channel.address(control), control.encode(Controller_ID=TOKEN_CONTROLLER), _CONTROLLER_MASK)
    return [identify, push]


def wait(channel: ShimChannel, columns: int = 1) -> Sync:
    """Wait for one token of this channel in each of `columns` columns from the channel's on."""
    return Sync(channel.column, SHIM_ROW, channel.channel, channel.to_array, columns=columns)


def transfer(
    channel: ShimChannel,
    number: int,
    bd: BufferDescriptor,
    argument: int,
    offset: int = 0,
    repeat: int = 1,
    token: bool = False,
) -> list[Operation]:
    """`program_bd` and `start` for one transfer of host buffer `argument`, in upstream's order."""
    program = program_bd(channel.column, number, bd, argument, offset)
    return program + start(channel, number, repeat, token)
