"""xattn: INT8 attention for AMD XDNA NPUs (AIE2 cores), from Python alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.cpu import attention, sageattn

__all__ = ["__version__", "attention", "sageattn"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`attention` and `sageattn`, loaded on first use: the command line needs neither them nor NumPy."""
    if name in ("attention", "sageattn"):
        from xattn import cpu

        return getattr(cpu, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
