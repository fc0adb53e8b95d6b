"""From scheduled sections with real registers to bytes: one 16-byte bundle a cycle, labels resolved.

Every bundle is written in a full 128-bit format, so that branch targets, loop starts and loop ends are aligned as the
fetch unit wants them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from xattn.compiler.ir import Choice, Half, Label, LowHalf, Operation, Part, Reference, VirtualRegister
from xattn.compiler.limits import too_large
from xattn.compiler.scheduled import ScheduledSection, StraightSection
from xattn.isa.codec import Bundle, Instruction, Value
from xattn.isa.model import Format, Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import FETCH_BYTES, LOOP_SETUP_BYTES, PROGRAM_MEMORY_BYTES


@dataclass(frozen=True)
class Emitted:
    """Machine code: bundles, byte addresses of sections, and the kernel source line of each operation."""

    bundles: tuple[Bundle, ...]
    labels: dict[str, int]
    lines: dict[tuple[int, str], int]  # (byte address, slot) -> line
    operations: dict[tuple[int, str], Operation]  # (byte address, slot) -> what stands there

    @property
    def code(self) -> bytes:
        """The bytes as they lie in program memory."""
        return b"".join(bundle.encode() for bundle in self.bundles)


def emit(sections: Sequence[ScheduledSection], registers: dict[VirtualRegister, Register]) -> Emitted:
    """Write the program. ProgramTooLargeError when it exceeds program memory."""
    labels, size = {}, 0
    for section in sections:
        labels[section.section.name] = size + section.loop_first * FETCH_BYTES
        labels[f"{section.section.name}.end"] = size + section.loop_last * FETCH_BYTES
        size += section.length * FETCH_BYTES
    if size > PROGRAM_MEMORY_BYTES:
        raise too_large({section.section: section.length for section in sections})
    bundles: list[Bundle] = []
    lines: dict[tuple[int, str], int] = {}
    operations: dict[tuple[int, str], Operation] = {}
    for section in sections:
        by_cycle: list[list[Instruction]] = [[] for _ in range(section.length)]
        start = len(bundles)
        for issue in section.issues:
            instruction = _instruction(issue.choice, registers, labels)
            by_cycle[issue.cycle].append(instruction)
            place = ((start + issue.cycle) * FETCH_BYTES, instruction.opcode.slot)
            lines[place], operations[place] = issue.operation.line, issue.operation
        bundles += [Bundle.of(instructions, _full_format(instructions)) for instructions in by_cycle]
    return Emitted(tuple(bundles), labels, lines, operations)


def _full_format(instructions: Sequence[Instruction]) -> Format:
    has_long = any(instruction.opcode.slot == "lng" for instruction in instructions)
    name = "I128_LDB_LDA_ST_LNG_VEC" if has_long else "I128_LDB_LDA_ST_ALU_MV_VEC"
    return instruction_table().formats[name]


def _instruction(choice: Choice, registers: dict[VirtualRegister, Register], labels: dict[str, int]) -> Instruction:
    return Instruction.of(choice.opcode, **{n: _value(r, registers, labels) for n, r in choice.operands.items()})


def _value(reference: Reference, registers: dict[VirtualRegister, Register], labels: dict[str, int]) -> Value:
    if isinstance(reference, VirtualRegister):
        return registers[reference]
    if isinstance(reference, LowHalf):
        return registers[reference.whole]
    if isinstance(reference, Half):
        return reference.of(registers[reference.whole])
    if isinstance(reference, Part):
        return registers[reference.whole].storage[reference.index]
    if isinstance(reference, Label):
        return labels[reference.name]
    return reference


def separate_loop_setup(sections: Sequence[ScheduledSection]) -> None:
    """Lengthen sections before hardware loops until the loop registers are written early enough."""
    needed = LOOP_SETUP_BYTES // FETCH_BYTES + 1  # bundles from the write to the loop's last bundle
    for before, loop in itertools.pairwise(sections):
        if loop.section.loop is None or not isinstance(before, StraightSection):
            continue
        last_write = max(_loop_writes(before), default=None)
        if last_write is not None:
            before.lengthen(max(0, needed - (before.length - last_write + loop.loop_last)))


def _loop_writes(section: ScheduledSection) -> list[int]:
    found = []
    for issue in section.issues:
        names = {a.location[0].name for a in issue.timing.writes if isinstance(a.location[0], Register)}
        if names & {"LS", "LE", "LC"}:
            found.append(issue.cycle)
    return found
