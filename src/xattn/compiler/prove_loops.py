"""Proves or improves every hardware loop of a compiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.dependence import Graph, build_graph
from xattn.compiler.interval_bounds import port_bound, recurrence_bound, slot_bound
from xattn.compiler.known import KnownSchedule, loop_key
from xattn.compiler.lifetimes import Lifetimes, RegisterLimits
from xattn.compiler.liveness import analyse
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.prove import BestInterval, best_interval
from xattn.compiler.scheduled import PipelinedLoop, ScheduledSection, StraightSection

Progress = Callable[[int, int, str], None]  # loops done, loops in all, what is being done


@dataclass(frozen=True)
class LoopProof:
    """What is known of one hardware loop. Cycles are those of one call of the loop, prologue and epilogue included."""

    section: str
    name: str
    line: int
    trips: int
    is_known: bool  # it has a schedule from a file
    resource_minimum: int
    recurrence_minimum: int
    cycles: int
    best_cycles: int
    best: BestInterval
    graph: Graph = field(repr=False)

    @property
    def is_shorter(self) -> bool:
        """Whether the best schedule makes the loop end sooner, not only its interval shorter."""
        return self.best_cycles < self.cycles

    @property
    def entry(self) -> KnownSchedule:
        """For the file of known schedules."""
        return KnownSchedule.of(self.name, self.graph, self.best.schedule, self.best.argument)


def prove_loops(
    kernel: CompiledKernel, *, time_limit_s: float = 60.0, progress: Progress = lambda *_: None
) -> list[LoopProof]:
    """A proof for each hardware loop, in program order. `time_limit_s`: deterministic seconds for each loop.

    InputError when a loop needs a search and OR-Tools is missing. Equal loops are searched once.
    """
    live = analyse([scheduled.section for scheduled in kernel.sections])
    loops = [scheduled for scheduled in kernel.sections if scheduled.section.loop is not None]
    known: dict[object, BestInterval] = {}
    found = []
    for done, scheduled in enumerate(loops):
        loop = scheduled.section.loop
        assert loop is not None
        graph, now = build_graph(scheduled.section.operations, loop), schedule_of(scheduled)
        limits = RegisterLimits.of_section(scheduled.section, live)
        key = (loop_key(graph), _free(graph, limits), loop.trips, now.interval)
        if key not in known:

            def tell(what: str, place: int = done, name: str = loop.name) -> None:
                progress(place, len(loops), f"{name}: {what}")

            tell("bounds")
            known[key] = best_interval(
                graph, now, limits=limits, most_stages=loop.trips, time_limit_s=time_limit_s, progress=tell
            )
        found.append(_proof(scheduled, graph, known[key]))
    return found


def _free(graph: Graph, limits: RegisterLimits) -> tuple[tuple[str, int], ...]:
    return tuple((file, rivals.free) for file, rivals in Lifetimes.of(graph).rivals(limits).items())


def _proof(scheduled: ScheduledSection, graph: Graph, best: BestInterval) -> LoopProof:
    section = scheduled.section
    assert section.loop is not None
    return LoopProof(
        section.name,
        section.loop.name,
        section.loop.line,
        section.loop.trips,
        isinstance(scheduled, PipelinedLoop) and scheduled.is_known,
        max(slot_bound(graph).interval, port_bound(graph).interval),
        recurrence_bound(graph).interval,
        scheduled.cycles_of_loop,
        (PipelinedLoop(section, graph, best.schedule) if best.is_improved else scheduled).cycles_of_loop,
        best,
        graph,
    )


def schedule_of(scheduled: ScheduledSection) -> ModuloSchedule:
    """The loop's schedule; iterations that do not overlap are one stage long."""
    if isinstance(scheduled, PipelinedLoop):
        return scheduled.schedule
    assert isinstance(scheduled, StraightSection)
    return ModuloSchedule(scheduled.length, list(scheduled.cycles), list(scheduled.choices))
