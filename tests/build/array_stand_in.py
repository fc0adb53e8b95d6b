"""A stand-in for everything around one core: its locks are granted, its inputs arrive, its outputs are collected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.array.design import Core as DesignCore
from xattn.array.placement import Placement
from xattn.build.core_program import OWN_LOCKS
from xattn.isa.elf import read_elf
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.sim.core import Core
from xattn.sim.findings import Kind, Severity

STACK = (DATA_MEMORY_BASE, DATA_MEMORY_BASE + 1024)


class StandIn:
    """Runs a core's executable, `rounds` turns; `inputs` are the arrays of each turn by FIFO."""

    def __init__(
        self,
        executable: bytes,
        core: DesignCore,
        placement: Placement,
        inputs: dict[str, list[NDArray[np.int8]]],
        lenient: bool = False,
    ) -> None:
        self.inputs, self.outputs = inputs, {name: [] for name in core.outputs}
        self.order: list[tuple[str, str]] = []
        self.turn = dict.fromkeys(core.arguments, 0)
        self.fifos = {name: placement.fifos[name] for name in core.arguments}
        self.by_lock = {}
        for name, placed in self.fifos.items():
            self.by_lock[OWN_LOCKS + placed.free_lock] = (name, "free")
            self.by_lock[OWN_LOCKS + placed.full_lock] = (name, "full")
            if placed.fifo.in_place:
                self.by_lock[OWN_LOCKS + placed.done_lock] = (name, "done")
        self.core = Core(
            strict=not lenient, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE}, stack=STACK, lock=self.lock
        )
        image = read_elf(executable)
        for address, code in image.code():
            self.core.load(code, address)
        for segment in image.segments:
            if not segment.is_code and segment.data:
                self.core.write_memory(segment.address, segment.data)
        self.entry = image.entry

    def run(self) -> int:
        """Cycles until DONE."""
        result = self.core.run(self.entry, max_cycles=50_000_000)
        assert result.stopped
        return result.cycles

    def lock(self, acquire: bool, number: int, value: int) -> int:
        name, which = self.by_lock[number]
        assert value == (-1 if acquire else 1)
        self.order.append(("acquire" if acquire else "release", f"{name} {which}"))
        if which in ("full", "done"):
            placed = self.fifos[name]
            address = DATA_MEMORY_BASE + placed.offsets[self.turn[name] % placed.fifo.depth]
            if acquire:
                array = self.inputs[name][self.turn[name]]
                assert array.nbytes == placed.fifo.bytes
                self.core.write_memory(address, array.tobytes())
            else:
                self.outputs[name].append(self.core.read_memory(address, placed.fifo.bytes))
            # What is changed in place keeps its buffer until it is done.
            self.turn[name] += which == "done" or not placed.fifo.in_place
        return 0
