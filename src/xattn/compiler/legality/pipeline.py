"""The rules of the exposed pipeline for one bundle, given what may be under way when it issues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from xattn.compiler.legality.paths import Earlier, Unwritten
from xattn.compiler.legality.program import Facts, Program, Touch, clashes, double_writes, leaves, sticky
from xattn.compiler.legality.state import LOCK_RESUMES, InFlight, Need, State, is_needed
from xattn.isa.table import ports

Report = Callable[[str, str, Earlier | Unwritten | None], None]  # rule, cause, what to trace back
IsRead = Callable[[Touch, InFlight], bool]  # whether the first write is read before the second, under way, lands


def check(
    program: Program, facts: Facts, state: State, report: Report, is_read: IsRead, *, in_flight: bool, late: bool
) -> None:
    """Report what breaks a rule; `in_flight` and `late` say whether early reads and late reads count."""
    reads = [read for read in facts.reads if is_needed(read, state)]
    under_way = defaultdict(list)
    for write in state.in_flight:
        under_way[write.leaf].append(write)
    if in_flight:
        _in_flight_reads(program, reads, under_way, report)
    _defined(program, reads, state, report, strict=in_flight)
    _writes(program, facts, under_way, report, is_read)
    _ports(program, facts, state, report)
    _locks(program, facts, state, report)
    if late:
        _late_reads(program, facts, state, report)


def check_exit(program: Program, state: State, report: Report) -> None:
    """What must have ended when the program returns to its caller."""
    for write in sorted(state.in_flight, key=lambda w: (w.origin, w.leaf)):
        report(
            "exit-in-flight",
            f"the write of {_leaf(write.leaf)} by {_writer(program, write)} lands only {_bundles(write.left)} after "
            "the return: wait for it before the last delay slot",
            Earlier(write.origin, write.cycle - write.left),
        )
    _unmet(program, state.needs, report)


def _in_flight_reads(
    program: Program, reads: list[Touch], under_way: dict[int, list[InFlight]], report: Report
) -> None:
    for read in reads:
        for write in under_way.get(read.leaf, ()):
            bypassed = write.bypass is not None and write.bypass == read.bypass
            found, needed = write.cycle - write.left, write.cycle - read.cycle + 1 - bypassed
            if found < needed:
                report(
                    "in-flight-read",
                    f"{_named(read)} read by {read.by.opcode.mnemonic} in cycle {read.cycle} is still being written by "
                    f"{_writer(program, write)}, {_bundles(found)} earlier; {needed} are needed",
                    Earlier(write.origin, found),
                )


def _defined(program: Program, reads: list[Touch], state: State, report: Report, *, strict: bool) -> None:
    for read in reads:
        if read.cycle > 1 or state.is_defined(read.leaf, 1, read.bypass):
            continue  # late reads are judged when they happen
        if read.leaf not in state.arriving:
            cause = f"{_named(read)} is not written on every path before {read.by.opcode.mnemonic} reads it"
            report("undefined-read", cause, Unwritten(read.leaf))
        elif not strict:  # else this is told as a read in flight
            cause = f"the first value of {_named(read)} is still under way when {read.by.opcode.mnemonic} reads it"
            report("undefined-read", cause, None)
    _unmet(program, (need for need in state.needs if need.left == 0), report)


def _unmet(program: Program, needs: Iterable[Need], report: Report) -> None:
    for need in needs:
        origin = program[need.origin]
        name = _distinct(r.by.opcode.mnemonic for r in origin.reads if (r.leaf, r.cycle) == (need.leaf, need.cycle))
        report(
            "undefined-read",
            f"{_leaf(need.leaf)} is not written on every path before {name} of {origin.address:#x} reads it in "
            f"cycle {need.cycle}",
            Unwritten(need.leaf),
        )


def _writes(
    program: Program, facts: Facts, under_way: dict[int, list[InFlight]], report: Report, is_read: IsRead
) -> None:
    for a, b in double_writes(facts):
        what = (
            f"{a.by.opcode.mnemonic} and {b.by.opcode.mnemonic} of one bundle" if a.by is not b.by else "one operation"
        )
        report("same-cycle-write", f"{_named(b)} is written twice in one cycle by {what}", None)
    for write in facts.writes:
        if write.leaf in sticky():
            continue
        for other in under_way.get(write.leaf, ()):
            found, needed = other.cycle - other.left, other.cycle - write.cycle + 1
            distance = f"{_writer(program, other)}, issued {_bundles(found)} earlier; {needed} are needed"
            name = f"{_named(write)} written by {write.by.opcode.mnemonic}"
            if other.left == write.cycle:
                cause = f"{name} lands in the same cycle as the write by {distance}"
                report("same-cycle-write", cause, Earlier(other.origin, found))
            elif other.left > write.cycle and not is_read(write, other):
                cause = f"nobody reads {name} before it is overwritten by {distance}"
                report("overtaken-write", cause, Earlier(other.origin, found))


def _ports(program: Program, facts: Facts, state: State, report: Report) -> None:
    for a, b in clashes(facts):
        names = f"{a.by.opcode.mnemonic} and {b.by.opcode.mnemonic}"
        report("port", f"{names} of one bundle both need {_port(a.port)} {a.cycle} cycles after issue", None)
    if not state.held:
        return
    held = defaultdict(list)
    for hold in state.held:
        held[hold.port, hold.left].append(hold)
    for port in facts.ports:
        for other in held.get((port.port, port.cycle), ()):
            if port.required or other.required:
                found = other.cycle - other.left
                origin = program[other.origin]
                user = _distinct(p.by.opcode.mnemonic for p in origin.ports if p.port == port.port)
                report(
                    "port",
                    f"{port.by.opcode.mnemonic} needs {_port(port.port)} {port.cycle} cycles after issue, when "
                    f"{user} of {origin.address:#x}, {_bundles(found)} earlier, has it",
                    Earlier(other.origin, found),
                )


def _locks(program: Program, facts: Facts, state: State, report: Report) -> None:
    if facts.locks and facts.memory:
        report(
            "lock-order", "a memory operation and a lock operation stand in one bundle: their order is not kept", None
        )
    for recent in state.recent:
        address = program[recent.origin].address
        if recent.is_lock:
            needed = max((LOCK_RESUMES - first for _, first, _ in facts.memory), default=0)
            what = f"a memory operation {_bundles(recent.ago)} after the lock operation of {address:#x}"
        else:
            needed = recent.last if facts.locks else 0
            what = f"a lock operation {_bundles(recent.ago)} after the memory operation of {address:#x}"
        if recent.ago < needed:
            report("lock-order", f"{what}; {needed} keep them in order", Earlier(recent.origin, recent.ago))


def _late_reads(program: Program, facts: Facts, state: State, report: Report) -> None:
    reads = [(r.leaf, r.left, r.cycle, r.bypass, r.origin) for r in state.late]
    reads += [(r.leaf, r.cycle - 1, r.cycle, r.bypass, facts.index) for r in facts.reads if r.cycle > 1]
    for leaf, left, cycle, bypass, origin in reads:
        for write in facts.writes:
            bypassed = write.bypass is not None and write.bypass == bypass
            if write.leaf == leaf and write.cycle <= left + bypassed:
                found = cycle - 1 - left
                report(
                    "late-read",
                    f"{_named(write)} written by {write.by.opcode.mnemonic} lands before the read in cycle {cycle} of "
                    f"{program[origin].address:#x}, issued {_bundles(found)} earlier; "
                    f"{cycle - write.cycle + bypassed} are needed",
                    Earlier(origin, found) if found else None,
                )


def _leaf(number: int) -> str:
    return leaves()[number].text


def _named(touch: Touch) -> str:
    leaf = leaves()[touch.leaf]
    return touch.register.text if leaf is touch.register else f"{touch.register.text} ({leaf.text})"


def _writer(program: Program, write: InFlight) -> str:
    """Who issued a write: mnemonic and address."""
    origin = program[write.origin]
    names = _distinct(w.by.opcode.mnemonic for w in origin.writes if (w.leaf, w.cycle) == (write.leaf, write.cycle))
    return f"{names} of {origin.address:#x} (result cycle {write.cycle})"


def _distinct(names: Iterable[str]) -> str:
    return "/".join(sorted(set(names)))


def _port(name: str) -> str:
    return f"{name} ({ports()[name]})"


def _bundles(count: int) -> str:
    return f"{count} bundle{'s' * (count != 1)}"
