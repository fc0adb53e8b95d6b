"""The cycle loop: fetches bundles, lets results land, runs what issues, arbitrates banks, follows branches and loops.

Lists indexed by `now`, the cycle modulo 16, hold what is to happen in later cycles; they stand twice in a row, so that
`now + latency` needs no modulo. `ring` has results that land (holder, key, value, mask of registers it leaves
undefined), `later` has calls for what reads after cycle 1, `banks` the memory accesses of a cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from operator import length_hint
from typing import Any

from xattn.errors import InputError, XattnError
from xattn.isa.codec import Bundle
from xattn.isa.semantics.meaning import UnimplementedOpcodeError
from xattn.isa.timing import DELAY_SLOTS, FETCH_BYTES, LOOP_SETUP_BYTES
from xattn.sim.access import MemoryPort, Sticky
from xattn.sim.accesses import Access
from xattn.sim.entries import PORT_BITS, Entry, Site, conflict_text
from xattn.sim.findings import Findings, Kind, SimulationError
from xattn.sim.inflight import InFlight
from xattn.sim.memory import Memory, arbitrate
from xattn.sim.program import Program
from xattn.sim.state import Registers, names_of, storage_index

DEPTH = 16  # cycles that the lists look ahead; the longest latency is 9
Trace = Callable[[int, int, Bundle], None]
Lock = Callable[[bool, int, int], int]
Leap = Callable[[Entry, Entry, int], Entry]


@dataclass(frozen=True, slots=True)
class LockRequest:
    """What a core wants of a lock, in which cycle of its own; `number` is the core's name of the lock."""

    cycle: int
    acquire: bool
    number: int
    value: int
    site: Site


class Engine:
    """One core in motion. `run` starts at an address and stops at another one, at DONE, or when no cycles are left."""

    def __init__(
        self,
        registers: Registers,
        memory: Memory,
        program: Program,
        findings: Findings,
        lock: Lock,
        undefined: bool = True,
    ):
        self.registers, self.memory, self.program, self.findings = registers, memory, program, findings
        self.lock = lock
        self.scalars = registers.scalars
        self.ring: list[list[Any]] = [[] for _ in range(DEPTH)] * 2
        self.later: list[list[Any]] = [[] for _ in range(DEPTH)] * 2
        banks: list[list[int]] = [[] for _ in range(DEPTH)]
        self.banks = banks * 2
        self.port = MemoryPort(memory, self.banks, self.ring, undefined)
        self.track_undefined = undefined
        watches_pipeline = findings.watches(Kind.READ_IN_FLIGHT) or findings.watches(Kind.WRITE_CONFLICT)
        self.in_flight = InFlight(self) if watches_pipeline else None
        self.watch_ports = findings.watches(Kind.PORT_CONFLICT)
        self.stack: tuple[int, int] | None = None
        self.trace: Trace | None = None
        self.leap: Leap | None = None
        """What is asked behind every lock operation of `steps` (its bundle, the next one, cycles left) for the bundle
        to go on with: it may have run what lies between."""
        self.entries: dict[int, Entry] = {}
        self.events: list[tuple[int, int]] = []
        self.entry: Entry | None = None
        self.bank_stalls = self.lock_stalls = 0
        self.stopped = False
        self._request: LockRequest | None = None
        self._ticks: Any = iter(())
        self._limit = self._busy = self._delay = self._target = 0
        self._setup_end: int | None = None
        self._objects: dict[str, Any] = {
            "scalars": self.scalars,
            "ring": self.ring,
            "later": self.later,
            "sticky": Sticky(self.scalars),
            "store_later": self.port.store_later,
            "part_word_begin": self.port.part_word_begin,
            "part_word_end": self.port.part_word_end,
            "land_early": self._land_early,
            "lock": self._lock,
            "stop": self._stop,
            "signal": self._signal,
            "counter": lambda: self.cycle,
            **{f"load{size}": function for size, function in self.port.load.items()},
            **{f"store{size}": function for size, function in self.port.store.items()},
        }

    # what generated code is bound to

    def bound(self, name: str) -> Any:
        """The object that generated code knows by this name."""
        return self._objects[name]

    def vector(self, access: Access, part: int | None, type_: str, bypassed: bool) -> Any:
        """The bytes of a vector register, as lanes of a type."""
        register = access.register if part is None else access.register.parts[part]
        return self.registers.view(register, type_, bypassed)

    def _land_early(self, now: int, args: tuple[Any, int, int]) -> None:
        del now
        view, value, keep = args
        view[:] = value
        self.scalars[-1] &= keep

    def _lock(self, acquire: bool, number: int, value: int, site: Site) -> None:
        signed = value - (1 << 32) if value >> 31 else value
        self._request = LockRequest(self.cycle, acquire, number, signed, site)

    def _stop(self) -> None:
        self.stopped = True

    def _signal(self, value: int, site: Site) -> None:
        del site
        self.events.append((self.cycle, value))

    # time and findings

    @property
    def now(self) -> int:
        """Bundles issued so far, the current one included: the time that latencies count in."""
        return self._limit - length_hint(self._ticks)

    @property
    def cycle(self) -> int:
        """Cycles spent so far: bundles and stalls."""
        return self.now + self.bank_stalls + self.lock_stalls

    def report(self, kind: Kind, entry: Entry, cause: str) -> None:
        """Report a finding of a bundle."""
        self.findings.report(kind, entry.address, self.cycle, entry.bundle, cause)

    def undefine_after(self, now: int, cycle: int, mask: int) -> None:
        """Make registers undefined when the result of this cycle's operation lands."""
        self.later[now + cycle].append((self._undefine, mask))

    def _undefine(self, now: int, mask: int) -> None:
        del now
        self.scalars[-1] |= mask

    def undefine_store_after(self, now: int, size: int) -> None:
        """Make the bytes undefined that this cycle's store writes."""
        self.later[now + 1].append((lambda _, size_: self.port.undefine_last_store(size_), size))

    # execution

    def run(self, address: int, stop_at: int, limit: int) -> None:
        """Execute from `address` until the bundle at `stop_at` would be fetched, DONE, or `limit` more cycles.

        SimulationError where the program cannot go on; registers and memory then hold what they held in that cycle.
        """
        execution = self.steps(address, stop_at, limit)
        try:
            request = next(execution)
            while True:
                try:
                    waited = self.lock(request.acquire, request.number, request.value)
                except InputError as error:
                    execution.throw(SimulationError(f"{error} (at {request.site.entry.address:#x})"))
                request = execution.send(waited)
        except StopIteration:
            return

    def steps(self, address: int, stop_at: int, limit: int) -> Generator[LockRequest, int, None]:
        """`run` that pauses at every lock operation, behind its bundle, and takes the cycles that it waits there."""
        self.stopped = False
        if not self.track_undefined:
            self.registers.undefined = 0
        end = self.cycle + limit
        self._delay = self._target = 0
        entry = self.entry = self.fetch(address, stop_at)
        try:
            while entry is not None and not self.stopped and self.cycle < end:
                entry = self._run_some(entry, stop_at, end - self.cycle)
                if self._request is not None:
                    request, self._request = self._request, None
                    waited = yield request
                    self.lock_stalls += 1 + waited
                    request.site.entry.stalls += 1 + waited
                    end += waited
                    if self.leap is not None and entry is not None:
                        entry = self.leap(request.site.entry, entry, end - self.cycle)
            self.drain()
        except BaseException as error:
            self._abandon()
            if isinstance(error, UnimplementedOpcodeError):
                where = f" (in or before the bundle at {self.entry.address:#x})" if self.entry else ""
                raise SimulationError(f"{error}{where}") from error
            raise
        if entry is not None and not self.stopped:
            raise SimulationError(
                f"still running after {limit} cycles, at {entry.address:#x}: an endless loop, or allow more cycles"
            )

    def account(self, bundles: int, bank_stalls: int, lock_stalls: int, stopped: bool) -> None:
        """Take over the time of a run that was done elsewhere."""
        self._limit = self.now + bundles
        self._ticks = iter(())
        self.bank_stalls += bank_stalls
        self.lock_stalls += lock_stalls
        self.stopped = stopped

    @property
    def in_delay_slots(self) -> bool:
        """Whether a branch is taken whose delay slots have not all issued."""
        return self._delay > 0

    def settle(self) -> None:
        """Nothing is on its way any more: a run that was done elsewhere has ended."""
        self._busy = 0
        if self.in_flight is not None:
            self.in_flight.clear()

    def fetch(self, address: int, stop_at: int) -> Entry | None:
        """The bundle at an address, ready to run; None at the address where the run ends."""
        if address == stop_at:
            return None
        entry = self.entries.get(address)
        if entry is None:
            try:
                entry = self.entries[address] = Entry(self, address, self.program.bundle(address))
            except XattnError as error:
                raise SimulationError(f"{error} (in the bundle at {address:#x})") from error
        return entry

    def _run_some(self, entry: Entry, stop_at: int, budget: int) -> Entry | None:  # noqa: C901
        """The loop: one turn is one bundle. Long on purpose: a call for each step would halve its speed."""
        scalars, ring, later, banks = self.scalars, self.ring, self.later, self.banks
        loop_start, loop_end, loop_count = (storage_index()[name] for name in ("LS", "LE", "LC"))
        watch_ports, track, in_flight, trace = self.watch_ports, self.track_undefined, self.in_flight, self.trace
        busy, delay, paused = self._busy, self._delay, False
        start = self.now
        self._limit = start + budget
        self._ticks = iter(range(start, self._limit))
        for now in map((DEPTH - 1).__and__, self._ticks):
            landing = ring[now]
            if landing:
                for holder, key, value, keep in landing:
                    holder[key] = value
                    scalars[-1] &= keep
                landing.clear()
            calls = later[now]
            if calls:
                for call, args in calls:
                    call(now, args)
                calls.clear()
            if trace is not None:
                trace(self.cycle, entry.address, entry.bundle)
            if track and scalars[-1] & entry.reads:
                self._undefined_reads(entry, now)
            if in_flight is not None:
                in_flight.issue(entry)
            if watch_ports:
                if busy & entry.probes or entry.fixed_conflict:
                    self._port_conflict(entry, busy)
                busy = (busy | entry.holds) >> PORT_BITS
            entry.count += 1
            if entry.special:
                delay = self._special(entry, now, delay)
                if self.stopped:
                    break
                paused = self._request is not None
            else:
                for operation in entry.ops:
                    operation(now)
            if scalars[-1] & entry.writes:
                scalars[-1] &= entry.keeps
            accesses = banks[now]
            if accesses:
                if len(accesses) > 1:
                    stalls = arbitrate(accesses)
                    self.bank_stalls += stalls
                    entry.stalls += stalls
                accesses.clear()
            following: Entry | None
            if delay == 1:
                delay = 0
                following = self.fetch(self._target, stop_at)
            else:
                if delay:
                    delay -= 1
                if entry.address == scalars[loop_end] and scalars[loop_count] and self._loops(entry):
                    following = self.fetch(scalars[loop_start], stop_at)
                else:
                    following = entry.next
                    if following is None:
                        following = entry.next = self.fetch(entry.address + entry.bundle.size, stop_at)
            self.entry = entry = following  # type: ignore[assignment]
            if following is None or paused:
                break
        self._limit = self.now
        self._ticks = iter(())
        self._busy, self._delay = busy, delay
        return self.entry

    def drain(self) -> None:
        """Let everything land that is still on its way."""
        for now in range(self.now, self.now + DEPTH):
            slot = now % DEPTH
            for holder, key, value, keep in self.ring[slot]:
                holder[key] = value
                self.scalars[-1] &= keep
            self.ring[slot].clear()
            for call, args in self.later[slot]:
                call(slot, args)
            self.later[slot].clear()
            self.banks[slot].clear()
        self._abandon()

    def _abandon(self) -> None:
        """Forget everything that is on its way."""
        self._limit, self._ticks = self.now, iter(())
        self._busy = 0
        self._request = None
        self.port.forget()
        for slots in (self.ring, self.later, self.banks):
            for slot in slots:
                slot.clear()
        if self.in_flight is not None:
            self.in_flight.clear()

    def _special(self, entry: Entry, now: int, delay: int) -> int:
        """A bundle with a branch, a lock, DONE, or a write to the stack pointer or the loop registers."""
        target = None
        for operation in entry.ops:
            result = operation(now)
            target = target if result is None else result
        if entry.branches and delay:
            self.report(
                Kind.BRANCH_IN_DELAY_SLOT, entry, f"a branch {DELAY_SLOTS + 1 - delay} bundles behind a taken one"
            )
        if target is not None:
            if target % FETCH_BYTES:
                self.report(
                    Kind.UNALIGNED_TARGET, entry, f"branch to {target:#x}, which is no multiple of {FETCH_BYTES}"
                )
            self._target, delay = target, DELAY_SLOTS + 1
        if entry.writes_loop:
            self._setup_end = entry.address + entry.bundle.size
        if entry.writes_stack and self.stack is not None:
            pointer = self.scalars[storage_index()["SP"]]
            low, high = self.stack
            if not low <= pointer <= high:
                cause = (
                    f"the stack pointer becomes {pointer:#x}; the stack is {low:#x}..{high - 1:#x}, {high - low} bytes"
                )
                self.report(Kind.STACK, entry, cause)
        return delay

    def _loops(self, entry: Entry) -> bool:
        """At the last bundle of a hardware loop: count, and say whether to go round again."""
        count = storage_index()["LC"]
        left = self.scalars[count] = self.scalars[count] - 1
        if self._setup_end is not None:
            distance = entry.address - self._setup_end
            if 0 <= distance < LOOP_SETUP_BYTES:
                cause = (
                    f"{distance} bytes after the loop registers were written; at least {LOOP_SETUP_BYTES} are needed"
                )
                self.report(Kind.LOOP_SETUP, entry, f"the loop ends {cause}")
            self._setup_end = None
        if left and entry.part_word:
            cause = "a part-word store in the last bundle of a hardware loop may be lost when the loop goes round"
            self.report(Kind.PART_WORD_AT_LOOP_END, entry, cause)
        return left > 0

    def _port_conflict(self, entry: Entry, busy: int) -> None:
        if entry.fixed_conflict:
            self.report(Kind.PORT_CONFLICT, entry, f"wanted twice in one bundle: {entry.fixed_conflict}")
        if busy & entry.probes:
            ports = conflict_text(busy & entry.probes)
            self.report(Kind.PORT_CONFLICT, entry, f"still held by an earlier bundle: {ports}")

    def _undefined_reads(self, entry: Entry, now: int) -> None:
        """A bundle reads registers that hold no value: carry that on where it only moves bits, else report it."""
        undefined = self.scalars[-1]
        for site in entry.sites:
            reads = {mask: access for mask, access in site.early_reads if undefined & mask}
            for mask, access in reads.items():
                targets = site.carried.get(access.key)
                if targets is not None:
                    site.spread(targets, now)
                elif undefined & mask == mask:
                    # of a register made of parts it is enough that one holds a value: operations may use it alone
                    site.report(Kind.UNDEFINED_REGISTER, f"reads {names_of(mask)[0]}, which nothing has written")
