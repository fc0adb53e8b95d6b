"""A section of the program in time: which operation is issued in which cycle, and how long registers hold values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from xattn.compiler.control import Section
from xattn.compiler.dependence import Graph
from xattn.compiler.ir import Choice, Location, Operation
from xattn.compiler.machine import LocationAccess, OperationTiming
from xattn.compiler.modulo import ModuloSchedule

Span = tuple[Location, int, int]  # storage leaf, first and last cycle in which it holds a value


@dataclass(frozen=True)
class Issue:
    """One operation issued in one cycle of a section."""

    cycle: int
    operation: Operation
    choice: Choice
    timing: OperationTiming


class ScheduledSection(ABC):
    """A section with its schedule. `early`: a register counts as taken as soon as a write to it is issued."""

    section: Section
    graph: Graph
    length: int
    early: bool = True
    loop_first: int = 0  # bundles of a hardware loop within the section
    loop_last: int = 0

    @property
    @abstractmethod
    def issues(self) -> Iterable[Issue]:
        """Everything that is issued, in no particular order."""

    @abstractmethod
    def spans(self, live_in: set[Location], live_out: set[Location]) -> Iterator[Span]:
        """When storage leaves hold values, in cycles of the section."""

    @property
    @abstractmethod
    def cycles_of_loop(self) -> int:
        """Cycles of one call of a hardware loop, all its trips, until nothing of it is under way."""

    @property
    def drained(self) -> int:
        """Cycles after the section's end until nothing of it is under way."""
        return max([0, *(issue.cycle + issue.timing.drained - self.length for issue in self.issues)])


def versions(
    graph: Graph, cycles: list[int], choices: list[int], live_in: set[Location], early: bool
) -> Iterator[tuple[Location, int, int, bool, bool]]:
    """(leaf, first cycle, last cycle, from outside, last version) for every value of every leaf, in program order."""
    current: dict[Location, tuple[int, int, bool]] = dict.fromkeys(live_in, (0, 0, True))
    for timings, cycle, choice in zip(graph.timings, cycles, choices, strict=True):
        timing = timings[choice]
        for read in timing.reads:
            first, last, outside = current.get(read.location, (0, 0, True))
            current[read.location] = (first, max(last, cycle + read.cycle - 1), outside)
        for write in timing.writes:
            if write.location in current:
                first, last, outside = current[write.location]
                yield write.location, first, last, outside, False
            current[write.location] = (*_written(write, cycle, early), False)
    for location, (first, last, outside) in current.items():
        yield location, first, last, outside, True


def _written(write: LocationAccess, cycle: int, early: bool) -> tuple[int, int]:
    # over a bypass the new value is seen, and the old one lost, one cycle before it lands; until then the register is
    # its own even if nobody reads it later: another write must not land in the same cycle
    landing = cycle + write.cycle
    return (cycle + 1 if early else landing - (write.bypass is not None)), landing


class StraightSection(ScheduledSection):
    """A section whose operations are issued once a pass. A hardware loop's body may be one: a pass is an iteration."""

    def __init__(self, section: Section, graph: Graph, cycles: list[int], choices: list[int], length: int) -> None:
        self.section, self.graph, self.cycles, self.choices, self.length = section, graph, cycles, choices, length

    @property
    def issues(self) -> Iterable[Issue]:
        """One for each operation."""
        for operation, timings, cycle, choice in zip(
            self.graph.operations, self.graph.timings, self.cycles, self.choices, strict=True
        ):
            yield Issue(cycle, operation, operation.choices[choice], timings[choice])

    @property
    def cycles_of_loop(self) -> int:
        """All trips, one after the other."""
        assert self.section.loop is not None
        return self.length * self.section.loop.trips + self.drained

    def lengthen(self, cycles: int) -> None:
        """Wait at the end."""
        self.length += cycles

    def delay(self, cycles: int) -> None:
        """Wait at the start."""
        self.cycles = [cycle + cycles for cycle in self.cycles]
        self.length += cycles

    def spans(self, live_in: set[Location], live_out: set[Location]) -> Iterator[Span]:
        """From the section's start or the write, to the last read or the section's end."""
        end = self.length - 1
        for location, first, last, _, is_last in versions(self.graph, self.cycles, self.choices, live_in, self.early):
            stays = is_last and location in live_out
            yield location, min(first, end), end if stays else min(max(first, last), end)


class PipelinedLoop(ScheduledSection):
    """A hardware loop whose iterations overlap: prologue, the loop itself, epilogue.

    `instead`: what the loop would be otherwise, without overlap or with another schedule. `is_known`: the schedule was
    not searched for but known beforehand.
    """

    def __init__(
        self,
        section: Section,
        graph: Graph,
        schedule: ModuloSchedule,
        instead: ScheduledSection | None = None,
        is_known: bool = False,
    ) -> None:
        assert section.loop is not None
        self.section, self.graph, self.schedule, self.early = section, graph, schedule, False
        self.instead, self.is_known = instead, is_known
        self.ahead = schedule.stages - 1  # iterations that start before the loop proper
        self.rounds = section.loop.trips - self.ahead
        interval = schedule.interval
        self.loop_first, self.loop_last = self.ahead * interval, (self.ahead + 1) * interval - 1
        done = max(c + t[k].drained for c, k, t in zip(schedule.cycles, schedule.choices, graph.timings, strict=True))
        self.length = max(self.loop_last + 1, self.ahead * interval + done)

    @property
    def cycles_of_loop(self) -> int:
        """Prologue, epilogue and the rounds between them."""
        return self.length + (self.rounds - 1) * self.schedule.interval

    @property
    def gain(self) -> int:
        """Cycles that the kernel saves by this against what would be there instead."""
        assert self.instead is not None
        return (self.instead.cycles_of_loop - self.cycles_of_loop) * self.section.calls

    @property
    def room(self) -> int:
        """Bundles that this takes more than what would be there instead."""
        assert self.instead is not None
        return self.length - self.instead.length

    @cached_property
    def issues(self) -> list[Issue]:
        """Every iteration's operations up to the loop's end, and those of the last ones after it."""
        found = []
        interval, schedule = self.schedule.interval, self.schedule
        for iteration in range(self.ahead + 1):
            for operation, timings, cycle, choice in zip(
                self.graph.operations, self.graph.timings, schedule.cycles, schedule.choices, strict=True
            ):
                at = iteration * interval + cycle
                found.append(Issue(at, operation, operation.choices[choice], timings[choice]))
        return found

    def spans(self, live_in: set[Location], live_out: set[Location]) -> Iterator[Span]:
        """Values of one iteration, repeated for all that are under way; carried values stay throughout."""
        end = self.length - 1
        for location, first, last, outside, is_last in versions(
            self.graph, self.schedule.cycles, self.schedule.choices, set(live_in), self.early
        ):
            if outside or location in live_in or (is_last and location in live_out):
                yield location, 0, end
                continue
            for iteration in range(self.ahead + 1):
                shift = iteration * self.schedule.interval
                yield location, min(first + shift, end), min(max(first, last) + shift, end)
