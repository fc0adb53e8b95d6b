"""What an instruction stream makes the shim's DMA channels do: tasks that start, waits, and BDs that are written.

Read off the operations alone, whoever wrote them: a push on a task queue starts a task, which runs a chain of BDs so
often as its repeat count says, and a wait takes one token of a channel. `replay` says which task each wait proves done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import ceil, prod

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, bd_offset, bd_words, decode_bd
from xattn.array.instructions import AddressPatch, BlockWrite, InstructionStream, MaskWrite, Sync, Write32
from xattn.array.registers import TileKind, register, split_address
from xattn.array.transfers import SHIM_ROW, ShimChannel
from xattn.array.words import U32_MAX, WORD

QUEUE_DEPTH = 4  # tasks that a shim channel's queue is known to hold
_SHIM = TileKind.SHIM
_BDS = 16
_CHANNELS = 2


@dataclass(frozen=True)
class HostBytes:
    """Bytes of a host buffer (by argument number) that a task can touch: from `first` to before `end`."""

    argument: int
    first: int
    end: int

    def overlaps(self, other: HostBytes) -> bool:
        """Whether they share a byte."""
        return self.argument == other.argument and self.first < other.end and other.first < self.end


@dataclass
class Task:
    """A task of a shim channel: when it starts (operation number), its chain of BDs, and what it moves.

    `ended` is the operation that proves it done: a wait for its token or for a later one of its channel, or, for data
    on their way into the array, the wait for the output that they were started for: before it, or, in a column whose
    first task is an output, behind it and before the next one. None: nothing proves it.
    """

    started: int
    channel: ShimChannel
    bds: tuple[int, ...]
    repeat: int
    token: bool
    moved: tuple[HostBytes, ...] = ()
    ended: int | None = None

    def is_pending(self, index: int) -> bool:
        """Whether it may still run when operation `index` is reached."""
        return self.started < index and (self.ended is None or self.ended >= index)


@dataclass(frozen=True)
class BdWrite:
    """Operation `index` writes registers of BD `bd` of the shim tile in `column`."""

    index: int
    column: int
    bd: int


@dataclass(frozen=True)
class TokenWait:
    """Operation `index` waits for a token of `channel`; `task` is the one that sends it, None if none does."""

    index: int
    channel: ShimChannel
    task: Task | None


@dataclass
class Replay:
    """A stream's tasks, waits and BD writes, in order."""

    tasks: list[Task] = field(default_factory=list)
    waits: list[TokenWait] = field(default_factory=list)
    writes: list[BdWrite] = field(default_factory=list)

    def on(self, channel: ShimChannel) -> list[Task]:
        """The tasks of a channel."""
        return [task for task in self.tasks if task.channel == channel]

    @property
    def channels(self) -> tuple[ShimChannel, ...]:
        """The channels that have tasks, in the order of their first ones."""
        return tuple(dict.fromkeys(task.channel for task in self.tasks))


def replay(stream: InstructionStream) -> Replay:
    """What the stream does in the shim tiles; operations elsewhere are passed over."""
    reader = _Reader()
    for index, operation in enumerate(stream.operations):
        match operation:
            case BlockWrite(address, data):
                reader.write(index, address, data)
            case Write32(address, value) if address <= U32_MAX:
                reader.write(index, address, (value,))
            case MaskWrite(address, value, mask) if address <= U32_MAX:
                reader.mask_write(index, address, value, mask)
            case AddressPatch(address, argument, offset) if address <= U32_MAX:
                reader.patch(index, address, argument, offset)
            case Sync():
                reader.sync(index, operation)
            case _:
                pass
    return reader.found


@cache
def _queues() -> dict[int, tuple[int, bool]]:
    """Offset of a task queue to (channel, whether it sends to the array)."""
    return {
        register(_SHIM, f"DMA_{'MM2S' if sends else 'S2MM'}_{number}_Task_Queue").offset: (number, sends)
        for sends in (False, True)
        for number in range(_CHANNELS)
    }


@cache
def _bd_at() -> dict[int, int]:
    """Offset of each BD register to the number of its BD."""
    words = bd_words(_SHIM)
    return {bd_offset(_SHIM, bd) + WORD * word: bd for bd in range(_BDS) for word in range(words)}


class _Reader:
    def __init__(self) -> None:
        self.found = Replay()
        self.words: dict[tuple[int, int], int] = {}  # (column, offset) of BD registers
        self.patched: dict[tuple[int, int], tuple[int, int]] = {}  # (column, BD): argument, offset

    def write(self, index: int, address: int, data: tuple[int, ...]) -> None:
        place = split_address(address)
        if place.row != SHIM_ROW:
            return
        touched: dict[int, None] = {}
        for number, word in enumerate(data):
            offset = place.offset + WORD * number
            if (bd := _bd_at().get(offset)) is not None:
                self.words[place.column, offset] = word
                touched[bd] = None
            elif offset in _queues():
                self._start(index, place.column, offset, word)
        for bd in touched:
            self.patched.pop((place.column, bd), None)
            self.found.writes.append(BdWrite(index, place.column, bd))

    def mask_write(self, index: int, address: int, value: int, mask: int) -> None:
        place = split_address(address)
        if place.row == SHIM_ROW and place.offset in _bd_at():
            before = self.words.get((place.column, place.offset), 0)
            self.write(index, address, (before & ~mask | value & mask,))

    def patch(self, index: int, address: int, argument: int, offset: int) -> None:
        place = split_address(address)
        bd = _bd_at().get(place.offset)
        if place.row == SHIM_ROW and bd is not None:
            self.patched[place.column, bd] = argument, offset
            self.found.writes.append(BdWrite(index, place.column, bd))

    def _start(self, index: int, column: int, offset: int, word: int) -> None:
        number, sends = _queues()[offset]
        channel = ShimChannel(column, number, sends)
        fields = register(_SHIM, f"DMA_{channel.name}_Task_Queue").decode(word)
        chain = tuple(self._chain(column, fields["Start_BD_ID"]))
        repeat = fields["Repeat_Count"] + 1
        moved = tuple(self._moved(column, chain, repeat))
        task = Task(index, channel, chain, repeat, bool(fields["Enable_Token_Issue"]), moved)
        self.found.tasks.append(task)

    def _bd(self, column: int, number: int) -> BufferDescriptor:
        start = bd_offset(_SHIM, number)
        return decode_bd(_SHIM, tuple(self.words.get((column, start + WORD * n), 0) for n in range(bd_words(_SHIM))))

    def _chain(self, column: int, first: int) -> Iterator[int]:
        seen: set[int] = set()
        number: int | None = first
        while number is not None and number not in seen and number < _BDS:
            seen.add(number)
            yield number
            number = self._bd(column, number).next_bd

    def _moved(self, column: int, chain: tuple[int, ...], repeat: int) -> Iterator[HostBytes]:
        for number in chain:
            if (column, number) in self.patched:
                bd = self._bd(column, number)
                argument, offset = self.patched[column, number]
                first = offset + bd.address
                yield HostBytes(argument, first, first + WORD * (_last_word(bd, repeat) + 1))

    def sync(self, index: int, sync: Sync) -> None:
        if sync.row != SHIM_ROW or sync.channel >= _CHANNELS:
            return
        for column in range(sync.column, sync.column + sync.columns):
            channel = ShimChannel(column, sync.channel, sync.to_array)
            pending = [task for task in self.found.on(channel) if task.ended is None]
            task = next((task for task in pending if task.token), None)
            self.found.waits.append(TokenWait(index, channel, task))
            if task is not None:
                for earlier in pending[: pending.index(task) + 1]:  # a channel does its tasks in order
                    earlier.ended = index
                if not channel.to_array:
                    self._end_inputs(index, task)

    def _end_inputs(self, index: int, output: Task) -> None:
        """An output that is done has used its inputs: those of its column, and of columns that have no outputs."""
        with_outputs = {task.channel.column for task in self.found.tasks if not task.channel.to_array}
        behind = self._behind_inputs(output)
        for task in self.found.tasks:
            column = task.channel.column
            near = column == output.channel.column or column not in with_outputs
            if task.ended is None and task.channel.to_array and near and task.started < behind:
                task.ended = index

    def _behind_inputs(self, output: Task) -> int:
        """The operation from which on started inputs are not those of `output`.

        Where a stream starts an output first and its inputs after it, that is the next output of the channel.
        """
        column = output.channel.column
        first = next((task for task in self.found.tasks if task.channel.column == column), output)
        if first.channel.to_array:
            return output.started
        later = (task.started for task in self.found.on(output.channel) if task.started > output.started)
        return next(later, U32_MAX)


def _last_word(bd: BufferDescriptor, repeat: int) -> int:
    """The number of the farthest word that the BD can reach in so many runs, counted from its address."""
    if not bd.length:
        return -1
    dimensions = [*bd.dimensions, Dimension()] if not bd.dimensions or bd.dimensions[-1].wrap else [*bd.dimensions]
    inner = prod(dimension.wrap or 1 for dimension in dimensions[:-1])
    wraps = [*(dimension.wrap or 1 for dimension in dimensions[:-1]), ceil(bd.length / inner)]
    inside = sum((wrap - 1) * dimension.step for wrap, dimension in zip(wraps, dimensions, strict=True))
    return inside + (min(repeat, bd.iteration.count) - 1) * bd.iteration.step
