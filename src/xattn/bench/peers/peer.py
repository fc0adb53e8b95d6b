"""What a peer is: a way to attend, made ready for tensors, a precision and a number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tensors:
    """float32 Q, K, V `[heads, tokens, width]`; Q is already multiplied by the softmax's factor."""

    q: NDArray[np.float32]
    k: NDArray[np.float32]
    v: NDArray[np.float32]


Attend = Callable[[], Any]
"""Attends once: what is timed. Conversions of the tensors are done before."""
Read = Callable[[Any], NDArray[Any]]
"""What `Attend` gave as `[heads, tokens, width]`."""


@dataclass(frozen=True)
class Peer:
    """One implementation."""

    name: str
    packages: tuple[str, ...]
    """What must be installed, by the names that pip knows; the first one's version is reported."""
    precisions: tuple[str, ...]
    prepare: Callable[[Tensors, str, int], tuple[Attend, Read]]
    """Of (tensors, precision, threads). It runs in a process of its own."""

    @property
    def missing(self) -> str | None:
        """One line where a package is not installed: what is missing, and how to get it."""
        absent = [package for package in self.packages if find_spec(package) is None]
        if not absent:
            return None
        return f'{self.name}: not installed ({", ".join(absent)}): pip install {" ".join(absent)}, or "xattn[peers]"'

    @property
    def library(self) -> str:
        """The library and its version."""
        try:
            return f"{self.packages[0]} {version(self.packages[0])}"
        except PackageNotFoundError:
            return self.packages[0]
