"""Which loops of the kernel's source each bundle is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.ir import Loop
from xattn.isa.timing import FETCH_BYTES


@dataclass(frozen=True)
class LoopPlace:
    """A loop of the source, as a range of addresses: `first`, `behind` the last. `hardware`: of the loop registers."""

    name: str
    file: str
    line: int
    first: int
    behind: int
    hardware: bool

    @property
    def where(self) -> str:
        """File and line."""
        return f"{PurePath(self.file).name}:{self.line}"


Path = tuple[LoopPlace, ...]  # outermost first


def loops_of(program: CompiledKernel) -> list[LoopPlace]:
    """Every loop, outer ones before inner ones. A hardware loop has its prologue and epilogue."""
    found: list[LoopPlace] = []
    starts: dict[str, int] = {}
    address = 0
    for scheduled in program.sections:
        section = scheduled.section
        starts[section.name] = address
        end = address + scheduled.length * FETCH_BYTES
        if section.loop is not None:
            found.append(_place(section.loop, address, end, hardware=True))
        if section.closes is not None and section.target is not None:
            found.append(_place(section.closes, starts[section.target], end, hardware=False))
        address = end
    return sorted(found, key=lambda loop: (loop.first, -loop.behind))


def paths_at(program: CompiledKernel) -> dict[int, Path]:
    """The loops around each bundle, by its address."""
    loops = loops_of(program)
    return {
        address: tuple(loop for loop in loops if loop.first <= address < loop.behind)
        for address in range(0, len(program.code), FETCH_BYTES)
    }


def _place(loop: Loop, first: int, behind: int, hardware: bool) -> LoopPlace:
    return LoopPlace(loop.name, loop.origin.file, loop.line, first, behind, hardware)
