"""Checks a modulo schedule against its loop: nothing that comes from a file or a solver is used unchecked."""

from __future__ import annotations

from xattn.compiler.dependence import Graph
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.reservation import ReservationTable


def broken_rule(graph: Graph, schedule: ModuloSchedule) -> str | None:
    """The first rule that the schedule breaks, as a clause; None for a legal schedule."""
    return _bad_form(graph, schedule) or _bad_dependence(graph, schedule) or _bad_place(graph, schedule)


def _bad_form(graph: Graph, schedule: ModuloSchedule) -> str | None:
    if schedule.interval < 1:
        return f"an interval of {schedule.interval}"
    if not len(schedule.cycles) == len(schedule.choices) == len(graph.operations):
        counts = f"{len(schedule.cycles)} cycles and {len(schedule.choices)} choices"
        return f"{counts} for {len(graph.operations)} operations"
    for node, (cycle, choice) in enumerate(zip(schedule.cycles, schedule.choices, strict=True)):
        if cycle < 0 or not 0 <= choice < len(graph.timings[node]):
            return f"operation {node} in cycle {cycle} by choice {choice} of {len(graph.timings[node])}"
    return None


def _bad_dependence(graph: Graph, schedule: ModuloSchedule) -> str | None:
    cycles = schedule.cycles
    for edge in graph.edges:
        if cycles[edge.target] + edge.distance * schedule.interval < cycles[edge.source] + edge.latency:
            return (
                f"operation {edge.target} in cycle {cycles[edge.target]} must wait {edge.latency} cycles for operation "
                f"{edge.source} in cycle {cycles[edge.source]}, {edge.distance} iterations before"
            )
    return None


def _bad_place(graph: Graph, schedule: ModuloSchedule) -> str | None:
    table = ReservationTable(schedule.interval)
    for node, (cycle, choice) in enumerate(zip(schedule.cycles, schedule.choices, strict=True)):
        timing = graph.timings[node][choice]
        if not table.fits(timing, cycle):
            return f"operation {node} finds slot {timing.slot} or a port taken in cycle {cycle % schedule.interval}"
        table.take(timing, cycle, node)
    return None
