"""A core in the array: the core simulator, started and stopped by its control register, waiting at real locks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xattn.array.registers import register
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES, PROGRAM_MEMORY_BYTES
from xattn.sim.array.context import Activity, Context
from xattn.sim.array.events import Process, Steps
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.locks import Lock
from xattn.sim.array.memory import SharedView
from xattn.sim.array.switch import Place
from xattn.sim.array.tile import Tile
from xattn.sim.core import Core, Result
from xattn.sim.findings import Kind, Severity, SimulationError

if TYPE_CHECKING:
    from xattn.sim.segments import Effort

Used = Callable[[], "list[tuple[int, int]]"]
CORE_CYCLES = 1 << 40  # unless it is said, the array's own limit ends a run, not the core's


@dataclass
class CoreActivity(Activity):
    """What a core did in a run: also how many lock operations."""

    lock_operations: int = 0


class TileCore:
    """The core of a core tile: what it sees of memory, and `lock_of(number)` for its instructions' lock numbers.

    `used()` lists what of its memory DMA and loaded data take; the stack must not grow into that. `max_cycles` is how
    long it may execute, all runs together. `effort`: what it does again and again between lock operations is run as
    native code, once so much has been interpreted.
    """

    def __init__(
        self,
        place: Place,
        context: Context,
        view: SharedView,
        lock_of: Callable[[int], Lock],
        used: Used,
        strict: bool,
        max_cycles: int = CORE_CYCLES,
        effort: Effort | None = None,
    ):
        # compilers read old values on purpose while new ones are on their way
        self.core = Core(memory=view.memory, strict=strict, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE})
        self.segments = None if effort is None else self.core.leap(effort)
        self._view, self._lock_of, self._used, self._max_cycles = view, lock_of, used, max_cycles
        self.place = place
        self.name = f"core ({place[0]},{place[1]})"
        self.activity = CoreActivity()
        self.ended: Result | None = None
        self._context = context
        self._program = bytearray(PROGRAM_MEMORY_BYTES)
        self._written = bytearray(PROGRAM_MEMORY_BYTES)
        self.process: Process | None = None

    def load_program(self, offset: int, data: bytes) -> None:
        """Put words into program memory; they count from the core's next start on."""
        self._program[offset : offset + len(data)] = data
        self._written[offset : offset + len(data)] = b"\1" * len(data)

    def control(self, tile: Tile) -> None:
        """Follow the core's control register: run when it is enabled and not in reset."""
        entry = register(tile.kind, "Core_Control")
        fields = entry.decode(tile.registers[entry.offset])
        runs = bool(fields["Enable"]) and not fields["Reset"]
        if self.process is not None and not runs:
            self._context.scheduler.stop(self.process)
            self.process = None
        elif self.process is None and runs:
            self._load()
            self.ended = None
            self.process = self._context.scheduler.start(self.name, self._run())

    def _load(self) -> None:
        self.core.program.clear()
        at = 0
        while (at := self._written.find(1, at)) >= 0:
            end = self._written.find(0, at)
            end = PROGRAM_MEMORY_BYTES if end < 0 else end
            self.core.load(bytes(self._program[at:end]), at)
            at = end
        self.core.registers.reset()

    def _gap(self, pointer: int) -> tuple[int, int]:
        """The free memory around the stack pointer: what it may not leave without meeting buffers or data."""
        low, high = DATA_MEMORY_BASE, DATA_MEMORY_BASE + DATA_MEMORY_BYTES
        for first, end in self._used():
            if DATA_MEMORY_BASE + end <= pointer:
                low = max(low, DATA_MEMORY_BASE + end)
            elif DATA_MEMORY_BASE + first >= pointer:
                high = min(high, DATA_MEMORY_BASE + first)
        return low, high

    def _run(self) -> Steps:
        context = self._context
        base = context.now - self.core.cycle  # the core counts its own cycles
        resumed = context.now
        steps = self.core.steps(0, max_cycles=self._max_cycles)
        waited: int | None = None
        self.core.stack = None
        while True:
            self._view.enter()
            try:
                request = next(steps) if waited is None else steps.send(waited)
            except StopIteration as stop:
                self.ended = stop.value
                yield base + self.core.cycle
                self.activity.busy += context.span(self.name, "runs", resumed)
                return
            except SimulationError as error:
                raise ArrayError(f"{self.name}: {error}") from error
            finally:
                self._view.leave()
            if self.core.stack is None:
                self.core.stack = self._gap(int(self.core.registers["SP"]))
            yield base + request.cycle
            waited = 0
            lock = self._lock_of(request.number)
            self.activity.lock_operations += 1
            if not request.acquire:
                lock.release(request.value, self.name)
                continue
            wait = lock.acquire(request.value, self.name, context.timing.core_wakes)
            if wait is not None:
                began = context.now
                self.activity.busy += context.span(self.name, "runs", resumed)
                yield wait
                waited, resumed = context.now - began, context.now
                self.activity.wait(lock.name, context.span(self.name, f"waits for {lock.name}", began))
