"""Translated programs and how one runs: the engine's state goes into one block of bytes, native code works on it.

The code works on a copy of data memory. Where it cannot go on (an access outside of memory, a lock that waits, more
bundles than allowed …), the copy is dropped and the interpreter does the whole run, from the state as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import XattnError
from xattn.sim.memory import ADDRESS_SPACE, DEFINED, WINDOW
from xattn.sim.state import storage_index
from xattn.sim.translate import layout
from xattn.sim.translate.emit import GAVE_UP, JUMP, RETURNED, STOPPED
from xattn.sim.translate.modes import Modes
from xattn.sim.translate.native import Cpu, cpu
from xattn.sim.translate.translation import Source, Translation, is_kept, translated

if TYPE_CHECKING:
    from xattn.sim.engine import Engine

Lock = Callable[[bool, int, int], int]


class Translator:
    """Runs the programs of one engine as native code.

    `granting`: lock functions that grant at once, whatever is asked. `target`: LLVM's name of a CPU.
    """

    def __init__(self, engine: Engine, granting: Collection[Lock] = (), target: str | None = None):
        self.engine, self.granting = engine, granting
        self.cpu: Cpu = cpu(target)
        self.why_not = ""
        """Why the last run was left to the interpreter; empty where it was not."""
        self.counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        """[executed, stalled] of bundles, by address."""
        self._translations: dict[tuple[int, int], list[Translation]] = defaultdict(list)
        self._refused: dict[tuple[int, int], str] = {}  # what cannot be translated, and why
        self._jumps: dict[int, set[int]] = defaultdict(set)  # where computed jumps were seen to go
        self._memory = _aligned(ADDRESS_SPACE + 64)
        self._state = _aligned(layout.STATE_BYTES)

    def forget(self) -> None:
        """The program has changed."""
        self._translations.clear()
        self._refused.clear()
        self._jumps.clear()

    def run(self, start: int, stop_at: int, limit: int) -> bool:
        """Run as `Engine.run` does; False when nothing has happened and the interpreter has to do it."""
        try:
            return self._run(start, stop_at, limit)
        except XattnError as error:
            self.why_not = str(error)
            return False

    def _run(self, start: int, stop_at: int, limit: int) -> bool:
        engine, scalars = self.engine, self.engine.scalars
        if engine.trace is not None:
            self.why_not = "bundles are traced"
            return False
        if scalars[storage_index()["LC"]]:
            self.why_not = "a hardware loop is running"
            return False
        while True:
            translation = self.translation(start, stop_at)
            self._put_state(limit, translation.modes)
            counters = [
                np.zeros(len(c) + 1, np.uint64)
                for c in (translation.stored.blocks, translation.stored.stalls, translation.stored.locks)
            ]
            end = translation.function(
                self._state.ctypes.data, self._memory.ctypes.data, *(c.ctypes.data for c in counters)
            )
            if end in (RETURNED, STOPPED):
                self.why_not = ""
                self._take_state(translation, counters, end == STOPPED)
                return True
            address, target = (int(self._number(at)) for at in (layout.ADDRESS, layout.TARGET))
            if end != JUMP or target in self._jumps[address]:
                self.why_not = f"it gave up at {address:#x}" if end == GAVE_UP else "too many bundles"
                return False
            self._jumps[address].add(target)
            self._translations.clear()

    def translation(self, start: int, stop_at: int) -> Translation:
        """The translation that holds for the registers as they are; XattnError if there can be none."""
        if (start, stop_at) in self._refused:
            raise XattnError(self._refused[start, stop_at])
        scalars = self.engine.scalars
        known = self._translations[start, stop_at]
        found = next((t for t in known if t.holds(scalars)), None)
        if found is None:
            try:
                found = translated(self._source(start, stop_at), scalars, self._jumps)
            except XattnError as error:
                self._refused[start, stop_at] = str(error)
                raise
            known.insert(0, found)
        return found

    def versions(self, start: int, stop_at: int) -> int:
        """How many translations there are, for different contents of registers."""
        return len(self._translations[start, stop_at])

    def is_on_disk(self, start: int, stop_at: int) -> bool:
        """Whether a translation of this part of the program has been kept."""
        return is_kept(self._source(start, stop_at))

    def _source(self, start: int, stop_at: int) -> Source:
        engine = self.engine
        return Source(engine.program, start, stop_at, engine.memory.regions, engine.lock in self.granting, self.cpu)

    # the state, in and out

    def _number(self, offset: int) -> Any:
        return self._state[offset : offset + 8].view(np.uint64)[0]

    def _scalars(self) -> NDArray[np.uint64]:
        count = len(storage_index())
        return self._state[layout.SCALARS : layout.SCALARS + 8 * count].view(np.uint64)

    def _put_state(self, limit: int, modes: Modes) -> None:
        engine, state = self.engine, self._state
        count = len(storage_index())
        self._scalars()[:] = engine.scalars[:count]
        for (name, bypassed), offset in layout.BUFFERS.items():
            data = engine.registers.buffer(name, bypassed)
            state[offset : offset + len(data)] = data
        for offset, number in (
            (layout.LIMIT, limit),
            (layout.BASE_CYCLE, engine.cycle),
            (layout.EVENTS, 0),
            (layout.RESOLVER, modes.resolver),
            (layout.TABLE, modes.table.ctypes.data),
        ):
            state[offset : offset + 8].view(np.uint64)[0] = number
        for window, array in enumerate(engine.memory.arrays):
            if array is not None:
                self._memory[window * WINDOW : (window + 1) * WINDOW] = array

    def _take_state(self, translation: Translation, counters: list[NDArray[np.uint64]], stopped: bool) -> None:
        engine, state = self.engine, self._state
        count = len(storage_index())
        engine.scalars[:count] = self._scalars().tolist()
        for (name, bypassed), offset in layout.BUFFERS.items():
            data = engine.registers.buffer(name, bypassed)
            data[:] = state[offset : offset + len(data)]
        for window, array in enumerate(engine.memory.arrays):
            if array is not None:
                array[:] = self._memory[window * WINDOW : (window + 1) * WINDOW]
        blocks, stalls, locks = (c.tolist() for c in counters)
        for addresses, times in zip(translation.stored.blocks, blocks, strict=False):
            for address in addresses:
                self.counts[address][0] += times
        for addresses, amounts in ((translation.stored.stalls, stalls), (translation.stored.locks, locks)):
            for address, amount in zip(addresses, amounts, strict=False):
                self.counts[address][1] += amount
        engine.account(int(self._number(layout.BUNDLES)), sum(stalls), sum(locks), stopped)
        events = state[layout.EVENT_LIST : layout.EVENT_LIST + 16 * int(self._number(layout.EVENTS))].view(np.uint64)
        engine.events += [(int(cycle), int(value)) for cycle, value in events.reshape(-1, 2).tolist()]
        self._all_defined()

    def _all_defined(self) -> None:
        """What holds a value is not followed here: afterwards all registers and all memory count as written."""
        memory = self.engine.memory
        self.engine.registers.undefined = 0
        for region in memory.regions:
            memory.map[region.base : region.end] = bytes([DEFINED]) * region.size


def _aligned(size: int) -> NDArray[np.uint8]:
    whole = np.zeros(size + layout.ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % layout.ALIGNMENT
    return whole[start : start + size]
