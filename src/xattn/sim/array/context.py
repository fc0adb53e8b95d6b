"""What every part of the simulated array shares: time, the figures that it costs, findings, and the record of spans."""

from __future__ import annotations

from dataclasses import dataclass, field

from xattn.sim.array.events import Scheduler
from xattn.sim.array.findings import ArrayFindings, ArrayKind
from xattn.sim.array.timing import ArrayTiming


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took from cycle `begin` to cycle `end`: on which track of the timeline, and what it was."""

    track: str
    name: str
    begin: int
    end: int


@dataclass
class Activity:
    """What a core or a DMA channel did in a run: cycles at work, and cycles waited by what for."""

    busy: int = 0
    waits: dict[str, int] = field(default_factory=dict)

    def wait(self, what: str, cycles: int) -> None:
        """Add to what was waited for."""
        if cycles > 0:
            self.waits[what] = self.waits.get(what, 0) + cycles

    @property
    def waited(self) -> int:
        """Cycles waited for anything."""
        return sum(self.waits.values())


@dataclass
class Context:
    """One array's time, figures and records. The current run goes from cycle `begin` to `end` (None: not over yet)."""

    timing: ArrayTiming
    findings: ArrayFindings
    scheduler: Scheduler = field(default_factory=Scheduler)
    spans: list[Span] = field(default_factory=list)
    begin: int = 0
    end: int | None = None

    @property
    def now(self) -> int:
        """The current cycle."""
        return self.scheduler.now

    def spent(self, begin: int) -> int:
        """The cycles from `begin` until now that belong to the current run."""
        end = self.now if self.end is None else min(self.now, self.end)
        return max(0, end - max(begin, self.begin))

    def span(self, track: str, name: str, begin: int) -> int:
        """Record what took from `begin` until now; the cycles of it that belong to the current run."""
        begin = max(begin, self.begin)
        if self.now > begin:
            self.spans.append(Span(track, name, begin, self.now))
        return self.spent(begin)

    def report(self, kind: ArrayKind, where: str, cause: str) -> None:
        """Report a finding of this cycle."""
        self.findings.report(kind, where, self.now, cause)
