"""Proofs for the loops of a kernel, and the file of schedules that goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xattn.compiler.known import KnownSchedule, loop_key, read_entries, usable_schedules
from xattn.compiler.prove_loops import LoopProof, Progress, prove_loops
from xattn.compiler.scheduled import PipelinedLoop
from xattn.kernels.registry import compile_anew, compiled, program_of, schedule_files


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


def keep_schedules(name: str, tokens: int, width: int, proofs: list[LoopProof]) -> Kept:
    """Write the kernel's file of schedules, from which every later compilation takes them.

    It holds what makes loops of the kernel shorter: what was found now, and earlier entries of which nothing better is
    known. Entries that the compiler does not use do not stay, since registers run out with them or their loop is gone.
    The file is written once, at the end. InputError when it cannot be.
    """
    files, name = schedule_files(), program_of(name, tokens, width)
    path = files.path(name, (tokens, width))
    before = read_entries(path)
    found = {proof.entry.key: proof.entry for proof in proofs if proof.is_shorter}
    wanted = {entry.key: entry for entry in before} | found
    others = [entry for entry in files.entries if entry not in before]
    trial = compile_anew(name, tokens, width, lambda graph: usable_schedules(graph, [*wanted.values(), *others]))
    used = {
        key: wanted[key]
        for scheduled in trial.sections
        if isinstance(scheduled, PipelinedLoop) and scheduled.is_known
        if (key := loop_key(scheduled.graph)) in wanted and wanted[key].schedule == scheduled.schedule
    }
    if used or before:
        files.store(name, (tokens, width), used.values())
    return Kept(path, tuple(used.values()), tuple(entry for key, entry in found.items() if key not in used))
