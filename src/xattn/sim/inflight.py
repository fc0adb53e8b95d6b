"""Which results are on their way: finds reads that come too early and results that land in the wrong order.

Only asked for when such reads are watched: the machine itself has no interlocks and simply gives the old value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xattn.sim.findings import Kind

if TYPE_CHECKING:
    from xattn.sim.engine import Engine
    from xattn.sim.entries import Entry


@dataclass(frozen=True)
class Pending:
    """A result on its way: reads from bundle `lands` on see it, bypassed ones one bundle earlier."""

    lands: int
    mask: int
    bypass: str | None
    text: str
    entry: Entry


class InFlight:
    """The results on their way in one core. `issue` is called for every bundle, before it runs."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._pending: list[Pending] = []
        self._mask = 0

    def clear(self) -> None:
        """Everything has landed."""
        self._pending.clear()
        self._mask = 0

    def issue(self, entry: Entry, now: int) -> None:
        """Check what a bundle reads against what is on its way, then note its own results."""
        del now
        time = self._engine.now
        if self._pending:
            self._pending = [pending for pending in self._pending if pending.lands > time]
            self._mask = 0
            for pending in self._pending:
                self._mask |= pending.mask
            if self._mask & entry.all_reads:
                self._check_reads(entry, time)
            if self._mask & entry.all_writes:
                self._check_writes(entry, time)
        for mask, access in entry.late_writes:
            self._pending.append(Pending(time + access.cycle, mask, access.bypass, access.register.text, entry))

    def _check_reads(self, entry: Entry, time: int) -> None:
        for mask, access in entry.read_list:
            if not mask & self._mask:
                continue
            for pending in self._pending:
                seen = pending.lands - (pending.bypass is not None and pending.bypass == access.bypass)
                early = seen - (time + access.cycle - 1)
                if mask & pending.mask and early > 0:
                    cause = (
                        f"reads {access.register.text} {early} bundle{'s' * (early > 1)} before the new "
                        f"{pending.text} of {pending.entry.address:#x} lands, so it gets the old value"
                    )
                    self._engine.report(Kind.READ_IN_FLIGHT, entry, cause)

    def _check_writes(self, entry: Entry, time: int) -> None:
        for mask, access in entry.write_list:
            for pending in self._pending:
                if mask & pending.mask and pending.lands >= time + access.cycle:
                    order = "in the same cycle as" if pending.lands == time + access.cycle else "before"
                    cause = f"writes {access.register.text} {order} the older result of {pending.entry.address:#x}"
                    self._engine.report(Kind.WRITE_CONFLICT, entry, cause)
