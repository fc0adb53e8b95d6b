"""Which slots, formats and ports are free in each cycle: the resources that operations share.

With an initiation interval the table wraps round: cycle t and t + II are the same place.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from xattn.compiler.machine import OperationTiming
from xattn.isa.codec import formats_holding


@lru_cache(maxsize=4096)
def fits_a_format(slots: frozenset[str]) -> bool:
    """Whether some bundle format holds these slots together."""
    return bool(formats_holding(slots))


class ReservationTable:
    """Slots and ports taken so far. Cycles may be any integer; with `interval` they count modulo it."""

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._slots: dict[int, frozenset[str]] = defaultdict(frozenset)
        self._ports: dict[tuple[str, int], list[bool]] = defaultdict(list)

    def _place(self, cycle: int) -> int:
        return cycle % self.interval if self.interval else cycle

    def fits(self, timing: OperationTiming, cycle: int) -> bool:
        """Whether an operation with this timing can be issued at `cycle`."""
        slots = self._slots[self._place(cycle)]
        if timing.slot in slots or not fits_a_format(slots | {timing.slot}):
            return False
        used: dict[tuple[str, int], bool] = {}
        for port, offset, required in timing.ports:
            place = (port, self._place(cycle + offset))
            if place in used and (required or used[place]) and self.interval:
                return False  # the operation meets itself round the loop
            used[place] = required
            if any(required or other for other in self._ports[place]):
                return False
        return True

    def take(self, timing: OperationTiming, cycle: int) -> None:
        """Reserve what the operation needs."""
        place = self._place(cycle)
        self._slots[place] = self._slots[place] | {timing.slot}
        for port, offset, required in timing.ports:
            self._ports[(port, self._place(cycle + offset))].append(required)

    def release(self, timing: OperationTiming, cycle: int) -> None:
        """Undo `take`."""
        place = self._place(cycle)
        self._slots[place] = self._slots[place] - {timing.slot}
        for port, offset, required in timing.ports:
            self._ports[(port, self._place(cycle + offset))].remove(required)
