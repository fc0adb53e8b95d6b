"""The schedules that come with the kernels: none is damaged, none is out of date, and each makes its kernel faster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.known import read_entries
from xattn.compiler.scheduled import PipelinedLoop
from xattn.kernels.registry import SCHEDULES, compile_anew, compiled, kernels

FILES = sorted(SCHEDULES.glob("*"))
HOW = "xattn prove KERNEL --shape TxW --update"


def cycles_of_loops(kernel: CompiledKernel) -> int:
    loops = [scheduled for scheduled in kernel.sections if scheduled.section.loop is not None]
    return sum(loop.cycles_of_loop * loop.section.calls for loop in loops)


def test_each_file_is_a_kernels() -> None:
    wanted = {f"{name}-{t}x{w}.json" for name, spec in kernels().items() for t, w in spec.shapes}
    assert {path.name for path in FILES} <= wanted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_entry_is_used_and_saves_cycles(path: Path) -> None:
    name, _, shape = path.stem.rpartition("-")
    tokens, width = map(int, shape.split("x"))
    entries = read_entries(path)
    assert len(entries) == len(json.loads(path.read_text())) > 0
    kernel = compiled(name, tokens, width)
    used = [s.schedule for s in kernel.sections if isinstance(s, PipelinedLoop) and s.is_known]
    for entry in entries:
        assert entry.schedule in used, f"{entry.loop} of {path.name} is not used any more: {HOW}"
    assert cycles_of_loops(kernel) < cycles_of_loops(compile_anew(name, tokens, width, lambda _: ()))
