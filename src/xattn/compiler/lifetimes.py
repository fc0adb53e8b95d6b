"""Which operation writes each value of a loop and which ones read it: the register need of any schedule of the loop.

A value takes a register from the cycle in which its write lands (over a bypass, from the one before) to the last cycle
in which it is read. Values that come into the loop or leave it take theirs throughout.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from xattn.compiler.control import Section
from xattn.compiler.dependence import Graph
from xattn.compiler.ir import Location, VirtualRegister
from xattn.compiler.liveness import CAPACITY, Liveness, shared_file
from xattn.compiler.modulo import ModuloSchedule

Event = tuple[int, int]  # operation, cycles after its issue


@dataclass(frozen=True)
class Value:
    """What one write leaves in one storage leaf of a register, until the next write in program order."""

    start: Event  # from then on the register is taken
    landing: Event
    reads: tuple[Event, ...]  # the last cycle in which the value must be there, for each reader

    @property
    def needed(self) -> tuple[Event, ...]:
        """Cycles in which the register must be the value's own; the last of them ends its lifetime."""
        return self.landing, *self.reads


@dataclass(frozen=True)
class RegisterLimits:
    """How many registers each file has, and the registers that are taken throughout the loop."""

    capacity: Mapping[str, int]  # halves and parts count as a register of their file, as in `liveness.pressure`
    held: frozenset[VirtualRegister] = frozenset()

    @classmethod
    def of_section(cls, section: Section, live: Liveness) -> RegisterLimits:
        """The core's register files, and the values that live across the section."""
        across = live.into[section] | live.out_of[section]
        return cls(CAPACITY, frozenset(r for r, _ in across if isinstance(r, VirtualRegister)))


@dataclass(frozen=True)
class Lifetimes:
    """The values of a loop body by register and storage leaf, in program order."""

    values: Mapping[VirtualRegister, Mapping[int, tuple[Value, ...]]]
    carried: frozenset[VirtualRegister]  # read before they are written: they come from outside or the last iteration

    @classmethod
    def of(cls, graph: Graph) -> Lifetimes:
        """Walk the body once."""
        current: dict[Location, tuple[Event, Event, list[Event]]] = {}
        done: dict[VirtualRegister, dict[int, list[Value]]] = defaultdict(lambda: defaultdict(list))
        carried = set()

        def close(location: Location) -> None:
            register, leaf = location
            assert isinstance(register, VirtualRegister)
            start, landing, reads = current.pop(location)
            done[register][leaf].append(Value(start, landing, tuple(reads)))

        for node, (timing, *_) in enumerate(graph.timings):
            for read in timing.reads:
                if read.location in current:
                    current[read.location][2].append((node, read.cycle - 1))
                elif isinstance(read.location[0], VirtualRegister):
                    carried.add(read.location[0])
            for write in timing.writes:
                if isinstance(write.location[0], VirtualRegister):
                    if write.location in current:
                        close(write.location)
                    start = write.cycle - (write.bypass is not None)  # as `scheduled.versions` has it
                    current[write.location] = (node, start), (node, write.cycle), []
        for location in list(current):
            close(location)
        values = {r: {leaf: tuple(found) for leaf, found in sorted(leaves.items())} for r, leaves in done.items()}
        return cls(values, frozenset(carried))

    def rivals(self, limits: RegisterLimits) -> dict[str, RivalRegisters]:
        """For each limited file the registers whose need depends on the schedule, and how many are left for them."""
        held = limits.held | self.carried
        taken = Counter(shared_file(register.file) for register in held)
        found: dict[str, list[VirtualRegister]] = defaultdict(list)
        for register in self.values:
            if register not in held:
                found[shared_file(register.file)].append(register)
        return {
            file: RivalRegisters(self, tuple(found[file]), count - taken[file])
            for file, count in limits.capacity.items()
            if found[file] or taken[file]
        }


@dataclass(frozen=True)
class RivalRegisters:
    """Registers that compete for the `free` ones of a file."""

    lifetimes: Lifetimes = field(repr=False)
    registers: tuple[VirtualRegister, ...]
    free: int

    @property
    def always_fit(self) -> bool:
        """Whether there are enough for any schedule."""
        return len(self.registers) <= self.free

    @cached_property
    def is_exact(self) -> bool:
        """Whether `least` and `most` say the same.

        Not where parts of a register are written or read on their own, or a bypass lets a value's last cycle be the
        first of the next one in the same register.
        """
        leaves = (self.lifetimes.values[register] for register in self.registers)
        return all(
            len(set(parts.values())) == 1 and all(value.start == value.landing for value in parts[min(parts)])
            for parts in leaves
        )

    @property
    def least(self) -> list[tuple[Value, ...]]:
        """Sets of values that take a register from the first start to the last need; every schedule needs these."""
        found: list[tuple[Value, ...]] = []
        for register in self.registers:
            leaves = self.lifetimes.values[register].values()
            busiest = max(leaves, key=lambda values: sum(1 + len(value.reads) for value in values))
            found += [(replace(value, start=value.landing),) for value in busiest]
        return found

    @property
    def most(self) -> list[tuple[Value, ...]]:
        """As `least`, but enough for any schedule: the parts of a register count from the first to the last."""
        found: list[tuple[Value, ...]] = []
        for register in self.registers:
            leaves = list(dict.fromkeys(self.lifetimes.values[register].values()))
            if len({len(values) for values in leaves}) == 1:
                found += zip(*leaves, strict=True)
            else:
                found += [(value,) for values in leaves for value in values]
        return found


def register_need(graph: Graph, schedule: ModuloSchedule, limits: RegisterLimits) -> dict[str, int]:
    """The most registers of each limited file that are taken in one cycle of the steady state."""
    lifetimes = Lifetimes.of(graph)
    held = limits.held | lifetimes.carried
    throughout = Counter(shared_file(register.file) for register in held)
    taken: dict[str, list[int]] = {file: [throughout[file]] * schedule.interval for file in limits.capacity}
    for register, leaves in lifetimes.values.items():
        if register in held or shared_file(register.file) not in taken:
            continue
        places: set[int] = set()
        for values in leaves.values():
            for value in values:
                first, last = lifetime(value, schedule.cycles)
                places.update(cycle % schedule.interval for cycle in range(first, last + 1))
        for place in places:
            taken[shared_file(register.file)][place] += 1
    return {file: max(counts) for file, counts in taken.items() if any(counts)}


def lifetime(value: Value, cycles: Sequence[int]) -> tuple[int, int]:
    """First and last cycle in which a value takes its register, for given issue cycles."""
    last = max(cycles[node] + after for node, after in value.needed)
    return cycles[value.start[0]] + value.start[1], last
