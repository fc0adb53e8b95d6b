"""Proofs for the loops of a kernel, and the file of schedules that goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.known import SCHEDULES, KnownSchedule, loop_key, read_entries, schedule_file, store_schedules
from xattn.compiler.prove_loops import LoopProof, Progress, cycles_of, prove_loops, schedule_of
from xattn.errors import XattnError
from xattn.kernels.registry import compiled

Wanted = dict[str, KnownSchedule]  # by key


@dataclass(frozen=True)
class Kept:
    """What became of the schedules that were found: the file, its entries, and those that the compiler cannot use."""

    path: Path
    entries: tuple[KnownSchedule, ...]
    refused: tuple[KnownSchedule, ...]


def prove_kernel(
    name: str, tokens: int, width: int, *, time_limit_s: float = 60.0, progress: Progress = lambda *_: None
) -> list[LoopProof]:
    """A proof for each hardware loop of a kernel, in program order. `time_limit_s`: deterministic seconds a loop.

    InputError for an unknown kernel or shape, and when OR-Tools is needed and missing.
    """
    return prove_loops(compiled(name, tokens, width), time_limit_s=time_limit_s, progress=progress)


def keep_schedules(name: str, tokens: int, width: int, proofs: list[LoopProof], folder: Path = SCHEDULES) -> Kept:
    """Write the kernel's file of schedules, and compile the kernel with it.

    Entries that the compiler does not use, since registers cannot be allocated with them, do not stay; nor does any
    that makes a loop longer. Entries from before stay for loops of which nothing better is known.
    """
    before = compiled(name, tokens, width)
    path = schedule_file(name, (tokens, width), folder)
    old = {entry.key: entry for entry in read_entries(path)}
    wanted: Wanted = {}
    for proof in proofs:
        entry = proof.entry
        if proof.is_shorter or (proof.is_pipelined and proof.best.is_minimal):
            wanted[entry.key] = entry
        elif entry.key in old:
            wanted[entry.key] = old[entry.key]
    refused: list[KnownSchedule] = []
    while True:
        store_schedules(name, (tokens, width), wanted.values(), folder)
        compiled.cache_clear()
        try:
            after = compiled(name, tokens, width)
        except XattnError:
            after = None
        unused = _unused(before, after, wanted, proofs)
        if not unused:
            return Kept(path, tuple(wanted.values()), tuple(refused))
        refused += [wanted.pop(key) for key in unused]


def _unused(before: CompiledKernel, after: CompiledKernel | None, wanted: Wanted, proofs: list[LoopProof]) -> list[str]:
    """Keys of entries that the compiler does not use; of all when it fails or makes a loop longer because of them."""
    if after is None:
        return list(wanted)
    intervals = {s.section.name: schedule_of(s).interval for s in after.sections if s.section.loop is not None}
    keys = {proof.section: loop_key(proof.graph) for proof in proofs}
    used = {keys[s] for s, interval in intervals.items() if keys[s] in wanted and wanted[keys[s]].interval == interval}
    unused = [key for key in wanted if key not in used]
    return unused or (list(wanted) if _is_longer(before, after) else [])


def _is_longer(before: CompiledKernel, after: CompiledKernel) -> bool:
    cycles = {s.section.name: cycles_of(s) for s in before.sections if s.section.loop is not None}
    return any(cycles_of(s) > cycles[s.section.name] for s in after.sections if s.section.loop is not None)
