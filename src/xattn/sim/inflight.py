"""Which results are on their way: finds reads that come before them and results that land on each other.

Only asked for when such reads are watched: the machine itself has no interlocks and simply gives the old value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xattn.sim.findings import Kind

if TYPE_CHECKING:
    from xattn.sim.engine import Engine
    from xattn.sim.entries import Entry


@dataclass(slots=True)
class Pending:
    """A result on its way: reads from bundle `lands` on see it, bypassed ones one bundle earlier."""

    lands: int
    mask: int
    bypass: str | None
    text: str
    entry: Entry


NEVER = 1 << 62


class InFlight:
    """The results on their way in one core. `issue` is called for every bundle, before it runs."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._pending: list[Pending] = []
        self._mask = 0
        self._next = NEVER  # when the first of them lands
        self._reads = engine.findings.watches(Kind.READ_IN_FLIGHT)
        self._causes: dict[tuple[str, str, int, int], str] = {}

    def clear(self) -> None:
        """Everything has landed."""
        self._pending.clear()
        self._mask, self._next = 0, NEVER

    def issue(self, entry: Entry) -> None:
        """Check what a bundle reads against what is on its way, then note its own results."""
        mask = self._mask
        if not mask and not entry.late_writes:
            return
        time = self._engine.now
        if time >= self._next:
            mask = self._land(time)
        if mask & entry.all_reads and self._reads:
            self._check_reads(entry, time)
        if mask & entry.all_writes:
            self._check_writes(entry, time)
        for late, access in entry.late_writes:
            lands = time + access.cycle
            self._pending.append(Pending(lands, late, access.bypass, access.register.text, entry))
            self._mask |= late
            if lands < self._next:
                self._next = lands

    def _land(self, time: int) -> int:
        self._pending = [pending for pending in self._pending if pending.lands > time]
        self._mask, self._next = 0, NEVER
        for pending in self._pending:
            self._mask |= pending.mask
            self._next = min(self._next, pending.lands)
        return self._mask

    def _check_reads(self, entry: Entry, time: int) -> None:
        for mask, access in entry.read_list:
            if not mask & self._mask:
                continue
            for pending in self._pending:
                seen = pending.lands - (pending.bypass is not None and pending.bypass == access.bypass)
                early = seen - (time + access.cycle - 1)
                if mask & pending.mask and early > 0:
                    cause = self._cause(access.register.text, pending.text, pending.entry.address, early)
                    self._engine.report(Kind.READ_IN_FLIGHT, entry, cause)

    def _cause(self, read: str, written: str, address: int, early: int) -> str:
        key = (read, written, address, early)
        if key not in self._causes:
            self._causes[key] = (
                f"reads {read} {early} bundle{'s' * (early > 1)} before the new {written} of {address:#x} lands, "
                "so it gets the old value"
            )
        return self._causes[key]

    def _check_writes(self, entry: Entry, time: int) -> None:
        for mask, access in entry.write_list:
            for pending in self._pending:
                if mask & pending.mask and pending.lands == time + access.cycle:
                    cause = f"writes {access.register.text} in the same cycle as {pending.entry.address:#x} does"
                    self._engine.report(Kind.WRITE_CONFLICT, entry, cause)
