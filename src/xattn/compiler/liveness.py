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
    lines: dict[VirtualRegister, int]  # kernel source line of the first write


def analyse(sections: Sequence[Section]) -> Liveness:
    """Liveness from program order alone: it holds for every schedule."""
    uses: dict[Section, set[Location]] = {}
    defines: dict[Section, set[Location]] = {}
    lines: dict[VirtualRegister, int] = {}
    for section in sections:
        used: set[Location] = set()
        defined: set[Location] = set()
        for operation in [*section.operations, *([section.branch] if section.branch else [])]:
            timing = timings(operation)[0]
            used |= {read.location for read in timing.reads} - defined
            written = {write.location for write in timing.writes}
            defined |= written
            for register in {register for register, _ in written if isinstance(register, VirtualRegister)}:
                lines.setdefault(register, operation.line)
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
    return Liveness(into, out_of, lines)


def pressure(scheduled: ScheduledSection, live: Liveness) -> dict[str, int]:
    """The most registers of each file that are taken at once in a section."""
    times = _times(scheduled, live)
    most: Counter[str] = Counter()
    for cycle in range(scheduled.length):
        most |= Counter(shared_file(register.file) for register, bits in times.items() if bits >> cycle & 1)
    return dict(most)


def alive_at_peak(scheduled: ScheduledSection, live: Liveness, file: str) -> list[VirtualRegister]:
    """The values in registers of a file in the cycle of a section in which they are most, in order of creation."""
    times = {register: bits for register, bits in _times(scheduled, live).items() if shared_file(register.file) == file}
    alive: list[VirtualRegister] = []
    for cycle in range(scheduled.length):
        alive = max(alive, [register for register, bits in times.items() if bits >> cycle & 1], key=len)
    return sorted(alive, key=lambda register: register.serial)


def _times(scheduled: ScheduledSection, live: Liveness) -> dict[VirtualRegister, int]:
    """The cycles of a section in which a register is taken, as bits."""
    times: dict[VirtualRegister, int] = defaultdict(int)
    into, out_of = live.into[scheduled.section], live.out_of[scheduled.section]
    for (register, _), first, last in scheduled.spans(into, out_of):
        if isinstance(register, VirtualRegister):
            times[register] |= ((1 << (last - first + 1)) - 1) << first
    return times


def shared_file(file: str) -> str:
    """The register file that registers of a kind are taken from: halves and parts come from that of the whole."""
    return _SHARED.get(file, file)


def fits(scheduled: ScheduledSection, live: Liveness) -> bool:
    """Whether no file is asked for more registers than it has."""
    return all(count <= CAPACITY.get(file, 64) for file, count in pressure(scheduled, live).items())
