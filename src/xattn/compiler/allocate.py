"""Register allocation after scheduling: every virtual register gets a real one, by exact times of occupation.

Time is the place of a bundle in the program. A register is taken from a write (its issue or its landing, by policy)
until the last read; two virtual registers share a real one when their times do not meet. Nothing is spilled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from xattn.compiler.ir import Location, LowHalf, Part, VirtualRegister
from xattn.compiler.limits import OutOfRegistersError
from xattn.compiler.liveness import Liveness
from xattn.compiler.scheduled import ScheduledSection
from xattn.isa.model import Register, RegisterClass
from xattn.isa.table import instruction_table

# Registers that a function must give back as it found them, after the public AIE2 calling convention: used last.
CALLEE_SAVED = frozenset({"p6", "p7", *(f"r{n}" for n in range(16, 24))})


def allocate(
    sections: Sequence[ScheduledSection], arguments: dict[VirtualRegister, Register], live: Liveness
) -> dict[VirtualRegister, Register]:
    """A real register for every virtual one; `arguments` are fixed beforehand. OutOfRegistersError names the file."""
    occupied = _occupation(sections, arguments, live)
    allowed = _allowed(sections)
    taken: dict[Register, int] = defaultdict(int)
    for (register, _), times in occupied.items():
        if isinstance(register, Register):  # operations name it
            taken[register] |= times
    virtual: dict[VirtualRegister, dict[int, int]] = defaultdict(dict)
    for (register, leaf_index), times in occupied.items():
        if isinstance(register, VirtualRegister):
            virtual[register][leaf_index] = times
    assigned: dict[VirtualRegister, Register] = {}

    def assign(register: VirtualRegister, real: Register) -> None:
        assigned[register] = real
        for index, times in virtual[register].items():
            taken[real.storage[index]] |= times

    for register, real in arguments.items():
        assign(register, real)
    for register in sorted(virtual.keys() - arguments.keys(), key=lambda r: _order(r, virtual[r], allowed[r])):
        for real in _preferred(allowed[register]):
            if all(not taken[real.storage[index]] & times for index, times in virtual[register].items()):
                assign(register, real)
                break
        else:
            raise OutOfRegistersError(f"no {register.file} register is left for {register.name}", register.file)
    return assigned


def _order(register: VirtualRegister, times: dict[int, int], allowed: Sequence[Register]) -> tuple[int, int, int, int]:
    """Wide registers and narrow choices first, then by first time of use."""
    everything = 0
    for t in times.values():
        everything |= t
    start = (everything & -everything).bit_length() if everything else 0
    return -len(times), len(allowed), start, register.serial


def _preferred(registers: Iterable[Register]) -> list[Register]:
    return sorted(registers, key=lambda r: any(leaf.name in CALLEE_SAVED for leaf in r.storage))


def _allowed(sections: Sequence[ScheduledSection]) -> dict[VirtualRegister, list[Register]]:
    """The real registers that every use of a virtual register can encode."""
    names: dict[VirtualRegister, set[str]] = {}
    for section in sections:
        for issue in section.issues:
            choice = issue.choice
            for operand in choice.opcode.operands:
                reference = choice.operands.get(operand.name)
                if not isinstance(operand.type, RegisterClass) or not isinstance(
                    reference, (VirtualRegister, Part, LowHalf)
                ):
                    continue
                whole, possible = _wholes(reference, operand.type)
                if whole.within is not None:
                    possible &= whole.within
                names[whole] = names[whole] & possible if whole in names else possible
    table = instruction_table().registers
    return {
        register: [r for r in table.values() if r.name in possible and r.file == register.file]
        for register, possible in names.items()
    }


def _wholes(reference: VirtualRegister | Part | LowHalf, kind: RegisterClass) -> tuple[VirtualRegister, set[str]]:
    """Names of the whole registers for which the operand class can encode the reference."""
    if isinstance(reference, VirtualRegister):
        return reference, set(kind.code_of)
    if isinstance(reference, LowHalf):
        return reference.whole, set(kind.code_of)
    table = instruction_table().registers
    file = reference.whole.file
    fitting = {r.name for r in table.values() if r.file == file and r.storage[reference.index].name in kind.code_of}
    return reference.whole, fitting


def _occupation(
    sections: Sequence[ScheduledSection], arguments: dict[VirtualRegister, Register], live: Liveness
) -> dict[Location, int]:
    """For each storage leaf the set of places in the program at which it holds a value, as bits of an integer."""
    occupied: dict[Location, int] = defaultdict(int)
    for argument in arguments:
        occupied[(argument, 0)] |= 1
    start = 0
    for section in sections:
        for location, first, last in section.spans(live.into[section.section], live.out_of[section.section]):
            occupied[location] |= ((1 << (last - first + 1)) - 1) << (start + first)
        start += section.length
    return occupied
