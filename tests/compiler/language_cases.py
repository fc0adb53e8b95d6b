"""Running a small kernel function on the simulator, for tests of the language and the compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.language import Kernel
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.sim.core import Core, Pointer, Result

Arrays = Mapping[str, NDArray[np.generic]]


def run(
    function: Callable[[Kernel], None],
    inputs: Arrays,
    output: str,
    like: NDArray[np.generic],
    scalars: tuple[int, ...] = (),
) -> tuple[NDArray[np.generic], Result, CompiledKernel]:
    """Compile, write `inputs`, call, read `output` (shape and dtype of `like`)."""
    kernel = compile_kernel(function, "test")
    core = Core(stack=(DATA_MEMORY_BASE, DATA_MEMORY_BASE + 1024))
    core.load(kernel.code, 0)
    for array in kernel.arrays:
        if array.contents is not None:
            core.write_memory(kernel.addresses[array.name], array.contents)
    for name, values in inputs.items():
        core.write_memory(kernel.addresses[name], np.ascontiguousarray(values).tobytes())
    pointers = [Pointer(kernel.addresses[name]) for name in kernel.arguments]
    result = core.call(0, [*pointers, *scalars], sp=DATA_MEMORY_BASE)
    data = core.read_memory(kernel.addresses[output], like.nbytes)
    return np.frombuffer(data, like.dtype).reshape(like.shape), result, kernel
