"""The controller: executes an instruction stream, one operation after another, and waits for transfers' tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from xattn.array.instructions import (
    AddressPatch,
    BlockWrite,
    InstructionStream,
    MaskWrite,
    Noop,
    Operation,
    Preempt,
    Sync,
    Write32,
)
from xattn.array.registers import TileKind, split_address
from xattn.array.words import U32_MAX, WORD
from xattn.sim.array.context import Context
from xattn.sim.array.dma import Channel
from xattn.sim.array.events import Steps, Wait
from xattn.sim.array.findings import ArrayError, ArrayKind
from xattn.sim.array.memory import HostMemory
from xattn.sim.array.tile import Tile, parts

Token = tuple[int, int, bool, int]  # column, row, MM2S, channel
_HIGH_ADDRESS = 0xFFFF  # the bits of a shim BD's third word that continue the address


@dataclass
class Controller:
    """Runs streams on `tile_at(column, row)`; `channel_at` gives DMA channels, `token_route` says if tokens get out."""

    context: Context
    tile_at: Callable[[int, int], Tile]
    channel_at: Callable[[Tile, bool, int], Channel]
    token_route: Callable[[Tile, int], bool]
    operations: int = 0
    done: bool = True
    _tokens: Counter[Token] = field(default_factory=Counter)
    _awaited: dict[Token, Wait] = field(default_factory=dict)
    _next_push: int = 0

    name = "controller"

    def run(self, stream: InstructionStream, host: HostMemory) -> None:
        """Start executing a stream over these host buffers."""
        self.done, self.operations, self._next_push = False, 0, 0
        self.context.scheduler.start(self.name, self._run(stream.operations, host))

    def token(self, channel: Channel) -> None:
        """A channel has finished a task that issues a token."""
        self.context.scheduler.start(f"token of {channel.name}", self._deliver(channel))

    def _deliver(self, channel: Channel) -> Steps:
        yield self.context.now + self.context.timing.token
        key = (*channel.tile.place, channel.sends, channel.index)
        self._tokens[key] += 1
        if key in self._awaited:
            self.context.scheduler.fire(self._awaited.pop(key))

    def _run(self, operations: Sequence[Operation], host: HostMemory) -> Steps:
        context = self.context
        for number, operation in enumerate(operations):
            began = context.now
            yield context.now + context.timing.operation
            match operation:
                case Write32(address, value):
                    yield from self._write32(address, value)
                case BlockWrite(address, data):
                    self._place(address).write(split_address(address).offset, data)
                case MaskWrite(address, value, mask):
                    self._place(address).mask_write(split_address(address).offset, mask, value)
                case AddressPatch(address, argument, offset):
                    self._patch(address, argument, offset, host)
                case Sync():
                    yield from self._sync(operation)
                case Noop() | Preempt():
                    pass
                case _:
                    raise ArrayError(f"operation {number} is a {type(operation).__name__}, which is not simulated")
            context.span(self.name, f"{number}: {type(operation).__name__}", began)
            self.operations = number + 1
        self.done, context.end = True, context.now

    def _place(self, address: int) -> Tile:
        if address > U32_MAX:
            raise ArrayError(f"the instruction stream writes to {address:#x}, outside of the array")
        place = split_address(address)
        return self.tile_at(place.column, place.row)

    def _write32(self, address: int, value: int) -> Steps:
        tile, offset = self._place(address), split_address(address).offset
        part = parts(tile.kind).get(offset)
        if part is not None and part.kind == "queue":
            timing, now = self.context.timing, self.context.now
            if self._next_push > now:
                yield self._next_push
            idle = self.channel_at(tile, part.sends, part.number).idle
            self._next_push = self.context.now + (timing.push_idle if idle else timing.push_busy)
        tile.write(offset, (value,))

    def _patch(self, address: int, argument: int, offset: int, host: HostMemory) -> None:
        if argument >= len(host.buffers):
            raise ArrayError(
                f"the instruction stream uses host buffer {argument}, and {len(host.buffers)} were given (from 0 on)"
            )
        tile, place = self._place(address), split_address(address).offset
        low, high = (tile.registers.get(place + WORD * n, 0) for n in range(2))
        whole = (low | (high & _HIGH_ADDRESS) << 32) + host.buffers[argument].address + offset
        tile.write(place, (whole & U32_MAX, high & ~_HIGH_ADDRESS | whole >> 32 & _HIGH_ADDRESS))

    def _sync(self, sync: Sync) -> Steps:
        for column in range(sync.column, sync.column + sync.columns):
            for row in range(sync.row, sync.row + sync.rows):
                tile = self.tile_at(column, row)
                channel = self.channel_at(tile, sync.to_array, sync.channel)
                self._check_token(tile, channel)
                key = (column, row, sync.to_array, sync.channel)
                while not self._tokens[key]:
                    wait = self._awaited[key] = Wait("a token", partial("a token of {}".format, channel.name))
                    yield wait
                self._tokens[key] -= 1

    def _check_token(self, tile: Tile, channel: Channel) -> None:
        if tile.kind is TileKind.SHIM and not self.token_route(tile, channel.controller_id):
            cause = f"tokens carry id {channel.controller_id}, and no packet route brings that from Tile_Ctrl to South0"
            self.context.report(ArrayKind.NO_TOKEN, channel.name, cause)
