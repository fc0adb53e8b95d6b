"""Kernels of layers on a simulated core: arrays and integers by name in, arrays by name out, and the cycles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.devices.device import KernelFaultError
from xattn.devices.simulator import PROGRAM_BASE, STACK_BYTES
from xattn.errors import InputError
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.kernels.layers import compiled_layer, layer_kernel
from xattn.sim.core import Core, Pointer, chosen_engine
from xattn.sim.findings import Kind, Severity, SimulationError


@dataclass(frozen=True)
class LayerRun:
    """What one call gave: the arrays that it wrote, flat, and simulated cycles from the call to the return."""

    results: dict[str, NDArray[Any]]
    cycles: int
    stalls: int
    findings: tuple[str, ...]


class SimulatedLayer:
    """A kernel of a layer in the program memory of a core of its own. What a call leaves in memory stays.

    `engine`: as in `xattn.sim.core.Core`. Interpreting is thorough, and quick enough for some calls: a translation pays
    from dozens of calls on.
    """

    def __init__(self, name: str, engine: str = "interpreter") -> None:
        self.kernel, self.program = layer_kernel(name), compiled_layer(name)
        self._engine = chosen_engine(engine)
        self._sizes = {array.name: array.size for array in self.program.arrays}
        stack = (DATA_MEMORY_BASE, DATA_MEMORY_BASE + STACK_BYTES)
        self.core = Core(strict=True, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE}, stack=stack)
        self.core.load(self.program.code, PROGRAM_BASE)
        for array in self.program.arrays:
            if array.contents is not None:
                self.core.write_memory(self.program.addresses[array.name], array.contents)

    def run(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, int]) -> LayerRun:
        """Write `arrays`, where they are given, call, and read the results.

        InputError for an unknown array or size, or a missing integer; KernelFaultError when the simulator finds an
        error.
        """
        for name, values in arrays.items():
            wanted = self._sizes.get(name) if name in self.program.arguments else None
            if wanted != values.nbytes:
                raise InputError(
                    f"{self.kernel.name}: array {name} has {values.nbytes} bytes, expected "
                    + (f"{wanted}" if wanted is not None else f"one of {', '.join(self.program.arguments)}")
                )
            self.core.write_memory(self.program.addresses[name], np.ascontiguousarray(values).tobytes())
        missing = [name for name in self.program.scalars if name not in scalars]
        if missing:
            raise InputError(f"{self.kernel.name} wants the integers {', '.join(missing)} too")
        pointers = [Pointer(self.program.addresses[name]) for name in self.program.arguments]
        integers = [int(scalars[name]) for name in self.program.scalars]
        try:
            result = self.core.call(PROGRAM_BASE, [*pointers, *integers], sp=DATA_MEMORY_BASE, engine=self._engine)
        except SimulationError as error:
            raise KernelFaultError(f"{self.kernel.name}: {error}") from error
        results = {
            name: np.frombuffer(
                self.core.read_memory(self.program.addresses[name], self._sizes[name]), np.dtype(dtype)
            ).copy()
            for name, dtype in self.kernel.results
        }
        stalls = result.bank_stalls + result.lock_stalls
        return LayerRun(results, result.cycles, stalls, tuple(str(finding) for finding in result.findings))
