"""Simulated time: processes that sleep until a cycle or wait for somebody, and the queue that wakes them in order.

A process is a generator. It yields a cycle to sleep until, or a `Wait` to sleep until somebody fires that. Nothing
happens in a cycle in which no process is awake, so idle cycles cost nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

from xattn.errors import XattnError


@dataclass(slots=True, eq=False)
class Wait:
    """What a process waits for: `text` says it in full when somebody asks, `what` in accounts.

    `idle`: waiting for work, which is no deadlock.
    """

    what: str
    text: Callable[[], str]
    idle: bool = False
    process: Process | None = None


Steps: TypeAlias = "Generator[int | Wait, None, None]"


class Process:
    """A generator in simulated time. `waiting` is what it waits for, `since` from which cycle on."""

    def __init__(self, name: str, steps: Steps):
        self.name, self.steps = name, steps
        self.waiting: Wait | None = None
        self.since = 0


class Scheduler:
    """The queue of processes by cycle; those of one cycle run in the order in which they were woken."""

    def __init__(self) -> None:
        self.now = 0
        self.processes: list[Process] = []
        self._queue: list[tuple[int, int, Process]] = []
        self._count = 0

    def start(self, name: str, steps: Steps) -> Process:
        """A new process that runs from now on."""
        process = Process(name, steps)
        self.processes.append(process)
        self._at(process, self.now)
        return process

    def stop(self, process: Process) -> None:
        """End a process where it is."""
        if process in self.processes:
            self.processes.remove(process)
            process.steps.close()
            if process.waiting is not None:
                process.waiting.process = None

    def fire(self, wait: Wait, at: int | None = None) -> None:
        """Let the process that waits for this go on in cycle `at` (default: now); nothing if none does any more."""
        if wait.process is not None:
            process, wait.process = wait.process, None
            self._at(process, self.now if at is None else at)

    def run(self, limit: int) -> None:
        """Run until nobody has anything left to do. XattnError when cycle `limit` is passed."""
        while self._queue:
            at, _, process = heapq.heappop(self._queue)
            if process not in self.processes:
                continue
            if at > limit:
                raise XattnError(f"still running in cycle {limit:,} ({process.name}); allow more cycles")
            self.now = at
            self._step(process)

    def _at(self, process: Process, cycle: int) -> None:
        assert cycle >= self.now, f"{process.name} woken in the past"
        self._count += 1
        heapq.heappush(self._queue, (cycle, self._count, process))

    def _step(self, process: Process) -> None:
        process.waiting = None
        try:
            wanted = next(process.steps)
        except StopIteration:
            self.processes.remove(process)
            return
        if isinstance(wanted, Wait):
            process.waiting, process.since = wanted, self.now
            wanted.process = process
        else:
            self._at(process, wanted)
