"""The steady state of a kernel's hottest loop, cycle by cycle: what each slot issues, for whom, and from which line."""

from __future__ import annotations

import linecache
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath

from xattn.bench.explain.bounds import SLOTS, single_path
from xattn.bench.explain.execution import Execution
from xattn.bench.explain.loops import MeasuredLoop
from xattn.bench.explain.timeline import letters_for
from xattn.compiler.compile import CompiledKernel
from xattn.compiler.ir import Origin
from xattn.isa.syntax import text_of

LONGEST = 256  # cycles; of a longer loop the densest stretch is shown


@dataclass(frozen=True)
class Cell:
    """One operation: `column` counts from the first cycle that is shown, `source` is "file:line"."""

    column: int
    slot: str
    letter: str
    text: str
    stage: str | None
    part: str
    source: str


@dataclass(frozen=True)
class Pipeline:
    """A loop's steady state. `first`: the cycle of an iteration that is the first shown, of `cycles`."""

    loop: str
    where: str
    share: float
    """Of all cycles, those in the loop."""
    cycles: int
    first: int
    shown: int
    slots: tuple[str, ...]
    cells: tuple[Cell, ...]
    stalls: tuple[float, ...]
    """Stalls at each cycle that is shown, on average."""
    letters: dict[str, str]
    """Letter -> mnemonic."""
    sources: dict[str, str]
    """"file:line" -> the text of that line."""


def pipeline_of(run: Execution, measured: MeasuredLoop, program: CompiledKernel) -> Pipeline:
    """The bundles of a loop in the order of execution (of address, where its iterations differ)."""
    path = single_path(run, measured.loop) or measured.loop.body
    first = _densest([len(run.bundles[address].operations) for address in path], LONGEST)
    shown = path[first : first + LONGEST]
    used = Counter(o.opcode.mnemonic for address in shown for o in run.bundles[address].operations)
    letters = letters_for(used)
    cells: list[Cell] = []
    sources: dict[str, str] = {}
    for column, address in enumerate(shown):
        for operation in run.bundles[address].operations:
            origin = program.emitted.operations[address, operation.opcode.slot].origin
            source = source_of(origin)
            sources[source] = linecache.getline(origin.file, origin.line).strip()
            stage = origin.stage
            name, part = (None, "") if stage is None else (stage.name, stage.part)
            mnemonic = operation.opcode.mnemonic
            cells.append(Cell(column, operation.opcode.slot, letters[mnemonic], text_of(operation), name, part, source))
    taken = {cell.slot for cell in cells}
    executed = run.executed
    return Pipeline(
        loop=measured.record.name,
        where=_where(measured, program),
        share=measured.record.share,
        cycles=len(path),
        first=first,
        shown=len(shown),
        slots=tuple(slot for slot in SLOTS if slot != "lng" or slot in taken),
        cells=tuple(cells),
        stalls=tuple(run.stalls[address] / executed[address] for address in shown),
        letters={letter: mnemonic for mnemonic, letter in letters.items()},
        sources=dict(sorted(sources.items(), key=lambda item: _order(item[0]))),
    )


def source_of(origin: Origin) -> str:
    """File name and line; empty for what no line asked for."""
    return f"{PurePath(origin.file).name}:{origin.line}" if origin.line else ""


def _order(source: str) -> tuple[str, int]:
    file, _, line = source.rpartition(":")
    return file, int(line or 0)


def _where(measured: MeasuredLoop, program: CompiledKernel) -> str:
    """The place of the loop in the source."""
    for scheduled in program.sections:
        loop = scheduled.section.loop
        if loop is not None and (loop.name, f"line {loop.line}") == (measured.record.name, measured.record.where):
            return source_of(loop.origin)
    return measured.record.where


def _densest(issued: list[int], most: int) -> int:
    """Where the stretch of `most` cycles begins in which most is issued."""
    starts = range(max(len(issued) - most, 0) + 1)
    return max(starts, key=lambda start: (sum(issued[start : start + most]), -start))
