"""Small programs of known cost, run under a tracer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xattn.bench.explain.execution import Execution, Tracer
from xattn.isa import assemble_program
from xattn.isa.codec import Bundle
from xattn.sim.core import Core, Pointer, Result

DATA = 0x70000
INT8_4X8X8 = 776  # configuration word: signed bytes, 4×8 times 8×8
RETURN = "ret lr\nnop*5\n"


@dataclass
class Traced:
    """A run with what the tracer saw of it, and the core's own counters beside it. `steps`: bundles as they came."""

    run: Execution
    steps: list[int]
    core: Core
    result: Result
    labels: Mapping[str, int]


def traced(
    text: str,
    registers: Mapping[str, Any] | None = None,
    *,
    call: str | None = None,
    args: tuple[int, ...] = (),
    memory: Mapping[int, bytes] | None = None,
    lock: Callable[[bool, int, int], int] | None = None,
) -> Traced:
    """Call a function of the program (its first bundle by default); data memory holds `memory`, and 0 elsewhere."""
    program = assemble_program(text + "\nnop*16\n")
    tracer = Tracer()
    steps: list[int] = []

    def trace(cycle: int, address: int, bundle: Bundle) -> None:
        steps.append(address)
        tracer.step(cycle, address, bundle)

    core = Core(trace=trace, lock=lock)
    tracer.watch(core)
    core.load(program.code)
    for address, data in {DATA: bytes(65536), **(memory or {})}.items():
        core.write_memory(address, data)
    for name, value in (registers or {}).items():
        core.registers[name] = value
    result = core.call(program.symbols[call] if call else 0, args, sp=DATA)
    return Traced(tracer.finish(result.cycles), steps, core, result, program.symbols)


def hardware_loop(body: str, count: int, name: str = "body") -> str:
    """`count` passes of `body`, one bundle a line, in a hardware loop from label `name` to `name`_last."""
    *first, last = (full(line) for line in body.strip().splitlines())
    lines = "\n".join(first)
    return f"""
        movxm ls, #{name}
        movxm le, #{name}_last
        movxm lc, #{count}
        nop*64
        .align 16
        {name}:
        {lines}
        {name}_last:
        {last}
    """


def full(line: str) -> str:
    """A bundle in the largest format, so that what follows is aligned."""
    nops = {"ldb": "nopb", "lda": "nopa", "st": "nops", "alu": "nopx", "mv": "nopm", "vec": "nopv"}
    operations = [] if line.strip() == "nop" else [line.strip()]
    taken = {o.opcode.slot for o in assemble_program(line).bundles[0].bundle.operations}
    if "lng" in taken:
        taken |= {"alu", "mv"}
    return "; ".join([*operations, *(nop for slot, nop in nops.items() if slot not in taken)])


def function(name: str, body: str) -> str:
    """A function that returns."""
    return f".align 16\n.func {name}\n{body}\n{RETURN}"


__all__ = ["DATA", "INT8_4X8X8", "Pointer", "Traced", "function", "hardware_loop", "traced"]
