"""What does not fit the core, in words: where, how much is needed, how much there is, and what helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from xattn.compiler.control import Section
from xattn.compiler.dependence import Graph
from xattn.compiler.interval_bounds import slot_bound
from xattn.compiler.ir import VirtualRegister
from xattn.compiler.liveness import CAPACITY, Liveness, alive_at_peak
from xattn.compiler.machine import timings
from xattn.compiler.scheduled import ScheduledSection
from xattn.errors import XattnError
from xattn.isa.timing import FETCH_BYTES, PROGRAM_MEMORY_BYTES

_KINDS = {"r": "scalar", "p": "pointer", "x": "vector", "cm": "accumulator", "s": "shift"}
_SHOWN = 4  # lines of values


class ProgramTooLargeError(XattnError):
    """The program does not fit program memory."""


class OutOfRegistersError(XattnError):
    """More values are live at once than a register file holds."""

    def __init__(self, message: str, file: str) -> None:
        super().__init__(message)
        self.file = file


def where(section: Section) -> str:
    """A section as the kernel's author knows it."""
    if section.loop is not None:
        name = section.loop.name
        return f"loop {name}" if name == f"line {section.loop.line}" else f"loop {name} (line {section.loop.line})"
    line = next((operation.line for operation in section.operations if operation.line), 0)
    return f"the straight code from line {line} on" if line else "straight code"


def require_room(sections: Sequence[Section]) -> None:
    """ProgramTooLargeError when the operations alone need more bundles than there are, however they are scheduled."""
    least = {section: _fewest_bundles(section) for section in sections}
    if sum(least.values()) * FETCH_BYTES > PROGRAM_MEMORY_BYTES:
        raise too_large(least, "at least ")


def _fewest_bundles(section: Section) -> int:
    all_timings = [timings(operation) for operation in section.operations]
    return slot_bound(Graph(section.operations, all_timings, [])).interval if all_timings else 0


def too_large(bundles: Mapping[Section, int], about: str = "") -> ProgramTooLargeError:
    """The error for a program whose sections need so many bundles."""
    largest = max(bundles, key=lambda section: bundles[section])
    total, share = sum(bundles.values()) * FETCH_BYTES, bundles[largest] * FETCH_BYTES
    return ProgramTooLargeError(
        f"the program needs {about}{total:,} bytes of program memory, which has {PROGRAM_MEMORY_BYTES:,}; the most, "
        f"{share:,}, goes to {where(largest)}. Unroll less, make loops of repetitions (k.loop), or take a smaller block"
    )


def too_crowded(crowded: ScheduledSection, live: Liveness, file: str) -> OutOfRegistersError:
    """The error for a section that keeps too many values in a file, scheduled with the least possible freedom."""
    alive = alive_at_peak(crowded, live, file)
    kind, limit = f"{_KINDS[file]} registers ({file})" if file in _KINDS else f"{file} registers", CAPACITY.get(file, 0)
    place = where(crowded.section)
    if len(alive) > limit:
        need = f"{place} needs {len(alive)} {kind} at once, and the core has {limit}"
    else:
        need = f"{place} keeps {len(alive)} of the core's {limit} {kind} at once, and no fitting one is left"
    return OutOfRegistersError(
        f"{need}: {_origins(alive, live)}. Unroll less, keep fewer values across the loop, or pass some through memory",
        file,
    )


def _origins(alive: Sequence[VirtualRegister], live: Liveness) -> str:
    """Where values come from, as "12 from line 9, one from line 14"."""
    lines = Counter(live.lines.get(register, 0) for register in alive)
    named = [(count, f"from line {line}") for line, count in lines.most_common() if line]
    if lines[0]:
        named.append((lines[0], "from the caller"))
    shown = ", ".join(f"{'one' if count == 1 else count} {origin}" for count, origin in named[:_SHOWN])
    return shown + (" …" if len(named) > _SHOWN else "")
