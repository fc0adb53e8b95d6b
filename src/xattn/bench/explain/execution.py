"""What a run did, as a trace of the simulated core tells it: edges between bundles, cycles, stalls and their causes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from xattn.bench.explain.multiplies import is_multiply
from xattn.isa.codec import Bundle
from xattn.isa.model import Register
from xattn.isa.timing import DELAY_SLOTS, timing_of
from xattn.sim.core import Core
from xattn.sim.program import Program

START = -1  # stands before the first bundle in the edges
BANK, LOCK = "bank", "lock"

_PLAIN_MEMORY_CYCLE = 5  # in which all but a few operations reach memory (isa/tables/itineraries.txt)
_REACH = 12  # bundles after which an operation has certainly been to memory
_ACCESSES = {"gather4": 4}  # per operation, by addressing mode; one where not listed


class Place(NamedTuple):
    """An operation of the program: the byte address of its bundle, and its slot."""

    address: int
    slot: str


@dataclass
class Execution:
    """One run. Addresses are byte addresses of bundles.

    `edges`: (bundle, next bundle) → how often, from START to the first. `stalls`: cycles lost by bundle. `meetings`:
    (cause, operations that met) → cycles lost. `calls`: last delay slot of a call → cycles until it came back.
    `words`: bundle with a vector multiply → its configuration word when it was first issued.
    """

    program: Program
    edges: dict[tuple[int, int], int] = field(default_factory=dict)
    bundles: dict[int, Bundle] = field(default_factory=dict)
    stalls: Counter[int] = field(default_factory=Counter)
    meetings: Counter[tuple[str, tuple[Place, ...]]] = field(default_factory=Counter)
    calls: Counter[int] = field(default_factory=Counter)
    words: dict[int, int] = field(default_factory=dict)
    call_ends: set[int] = field(default_factory=set)
    return_ends: set[int] = field(default_factory=set)
    branch_ends: set[int] = field(default_factory=set)
    cycles: int = 0

    @property
    def executed(self) -> Counter[int]:
        """How often each bundle was issued."""
        counts: Counter[int] = Counter()
        for (_, address), times in self.edges.items():
            counts[address] += times
        return counts

    @property
    def cycles_at(self) -> dict[int, int]:
        """Cycles by bundle: issued and stalled. Their sum is `cycles`."""
        return {address: times + self.stalls[address] for address, times in self.executed.items()}

    def after(self, address: int) -> int:
        """The address behind a bundle."""
        return address + self.program.bundle(address).size


class Tracer:
    """Collects an `Execution`: make a core with `step` as its trace, `watch` the core, run it, and `finish`.

    The core's registers tell how multiplies are configured. Calls and returns are taken at their last delay slot, which
    is where control leaves.
    """

    def __init__(self) -> None:
        self.run = Execution(Program())
        self._core: Core | None = None
        self._last_stall: Callable[[int], None] = lambda _: None
        self.step = self._stepper()

    def watch(self, core: Core) -> None:
        """The core that is going to be traced."""
        self._core, self.run.program = core, core.program

    def finish(self, cycles: int) -> Execution:
        """The run has ended and took so many cycles in all."""
        self._last_stall(cycles)
        self.run.cycles = cycles
        return self.run

    def _stepper(self) -> Callable[[int, int, Bundle], None]:
        run = self.run
        edges, calls, returns = run.edges, run.call_ends, run.return_ends
        recent: deque[int] = deque(maxlen=_REACH)
        open_calls: list[tuple[int, int]] = []
        last, last_cycle, start = START, -1, -1

        def step(cycle: int, address: int, bundle: Bundle) -> None:
            nonlocal last, last_cycle, start
            if last == START:
                start, last_cycle = cycle, cycle - 1
            elif cycle - last_cycle > 1:
                self._stalled(recent, cycle - last_cycle - 1)
            edge = (last, address)
            if edge in edges:
                edges[edge] += 1
            else:
                edges[edge] = 1
                self._learn(address, bundle)
            if last in calls:
                open_calls.append((last, cycle))
            elif last in returns and open_calls:
                site, since = open_calls.pop()
                run.calls[site] += cycle - since
            recent.append(address)
            last, last_cycle = address, cycle

        def last_stall(cycles: int) -> None:
            if last != START and (lost := start + cycles - last_cycle - 1) > 0:
                self._stalled(recent, lost)

        self._last_stall = last_stall
        return step

    def _learn(self, address: int, bundle: Bundle) -> None:
        run = self.run
        if address in run.bundles:
            return
        run.bundles[address] = bundle
        assert self._core is not None, "a tracer has to watch the core that it is the trace of"
        for operation in bundle.operations:
            flags = operation.opcode.flags
            if is_multiply(operation) and isinstance(word := operation["c"], Register):
                run.words[address] = int(self._core.registers[word.name])
            if "branch" in flags:
                end = self._last_delay_slot(address)
                run.branch_ends.add(end)
                if "call" in flags:
                    run.call_ends.add(end)
                elif "return" in flags:
                    run.return_ends.add(end)

    def _last_delay_slot(self, address: int) -> int:
        for _ in range(DELAY_SLOTS):
            address = self.run.after(address)
        return address

    def _stalled(self, recent: deque[int], lost: int) -> None:
        """The bundle that was issued last took `lost` cycles more than one: say what met in memory in that cycle."""
        run = self.run
        run.stalls[recent[-1]] += lost
        met: list[Place] = []
        locks: list[Place] = []
        accesses = 0
        for age, address in enumerate(reversed(recent)):
            for operation in run.bundles[address].operations:
                opcode = operation.opcode
                place = Place(address, opcode.slot)
                if "lock" in opcode.flags:
                    locks.append(place)
                elif opcode.memory and age + _PLAIN_MEMORY_CYCLE in timing_of(operation).memory_cycles:
                    met.append(place)
                    accesses += _ACCESSES.get(opcode.memory.mode, 1)
        if accesses > 1 or not locks:
            run.meetings[BANK, tuple(sorted(met))] += lost
        else:
            run.meetings[LOCK, (locks[0],)] += lost
