"""Which values are alive between sections, and how many at once within one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from xattn.compiler.control import Section
from xattn.compiler.ir import Location, VirtualRegister
from xattn.compiler.machine import timings
from xattn.compiler.scheduled import ScheduledSection

# Registers of each file. Vectors and their halves share one file, as do accumulators and their parts.
CAPACITY = {"r": 32, "p": 8, "m": 8, "dj": 8, "d": 8, "s": 4, "l": 8, "x": 12, "cm": 9}
_SHARED = {"w": "x", "y": "x", "am": "cm", "bm": "cm"}


@dataclass(frozen=True)
class Liveness:
    """Storage leaves whose value is needed at the start and after the end of each section."""

    into: dict[Section, set[Location]]
    out_of: dict[Section, set[Location]]


def analyse(sections: Sequence[Section]) -> Liveness:
    """Liveness from program order alone: it holds for every schedule."""
    uses: dict[Section, set[Location]] = {}
    defines: dict[Section, set[Location]] = {}
    for section in sections:
        used: set[Location] = set()
        defined: set[Location] = set()
        for operation in [*section.operations, *([section.branch] if section.branch else [])]:
            timing = timings(operation)[0]
            used |= {read.location for read in timing.reads} - defined
            defined |= {write.location for write in timing.writes}
        uses[section], defines[section] = used, defined
    into = {section: set(used) for section, used in uses.items()}
    out_of = {section: set(section.keeps) for section in sections}
    changed = True
    while changed:
        changed = False
        for section in reversed(sections):
            out_of[section] = set(section.keeps).union(*(into[successor] for successor in section.successors))
            new = uses[section] | (out_of[section] - defines[section])
            if new != into[section]:
                into[section], changed = new, True
    return Liveness(into, out_of)


def pressure(scheduled: ScheduledSection, live: Liveness) -> dict[str, int]:
    """The most registers of each file that are taken at once in a section."""
    times: dict[VirtualRegister, int] = defaultdict(int)
    into, out_of = live.into[scheduled.section], live.out_of[scheduled.section]
    for (register, _), first, last in scheduled.spans(into, out_of):
        if isinstance(register, VirtualRegister):
            times[register] |= ((1 << (last - first + 1)) - 1) << first
    most: Counter[str] = Counter()
    for cycle in range(scheduled.length):
        taken = Counter(_SHARED.get(r.file, r.file) for r, bits in times.items() if bits >> cycle & 1)
        most |= taken
    return dict(most)


def fits(scheduled: ScheduledSection, live: Liveness) -> bool:
    """Whether no file is asked for more registers than it has."""
    return all(count <= CAPACITY.get(file, 64) for file, count in pressure(scheduled, live).items())
