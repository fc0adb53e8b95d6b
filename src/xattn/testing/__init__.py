"""For tests of AIE2 kernels of whatever compiler: load machine code, call it with NumPy arrays, look at what it did.

The pytest plugin (`xattn.testing.plugin`) gives tests the fixture `aie2_kernel`; the same can be had without pytest:

    from xattn.testing import Kernel, empty

    run = Kernel("scale.elf", "scale")(numbers, empty(64, "int8"), 3)
    run.arrays[1], run.cycles, run.findings

The names below are loaded when they are first used: pytest imports this package in every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.testing.kernel import Empty, Kernel, KernelError, KernelRun, empty

__all__ = ["Empty", "Kernel", "KernelError", "KernelRun", "empty"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("xattn.testing.kernel"), name)
    raise AttributeError(f"module 'xattn.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
