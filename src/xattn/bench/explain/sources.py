"""Where an address comes from: source lines, arrays and loops of a compiled kernel, or symbols of an ELF file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xattn.bench.explain.bounds import Dependence, recurrence_minimum
from xattn.bench.explain.execution import Place
from xattn.compiler.compile import CompiledKernel
from xattn.compiler.dependence import Graph, build_graph
from xattn.compiler.interval_bounds import slot_bound
from xattn.compiler.scheduled import PipelinedLoop, ScheduledSection
from xattn.isa.timing import DATA_MEMORY_BYTES, FETCH_BYTES

_LONGEST = 4096  # cycles: no iteration is longer
_BANK_BYTES = DATA_MEMORY_BYTES // 4


@dataclass(frozen=True)
class LoopSource:
    """A loop as the compiler knows it. `body`: bundles of one round; `fill`: those of its prologue and epilogue.

    `pending`: iterations that begin in the prologue. Minima are None for loops around others, which are not scheduled
    as one. `port`: the port, unit or bank that makes the resource minimum, where no slot does.
    """

    name: str
    line: int
    body: tuple[int, ...] = ()
    fill: tuple[int, ...] = ()
    pending: int = 0
    stages: int | None = None
    resource_minimum: int | None = None
    recurrence_minimum: int | None = None
    port: str | None = None


@dataclass(frozen=True)
class Sources:
    """What is known of a program's origin.

    `arrays`: which array an operation accesses. `banks`: the 16 KB banks of data memory that an array lies in. `loops`
    by the address of their first bundle, `functions` by address.
    """

    lines: Mapping[Place, int] = field(default_factory=dict)
    arrays: Mapping[Place, str] = field(default_factory=dict)
    banks: Mapping[str, frozenset[int]] = field(default_factory=dict)
    loops: Mapping[int, LoopSource] = field(default_factory=dict)
    functions: Mapping[int, str] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """A source line, or function and offset, or just the address."""
        line = self.lines.get(place)
        if line:
            return f"line {line}"
        start = max((address for address in self.functions if address <= place.address), default=None)
        if start is None:
            return f"{place.address:#x}"
        return f"{self.functions[start]}+{place.address - start:#x}"


def sources_of_symbols(functions: Iterable[tuple[int, str]]) -> Sources:
    """Of a foreign program: (address, name) of its functions."""
    return Sources(functions=dict(functions))


def sources_of_kernel(program: CompiledKernel) -> Sources:
    """Of a kernel of ours, from what the compiler says of it."""
    arrays: dict[Place, str] = {}
    loops: dict[int, LoopSource] = {}
    start = 0
    for scheduled in program.sections:
        for issue in scheduled.issues:
            if issue.operation.memory is not None:
                place = Place(start + issue.cycle * FETCH_BYTES, issue.choice.opcode.slot)
                arrays[place] = issue.operation.memory.array.name
        section = scheduled.section
        if section.loop is not None:
            source = _innermost(scheduled, start)
            loops[source.body[0]] = source
        elif section.closes is not None and section.target is not None:
            loops[program.emitted.labels[section.target]] = LoopSource(section.closes.name, section.closes.line)
        start += scheduled.length * FETCH_BYTES
    lines = {Place(*key): line for key, line in program.emitted.lines.items()}
    banks = {array.name: _banks(program.addresses[array.name], array.size) for array in program.arrays}
    return Sources(lines, arrays, banks, loops, {0: program.name})


def _banks(address: int, size: int) -> frozenset[int]:
    return frozenset(range(address // _BANK_BYTES, (address + size - 1) // _BANK_BYTES + 1))


def _innermost(scheduled: ScheduledSection, start: int) -> LoopSource:
    """The hardware loop that a section is; its minima are those of its dependence graph, choices of slot included."""
    loop = scheduled.section.loop
    assert loop is not None
    graph = build_graph(scheduled.section.operations, loop)
    dependences = [Dependence(e.source, e.target, e.latency, e.distance) for e in graph.edges]
    addresses = [start + cycle * FETCH_BYTES for cycle in range(scheduled.length)]
    body = addresses[scheduled.loop_first : scheduled.loop_last + 1]
    slots = slot_bound(graph).interval
    port, held = _busiest_port(graph)
    return LoopSource(
        name=loop.name,
        line=loop.line,
        body=tuple(body),
        fill=tuple(address for address in addresses if not body[0] <= address <= body[-1]),
        pending=scheduled.ahead if isinstance(scheduled, PipelinedLoop) else 0,
        stages=scheduled.schedule.stages if isinstance(scheduled, PipelinedLoop) else 1,
        resource_minimum=max(slots, held),
        recurrence_minimum=recurrence_minimum(len(graph.operations), dependences, _LONGEST),
        port=port if held > slots else None,
    )


def _busiest_port(graph: Graph) -> tuple[str | None, int]:
    """The port, unit or bank that one iteration holds longest, each operation by the choice that needs it least."""
    held: Counter[str] = Counter()
    for timings in graph.timings:
        needs = [Counter(port for port, _, required in timing.ports if required) for timing in timings]
        for port in needs[0]:
            held[port] += min(need[port] for need in needs)
    return max(held.items(), key=lambda item: item[1], default=(None, 0))
