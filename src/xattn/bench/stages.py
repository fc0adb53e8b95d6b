"""Which stage of attention each address of a scalar kernel belongs to, and the cycles that each stage took.

The scalar kernels name their innermost loops. A loop around others belongs to a stage when all of them do; straight
code belongs to the loop that follows it; loops over several stages and the return are overhead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xattn.compiler.compile import CompiledKernel
from xattn.isa.timing import FETCH_BYTES

SCORES, SOFTMAX, OUTPUT, OVERHEAD = "Q·Kᵀ", "softmax", "P·V", "overhead"
STAGE_OF_LOOP = {"dot": SCORES, "max": SOFTMAX, "exp": SOFTMAX, "normalise": SOFTMAX, "weighted sum": OUTPUT}


def stage_cycles(program: CompiledKernel, cycles_at: Mapping[int, int]) -> dict[str, int]:
    """Cycles by stage, in the order of attention. KeyError for a program with an innermost loop that is of no stage."""
    stage_at = _stage_of_addresses(program)
    totals = dict.fromkeys((SCORES, SOFTMAX, OUTPUT, OVERHEAD), 0)
    for address, cycles in cycles_at.items():
        totals[stage_at[address]] += cycles
    return totals


def _stage_of_addresses(program: CompiledKernel) -> dict[int, str]:
    sections = [scheduled.section for scheduled in program.sections]
    loops = [None if section.loop is None else STAGE_OF_LOOP[section.loop.name] for section in sections]
    place = {section.name: i for i, section in enumerate(sections)}
    stages: dict[int, str] = {}
    address = 0
    for i, scheduled in enumerate(program.sections):
        target = scheduled.section.target
        if target is not None:  # the end of a loop that began at `target`
            stage = _common(loops[place[target] : i + 1])
        else:
            stage = next((loop for loop in loops[i:] if loop is not None), OVERHEAD)
        end = address + scheduled.length * FETCH_BYTES
        stages.update(dict.fromkeys(range(address, end, FETCH_BYTES), stage))
        address = end
    return stages


def _common(stages: Iterable[str | None]) -> str:
    found = {stage for stage in stages if stage is not None}
    return found.pop() if len(found) == 1 else OVERHEAD
