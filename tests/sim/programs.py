"""Small programs for the simulator's tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xattn.isa import assemble_program
from xattn.sim.core import Core, Result

DATA = 0x70000


def core_for(
    text: str, registers: Mapping[str, Any] | None = None, memory: Mapping[int, bytes] | None = None, **options
):
    """A core with a program (DONE is added, with time for everything to land) and the addresses of its labels."""
    program = assemble_program(text + "\nnop*16\ndone\n")
    core = Core(**options)
    core.load(program.code)
    for name, value in (registers or {}).items():
        core.registers[name] = value
    for address, data in (memory or {}).items():
        core.write_memory(address, data)
    return core, program.symbols


def run(text: str, registers=None, memory=None, **options) -> tuple[Core, Result]:
    """Run a program to its end."""
    core, _ = core_for(text, registers, memory, **options)
    return core, core.run(0)


def kinds(result: Result) -> set[str]:
    """The kinds of what was found."""
    return {finding.kind.value for finding in result.findings}
