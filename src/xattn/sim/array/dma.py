"""DMA channels: a queue of tasks, each a chain of BDs, each a lock to take, words to move and a lock to give back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from xattn.array.buffer_descriptor import BufferDescriptor, LockUse
from xattn.array.registers import Register, TileKind, register
from xattn.sim.array.addressing import Offsets, word_offsets
from xattn.sim.array.context import Activity, Context
from xattn.sim.array.events import Process, Wait
from xattn.sim.array.findings import ArrayError, ArrayKind
from xattn.sim.array.locks import Lock
from xattn.sim.array.memory import MemoryChannel, WordMemory, Words
from xattn.sim.array.stream import Sink
from xattn.sim.array.switch import Leg, Route
from xattn.sim.array.tile import Tile, count_of

MEM_TILE_BDS = 24  # even channels of a mem tile use its first 24 BDs, odd ones the others
PACKET_HEADER_ROW, PACKET_HEADER_COLUMN, PACKET_HEADER_KIND, PARITY = 16, 21, 12, 31


@dataclass(frozen=True, slots=True)
class Task:
    """What is pushed on a task queue: the first BD, how often the chain runs, whether a token follows, and when."""

    bd: int
    repeat: int
    token: bool
    pushed: int


STREAM = "its stream"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A finished task of a shim channel: words moved from or to host buffers (by number), and its cycles."""

    channel: str
    column: int
    buffers: tuple[int, ...]
    words: int
    pushed: int
    began: int
    ended: int


@dataclass
class ChannelActivity(Activity):
    """What a DMA channel did in a run: also words, BDs and tasks completed."""

    words: int = 0
    bds: int = 0
    tasks: int = 0
    transfers: list[Transfer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """The memory of one BD: words by number, the number of the BD's first word, and which host buffer it is."""

    memory: WordMemory
    first: int
    name: str
    buffer: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a channel reaches outside of its tile."""

    route: Callable[[int, int | None], Route]  # of this tile's MM2S channel, for a packet id
    sink: Callable[[Leg], Sink]
    lock: Callable[[int], Lock]  # by the number that BDs use
    target: Callable[[int, Offsets, str], Target]  # by the address that BDs use; who asks
    arbiter: Callable[[tuple[tuple[int, int], int]], Lock]
    ddr: Callable[[bool], MemoryChannel]
    token: Callable[[Channel], None]


Moving = Generator["int | Wait", None, None]


class Channel:
    """One DMA channel of a tile; `sends` is True for MM2S (memory to stream)."""

    def __init__(self, tile: Tile, sends: bool, index: int, around: Surroundings, context: Context):
        self.tile, self.sends, self.index = tile, sends, index
        self.label = f"{'MM2S' if sends else 'S2MM'} {index}"
        self.name = f"DMA {self.label} of {tile.name}"
        self.sink = Sink(self.name, context.scheduler)
        self.queue: deque[Task] = deque()
        self.activity = ChannelActivity()
        self.running: Task | None = None
        self.current: int | None = None  # the BD at work
        self._around, self._context, self._timing = around, context, context.timing
        self.process: Process | None = None
        self._idle: Wait | None = None
        self._in_reset = False
        self._cold = tile.kind is TileKind.SHIM
        self._buffers: set[int] = set()  # host buffers that the task uses
        self._held: list[Lock] = []  # arbiters of a packet that is not complete

    # registers

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing is queued."""
        return self.running is None and not self.queue

    def push(self, word: int) -> None:
        """A write to the task queue."""
        fields = self._register("Task_Queue" if self.tile.kind is TileKind.SHIM else "Start_Queue").decode(word)
        task = Task(
            fields["Start_BD_ID"], fields["Repeat_Count"] + 1, bool(fields["Enable_Token_Issue"]), self._context.now
        )
        depth = self._timing.queue_depth
        if len(self.queue) >= depth + (self.running is None):  # an idle channel takes the first one out at once
            cause = f"BD {task.bd} is pushed while {depth} tasks wait, and the queue holds no more"
            self._report(ArrayKind.TASK_QUEUE, f"{cause}: wait for an earlier transfer first")
        self.queue.append(task)
        self._start()

    def control(self, word: int) -> None:
        """A write to the control register. Only reset counts: real configurations leave the enable bit alone."""
        fields = self._register("Ctrl").decode(word)
        for name in ("Enable_Out_of_Order", "FoT_Mode", "Compression_Enable", "Decompression_Enable"):
            if fields.get(name):
                raise ArrayError(f"{self.name}: {name} is set, which is not simulated")
        self._in_reset = bool(fields.get("Reset"))
        if self._in_reset:
            self._reset()
        self._start()

    def _reset(self) -> None:
        if self.process is not None:
            self._context.scheduler.stop(self.process)
        for arbiter in self._held:
            arbiter.release(1, self.name)
        self._held.clear()
        self.process, self._idle, self.running, self.current = None, None, None, None
        self.queue.clear()

    @property
    def controller_id(self) -> int:
        """The packet id that the channel's tokens carry."""
        entry = self._register("Ctrl")
        return entry.decode(self.tile.registers.get(entry.offset, 0))["Controller_ID"]

    def uses(self) -> set[int]:
        """The BDs of the task that runs and of those in the queue."""
        tasks = [*self.queue, *([self.running] if self.running else [])]
        return {number for task in tasks for number in self.tile.chain(task.bd)}

    def _start(self) -> None:
        if self._in_reset or not self.queue:
            return
        if self.process is None:
            self.process = self._context.scheduler.start(self.name, self._run())
        elif self._idle is not None:
            idle, self._idle = self._idle, None
            self._context.scheduler.fire(idle)

    def _register(self, name: str) -> Register:
        return register(self.tile.kind, f"DMA_{'MM2S' if self.sends else 'S2MM'}_{self.index}_{name}")

    def _report(self, kind: ArrayKind, cause: str) -> None:
        self._context.report(kind, self.name, cause)

    # tasks and BDs

    def _run(self) -> Moving:
        while True:
            while not self.queue:
                self.running = None
                self._idle = Wait("a task", lambda: "a task", idle=True)
                yield self._idle
            self.running = task = self.queue.popleft()
            began = self._context.now
            yield self._context.now + self._timing.channel_start + self._timing.bd_load + self._task_cost()
            self.activity.busy += self._context.spent(began)
            moved = self.activity.words
            self._buffers.clear()
            for _ in range(task.repeat):
                yield from self._chain(task.bd)
            self.activity.tasks += 1
            if self.tile.kind is TileKind.SHIM:
                words, now = self.activity.words - moved, self._context.now
                used = tuple(sorted(self._buffers))
                self.activity.transfers.append(
                    Transfer(self.label, self.tile.place[0], used, words, task.pushed, began, now)
                )
            if not self.queue:
                self.running = None
            if task.token:
                self._around.token(self)

    def _task_cost(self) -> int:
        if self.tile.kind is not TileKind.SHIM:
            return 0
        cold, self._cold = self._cold, False
        if self.sends:
            return self._timing.shim_mm2s_task + (self._timing.shim_mm2s_cold if cold else 0)
        return self._timing.shim_s2mm_task + (self._timing.shim_s2mm_cold if cold else 0)

    def _chain(self, first: int) -> Moving:
        number: int | None = first
        while number is not None:
            bd = self._load(number)
            self.current = number
            yield from self._acquire(bd.acquire)
            began = self._context.now
            offsets = _offsets(bd)
            target = self._target(number, bd, offsets)
            waited = self.activity.waited
            yield from (self._send if self.sends else self._receive)(bd, target, target.first + offsets)
            self.activity.busy += self._context.spent(began) - (self.activity.waited - waited)
            self.activity.words += bd.length
            self.activity.bds += 1
            self._context.span(self.name, f"BD {number}: {bd.length} words", began)
            if bd.release is not None:
                yield self._context.now + self._timing.lock_operation
                self._around.lock(bd.release.lock).release(bd.release.value, self.name, by_dma=True)
            number = bd.next_bd
            if number is not None:
                yield self._context.now + self._timing.bd_chain
        self.current = None

    def _load(self, number: int) -> BufferDescriptor:
        tile = self.tile
        if number >= count_of(tile.kind, "bd"):
            self._report(ArrayKind.BD_INVALID, f"BD {number} does not exist")
        if tile.kind is TileKind.MEM and number // MEM_TILE_BDS != self.index % 2:
            which = "even channels use BDs 0 to 23, odd ones 24 to 47"
            self._report(ArrayKind.BD_CHANNEL, f"BD {number} cannot be used by channel {self.index}: {which}")
        bd = tile.bd(number)
        if not bd.valid:
            self._report(ArrayKind.BD_INVALID, f"BD {number} is started, but its Valid_BD bit is not set")
        if bd.compression:
            raise ArrayError(f"{self.name}: BD {number} compresses, which is not simulated")
        tile.count_iteration(number, bd)
        return bd

    def _acquire(self, use: LockUse | None) -> Moving:
        if use is None:
            return
        lock = self._around.lock(use.lock)
        began = self._context.now
        wait = lock.acquire(use.value, self.name)
        if wait is not None:
            yield wait
            self.activity.wait(lock.name, self._context.span(self.name, f"waits for {lock.name}", began))
        yield self._context.now + self._timing.lock_operation

    def _target(self, number: int, bd: BufferDescriptor, offsets: Offsets) -> Target:
        who = f"BD {number} of {self.name}"
        target = self._around.target(bd.address, offsets, who)
        if target.buffer is not None:
            self._buffers.add(target.buffer)
        numbers = target.first + offsets
        if self.sends:
            undefined = target.memory.undefined(numbers[offsets >= 0])
            if len(undefined):
                where = f"the first is word {int(undefined[0])} of {target.name}"
                self._report(ArrayKind.DMA_UNDEFINED, f"BD {number} sends words that nobody wrote; {where}")
        return target

    # words

    def _wait(self, wait: Wait, what: str) -> Moving:
        began = self._context.now
        yield wait
        self.activity.wait(STREAM, self._context.span(self.name, what, began))

    def _receive(self, bd: BufferDescriptor, target: Target, numbers: Offsets) -> Moving:
        shim = self.tile.kind is TileKind.SHIM
        piece = self._timing.ddr_burst if shim else max(bd.length, 1)
        taken = promised = 0
        while taken < bd.length:
            if promised < min(taken + piece, bd.length):
                self.sink.promise(min(taken + piece, bd.length) - promised)
                promised = min(taken + piece, bd.length)
            found = self.sink.take(promised - taken)
            if found is None:
                left = bd.length - taken
                wait = Wait(STREAM, partial("{} more words on its stream".format, left))
                self.sink.when_sent(wait)
                yield from self._wait(wait, "waits for words")
                continue
            arrival, data = found
            begin = max(self._context.now, arrival)
            self.activity.wait(STREAM, begin - max(self._context.now, self._context.begin))
            end = begin + len(data)
            if shim:
                end = begin + -(-len(data) * self._timing.shim_s2mm_percent // 100)
                end = max(end, self._around.ddr(False).reserve(4 * len(data), begin))
            yield end
            target.memory.write(numbers[taken : taken + len(data)], data)
            taken += len(data)
        yield self._context.now + self._timing.memory_latency

    def _send(self, bd: BufferDescriptor, target: Target, numbers: Offsets) -> Moving:
        route = self._around.route(self.index, bd.packet.id if bd.packet else None)
        yield from self._find_route(route)
        if bd.packet is not None and not self._held:
            yield from self._take_arbiters(route)
        yield self._context.now + self._timing.memory_latency
        if bd.packet is not None:
            yield from self._push(route, self._header(bd), None)
        sent = 0
        while sent < bd.length:
            part = numbers[sent:]
            room = yield from self._room(route)
            count = min(room, len(part), self._timing.ddr_burst if self.tile.kind is TileKind.SHIM else len(part))
            yield from self._push(route, target.memory.read(part[:count]), sent)
            sent += count
        if self._held and not bd.tlast_suppress:
            for arbiter in self._held:
                arbiter.release(1, self.name)
            self._held.clear()

    def _find_route(self, route: Route) -> Moving:
        lost = [leg.end for leg in route.legs if leg.channel is None]
        if lost:
            self._report(ArrayKind.UNROUTED, f"its stream also goes to {', '.join(lost)}, where nobody takes it")
        if not route.legs or lost:
            if not route.legs:
                self._report(ArrayKind.UNROUTED, "no switch sends its stream on")
            yield Wait(STREAM, lambda: "somebody to take its stream, which no route brings to an S2MM channel")

    def _take_arbiters(self, route: Route) -> Moving:
        for key in route.arbiters:  # in a fixed order, so that two packets never wait for each other
            arbiter = self._around.arbiter(key)
            wait = arbiter.acquire(-1, self.name)
            if wait is not None:
                yield from self._wait(wait, "waits for another packet")
            self._held.append(arbiter)

    def _room(self, route: Route) -> Generator[int | Wait, None, int]:
        while True:
            ends = [(self._around.sink(leg), leg.capacity) for leg in route.legs]
            room = min(sink.room(capacity) for sink, capacity in ends)
            if room > 0:
                return room
            full = [sink for sink, capacity in ends if sink.room(capacity) <= 0]
            names = ", ".join(sink.name for sink in full)
            wait = Wait(STREAM, partial("room in the stream to {}".format, names))
            for sink in full:
                sink.when_room(wait)
            yield from self._wait(wait, "waits for room")

    def _push(self, route: Route, data: Words, sent: int | None) -> Moving:
        """Send words at once into the FIFOs of all ends; `sent` words of the BD before (None: a packet header)."""
        now = self._context.now
        end = now + len(data)
        if self.tile.kind is TileKind.SHIM and sent is not None:
            rate = self._timing.shim_mm2s_percent
            end = now + -(-(sent + len(data)) * rate // 100) - -(-sent * rate // 100)
            end = max(end, self._around.ddr(True).reserve(4 * len(data), now))
        late = end - now - len(data)
        for leg in route.legs:
            if sent is not None or leg.header:
                self._around.sink(leg).push(now + late + leg.latency, data)
        yield end

    def _header(self, bd: BufferDescriptor) -> Words:
        """The word in front of a packet (AM020): id, kind, source tile, odd parity in the highest bit."""
        assert bd.packet is not None
        column, row = self.tile.place
        word = bd.packet.id | bd.packet.kind << PACKET_HEADER_KIND
        word |= row << PACKET_HEADER_ROW | column << PACKET_HEADER_COLUMN
        word |= (bin(word).count("1") + 1) % 2 << PARITY
        return np.array([word], np.uint32)


@lru_cache(maxsize=1024)
def _offsets(bd: BufferDescriptor) -> Offsets:
    return word_offsets(bd, bd.iteration.current)
