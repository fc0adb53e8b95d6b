"""Which slots, formats and ports are taken in each cycle, and by whom: the resources that operations share.

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
        self._slots: dict[int, dict[str, int]] = defaultdict(dict)  # place -> slot -> owner
        self._ports: dict[tuple[str, int], list[tuple[int, bool]]] = defaultdict(list)  # -> owner, required

    def _place(self, cycle: int) -> int:
        return cycle % self.interval if self.interval else cycle

    def fits(self, timing: OperationTiming, cycle: int) -> bool:
        """Whether an operation with this timing can be issued at `cycle`."""
        slots = self._slots.get(self._place(cycle))
        if slots and (timing.slot in slots or not fits_a_format(frozenset((*slots, timing.slot)))):
            return False
        if self.interval and timing.meets_itself(self.interval):
            return False
        for port, offset, required in timing.ports:
            for _, other in self._ports.get((port, self._place(cycle + offset)), ()):
                if required or other:
                    return False
        return True

    def in_the_way(self, timing: OperationTiming, cycle: int) -> set[int]:
        """Owners of what the operation would need."""
        slots = self._slots.get(self._place(cycle), {})
        owners = {slots[timing.slot]} if timing.slot in slots else set()
        if slots and not fits_a_format(frozenset((*slots, timing.slot))):
            owners |= {owner for slot, owner in slots.items() if not fits_a_format(frozenset((slot, timing.slot)))}
        for port, offset, required in timing.ports:
            for owner, other in self._ports.get((port, self._place(cycle + offset)), ()):
                if required or other:
                    owners.add(owner)
        return owners

    def take(self, timing: OperationTiming, cycle: int, owner: int = 0) -> None:
        """Reserve what the operation needs."""
        self._slots[self._place(cycle)][timing.slot] = owner
        for port, offset, required in timing.ports:
            self._ports[(port, self._place(cycle + offset))].append((owner, required))

    def release(self, timing: OperationTiming, cycle: int, owner: int = 0) -> None:
        """Undo `take`."""
        del self._slots[self._place(cycle)][timing.slot]
        for port, offset, required in timing.ports:
            self._ports[(port, self._place(cycle + offset))].remove((owner, required))
