"""A core among others as native code: from one lock operation to the next, once the way between them is known.

Each way is interpreted first, which looks for all findings and leaves behind what holds a value; later passes leap over
it, once as much has been interpreted as a translation costs, or at once where it is on disk. A leap begins and ends
where nothing is on its way in the core, so that it takes the very cycles of the interpreter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from xattn.sim.engine import DEPTH, Engine
from xattn.sim.entries import Entry
from xattn.sim.memory import DEFINED, WINDOW
from xattn.sim.translate.translator import Translator

SHORTEST = 500  # bundles for which a leap pays
TRANSLATION_COSTS = 300_000  # bundles that could be interpreted meanwhile, about
_MOST_VERSIONS = 4  # of the code of a way
_QUIET = 10  # bundles without an operation behind which nothing is on its way: latencies are at most 9


@dataclass
class Effort:
    """Bundles interpreted, by all cores that have the same program, of each way (its first and last address).

    `enough`: so many are to be interpreted before a way is translated.
    """

    enough: int = TRANSLATION_COSTS
    bundles: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass
class _Segment:
    """What follows a lock operation, from its first bundle to the bundle of the next one."""

    end: int
    bundles: int
    undefined: int = 0
    can_leap: bool = True
    on_disk: bool | None = None


class Segments:
    """The ways between the lock operations of one engine's program."""

    def __init__(self, engine: Engine, translator: Translator, effort: Effort):
        self.engine, self.translator, self.effort = engine, translator, effort
        self.leaps = 0
        self.why_not = ""
        """Why the last way that could have been leapt over was not."""
        self._known: dict[int, _Segment] = {}
        self._began: tuple[int, int] | None = None  # where the way under way began: address, bundles issued

    def restart(self) -> None:
        """The program starts anew, and may be another one."""
        self._known.clear()
        self._began = None

    def leap(self, lock: Entry, entry: Entry, budget: int) -> Entry:
        """Behind the lock operation `lock`, with `entry` to come: the bundle with which the interpreter goes on.

        `budget`: cycles that the run may still take.
        """
        self._arrive(lock)
        self._began = (entry.address, self.engine.now)
        found = self._known.get(entry.address)
        if found is None or not found.can_leap or not self._is_worth_it(entry.address, found) or not self._is_still():
            return entry
        leapt = self._run(entry.address, found, budget)
        if not leapt or self.translator.versions(entry.address, found.end) > _MOST_VERSIONS:
            found.can_leap = False
            self.why_not = self.translator.why_not or "registers on which the code depends are others each time"
        if not leapt:
            return entry
        self.leaps += 1
        self._began = None
        following = self.engine.fetch(found.end, -1)
        assert following is not None
        return following

    def _arrive(self, lock: Entry) -> None:
        """Learn from the way that ended at this lock operation, if it was interpreted."""
        if self._began is None:
            return
        address, since = self._began
        segment = self._known.setdefault(address, _Segment(lock.address, self.engine.now - since))
        self.effort.bundles[address, lock.address] += self.engine.now - since
        segment.undefined = self.engine.registers.undefined
        segment.can_leap &= segment.end == lock.address and segment.bundles >= SHORTEST and self._is_quiet(lock)

    def _is_quiet(self, lock: Entry) -> bool:
        """Whether the bundles in front of a lock operation do nothing for so long that nothing is on its way there."""
        address, before = lock.address, {e.address + e.bundle.size: e for e in self.engine.entries.values()}
        for _ in range(_QUIET):
            entry = before.get(address)
            if entry is None or entry.sites:
                return False
            address = entry.address
        return True

    def _is_worth_it(self, start: int, segment: _Segment) -> bool:
        if self.effort.bundles[start, segment.end] >= self.effort.enough:
            return True
        if segment.on_disk is None:
            segment.on_disk = self.translator.is_on_disk(start, segment.end)
        return segment.on_disk

    def _is_still(self) -> bool:
        engine = self.engine
        return not engine.in_delay_slots and not any(
            slots[slot] for slots in (engine.ring, engine.later, engine.banks) for slot in range(DEPTH)
        )

    def _run(self, start: int, segment: _Segment, budget: int) -> bool:
        """Run natively; what holds a value is as after the interpreter's passes, and what has changed besides."""
        engine = self.engine
        memory, undefined = engine.memory, engine.registers.undefined
        map_ = np.frombuffer(memory.map, np.uint8)
        regions = [slice(region.base, region.end) for region in memory.regions]
        held = [map_[region].copy() for region in regions]
        before = [None if array is None else array.copy() for array in memory.arrays]
        if not self.translator.run(start, segment.end, budget):
            return False
        for region, values in zip(regions, held, strict=True):
            map_[region] = values
        for window, (old, new) in enumerate(zip(before, memory.arrays, strict=True)):
            if old is not None and new is not None:
                map_[window * WINDOW : (window + 1) * WINDOW][old != new] = DEFINED
        engine.registers.undefined = undefined & segment.undefined
        engine.settle()
        return True
