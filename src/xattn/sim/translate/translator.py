"""Translated programs and how one runs: the engine's state goes into one block of bytes, native code works on it.

The code works on a copy of data memory. Where it cannot go on (an access outside of memory, a lock that waits, more
bundles than allowed …), the copy is dropped and the interpreter does the whole run, from the state as it was.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import XattnError
from xattn.sim.memory import ADDRESS_SPACE, DEFINED, OUTSIDE, WINDOW
from xattn.sim.state import storage_index
from xattn.sim.translate import layout
from xattn.sim.translate.emit import GAVE_UP, JUMP, RETURNED, STOPPED, Module, module_of
from xattn.sim.translate.explore import Explorer
from xattn.sim.translate.native import Code, Cpu, compiled_object, cpu

if TYPE_CHECKING:
    from xattn.sim.engine import Engine

Assumed = tuple[tuple[int, int], ...]
_ARGUMENTS = 5
THOROUGH_TEXT = 400_000  # characters of IR; longer programs are optimized less, to be ready sooner


@dataclass(frozen=True)
class Translation:
    """Native code of a program from one start, for the numbers that it assumes in some registers."""

    module: Module
    code: Code
    assumed: Assumed

    @property
    def function(self) -> Any:
        """The code as a function of five addresses."""
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * _ARGUMENTS)(self.code.address("run"))

    def holds(self, scalars: list[int]) -> bool:
        """Whether what the code assumes is so."""
        return all(scalars[index] == number for index, number in self.assumed)


class Translator:
    """Runs the programs of one engine as native code. `target`: LLVM's name of a CPU (default: this machine's)."""

    def __init__(self, engine: Engine, target: str | None = None):
        self.engine = engine
        self.cpu: Cpu = cpu(target)
        self.why_not = ""
        """Why the last run was left to the interpreter; empty where it was not."""
        self.counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        """[executed, stalled] of bundles, by address."""
        self._translations: dict[tuple[int, int], list[Translation]] = defaultdict(list)
        self._jumps: dict[int, set[int]] = defaultdict(set)
        self._memory = _aligned(ADDRESS_SPACE + 64)
        self._state = _aligned(layout.STATE_BYTES)

    def forget(self) -> None:
        """The program has changed."""
        self._translations.clear()
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
            self._put_state(limit)
            counters = [
                np.zeros(len(c) + 1, np.uint64)
                for c in (translation.module.blocks, translation.module.stalls, translation.module.locks)
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
        """The translation that holds for the registers as they are."""
        scalars = self.engine.scalars
        known = self._translations[start, stop_at]
        found = next((t for t in known if t.holds(scalars)), None)
        if found is None:
            found = self._made(start, stop_at)
            known.insert(0, found)
        return found

    def _made(self, start: int, stop_at: int) -> Translation:
        from xattn.sim.core import grant

        scalars, index = self.engine.scalars, storage_index()
        wanted = {index["lr"], index["LC"]}
        while True:
            assumed = tuple((k, scalars[k]) for k in sorted(wanted))
            explorer = Explorer(
                self.engine.program,
                start,
                stop_at,
                dict(assumed),
                jumps=self._jumps,
                locks=self.engine.lock is grant,
            )
            nodes = explorer.nodes()
            if explorer.needed <= wanted:
                break
            wanted |= explorer.needed
        module = module_of(explorer, nodes, self.engine.memory.regions, self.cpu.enabled)
        image = compiled_object(module.text, self.cpu, thorough=len(module.text) < THOROUGH_TEXT)
        return Translation(module, Code(image, ("run",)), assumed)

    # the state, in and out

    def _number(self, offset: int) -> Any:
        return self._state[offset : offset + 8].view(np.uint64)[0]

    def _scalars(self) -> NDArray[np.uint64]:
        count = len(storage_index())
        return self._state[layout.SCALARS : layout.SCALARS + 8 * count].view(np.uint64)

    def _put_state(self, limit: int) -> None:
        engine, state = self.engine, self._state
        count = len(storage_index())
        self._scalars()[:] = engine.scalars[:count]
        for (name, bypassed), offset in layout.BUFFERS.items():
            data = engine.registers.buffer(name, bypassed)
            state[offset : offset + len(data)] = data
        for offset, number in ((layout.LIMIT, limit), (layout.BASE_CYCLE, engine.cycle), (layout.EVENTS, 0)):
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
        for addresses, times in zip(translation.module.blocks, blocks, strict=False):
            for address in addresses:
                self.counts[address][0] += times
        for addresses, amounts in ((translation.module.stalls, stalls), (translation.module.locks, locks)):
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
        assert OUTSIDE != DEFINED


def _aligned(size: int) -> NDArray[np.uint8]:
    whole = np.zeros(size + layout.ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % layout.ALIGNMENT
    return whole[start : start + size]


Jumps = Mapping[int, Iterable[int]]
