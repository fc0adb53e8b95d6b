"""Executes what was encoded: one AIE2 core, its memory banks, and the checks that find a program's faults.

    from xattn.sim import Core, Pointer

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.sim.core import Core, Counts, Pointer, Result, grant
    from xattn.sim.findings import Finding, Kind, Severity, SimulationError
    from xattn.sim.memory import OWN_MEMORY, Region

_HOMES = {
    "core": ("Core", "Counts", "Pointer", "Result", "grant"),
    "findings": ("Finding", "Kind", "Severity", "SimulationError"),
    "memory": ("OWN_MEMORY", "Region"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "OWN_MEMORY",
    "Core",
    "Counts",
    "Finding",
    "Kind",
    "Pointer",
    "Region",
    "Result",
    "Severity",
    "SimulationError",
    "grant",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"xattn.sim.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'xattn.sim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
