"""Which stages of the computation each bundle serves, and the cycles that each stage took.

Operations carry the stage that the kernel names (`with k.stage(…)`). A bundle serves the stages of all its operations;
an empty one waits for what was issued before it, and counts for the stages of the bundle before it. A stage can have
parts, for which the same holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.ir import Stage
from xattn.isa.timing import FETCH_BYTES

Stages = frozenset[Stage]
_T = TypeVar("_T")


class StageRecord(msgspec.Struct, kw_only=True):
    """One stage, or one part of a stage; the part without a name is what belongs to the stage and to no other part."""

    name: str
    cycles: int
    """In which it issues something, or waits for what it issued."""
    alone: int
    """Of the cycles, those in which no other stage (no other stage or part) does."""
    waiting: int
    """Of the cycles, those in which nothing at all is issued: latencies and stalls."""
    share: float
    """Of all cycles of the run. Shares of stages that overlap sum up to more than 1."""
    parts: list[StageRecord]


class OverlapRecord(msgspec.Struct, kw_only=True):
    """Cycles in which just these stages are under way at once."""

    stages: list[str]
    cycles: int


class StagesRecord(msgspec.Struct, kw_only=True):
    """The cycles of a run by stage: what stages have alone, the overlaps and `outside` sum up to `cycles`."""

    cycles: int
    stages: list[StageRecord]
    overlaps: list[OverlapRecord]
    """The longest first."""
    outside: int
    """Cycles of no stage: entry, return, loops around several stages."""

    @property
    def shared(self) -> int:
        """Cycles of several stages at once."""
        return sum(overlap.cycles for overlap in self.overlaps)


def stages_at(program: CompiledKernel) -> dict[int, Stages]:
    """The stages that each bundle serves, by its address; empty for what belongs to none."""
    issued: dict[int, set[Stage]] = {}
    for (address, _), operation in program.emitted.operations.items():
        stages = issued.setdefault(address, set())
        if operation.origin.stage is not None:
            stages.add(operation.origin.stage)
    found: dict[int, Stages] = {}
    serving: Stages = frozenset()
    for address in range(0, len(program.code), FETCH_BYTES):
        if address in issued:
            serving = frozenset(issued[address])
        found[address] = serving
    return found


def stage_cycles(
    program: CompiledKernel, cycles_at: Mapping[int, int], stalls_at: Mapping[int, int] | None = None
) -> StagesRecord:
    """Cycles by stage, in the order in which the kernel names them.

    `cycles_at`: cycles by bundle, stalls included; `stalls_at`: those of them that were stalls.
    """
    issuing = {address for address, _ in program.emitted.operations}
    by_stages: dict[Stages, list[int]] = {}  # cycles, and those of them in which nothing is issued
    serving = stages_at(program)
    for address, cycles in cycles_at.items():
        counts = by_stages.setdefault(serving[address], [0, 0])
        counts[0] += cycles
        counts[1] += (stalls_at or {}).get(address, 0) if address in issuing else cycles
    total = sum(cycles for cycles, _ in by_stages.values())
    by_names: dict[frozenset[str], list[int]] = {}
    for stages, (cycles, waiting) in by_stages.items():
        counts = by_names.setdefault(frozenset(stage.name for stage in stages), [0, 0])
        counts[0] += cycles
        counts[1] += waiting
    records: dict[str, StageRecord] = {}
    for stage in stages_of(program):
        whole = records.setdefault(stage.name, _record(stage.name, stage.name, by_names, total))
        whole.parts.append(_record(stage.part, stage, by_stages, total))
    for record in records.values():
        record.parts.sort(key=lambda part: not part.name)  # what is of no part comes last
        if not record.parts[0].name:
            record.parts.clear()
    overlaps = [
        OverlapRecord(stages=[name for name in records if name in names], cycles=cycles)
        for names, (cycles, _) in by_names.items()
        if len(names) > 1 and cycles
    ]
    overlaps.sort(key=lambda overlap: -overlap.cycles)
    outside = by_names.get(frozenset(), [0])[0]
    return StagesRecord(cycles=total, stages=list(records.values()), overlaps=overlaps, outside=outside)


def stages_of(program: CompiledKernel) -> list[Stage]:
    """Every stage and part of a program that has operations, in the order in which the kernel names them."""
    first: dict[Stage, int] = {}
    for operation in program.emitted.operations.values():
        stage = operation.origin.stage
        if stage is not None:
            first[stage] = min(first.get(stage, operation.serial), operation.serial)
    return sorted(first, key=lambda stage: first[stage])


def _record(name: str, wanted: _T, counts_of: Mapping[frozenset[_T], list[int]], total: int) -> StageRecord:
    """Sum up what `wanted` takes part in, and what it has alone."""
    mine = {served: counts for served, counts in counts_of.items() if wanted in served}
    cycles = sum(cycles for cycles, _ in mine.values())
    return StageRecord(
        name=name,
        cycles=cycles,
        alone=mine.get(frozenset([wanted]), [0])[0],
        waiting=sum(waiting for _, waiting in mine.values()),
        share=cycles / total if total else 0.0,
        parts=[],
    )
