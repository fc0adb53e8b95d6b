"""Register allocation after scheduling: every virtual register gets a real one, by exact times of occupation.

Time is the place of a bundle in the program. A register is taken from a write (its issue or its landing, by policy)
until the last read; two virtual registers share a real one when their times do not meet. One that finds no real one
takes it from others, which look for another, within a budget. Nothing is spilled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from xattn.compiler.ir import Half, Location, LowHalf, Part, VirtualRegister
from xattn.compiler.limits import OutOfRegistersError
from xattn.compiler.liveness import Liveness
from xattn.compiler.scheduled import ScheduledSection
from xattn.isa.model import Register, RegisterClass
from xattn.isa.table import instruction_table

# Registers that a function must give back as it found them, after the public AIE2 calling convention: used last.
CALLEE_SAVED = frozenset({"p6", "p7", *(f"r{n}" for n in range(16, 24))})
_EVICTIONS = 20  # for each virtual register


def allocate(
    sections: Sequence[ScheduledSection], arguments: dict[VirtualRegister, Register], live: Liveness
) -> dict[VirtualRegister, Register]:
    """A real register for every virtual one; `arguments` are fixed beforehand. OutOfRegistersError names the file."""
    occupied = _occupation(sections, arguments, live)
    allowed = _allowed(sections)
    files = _Files(occupied, arguments)
    waiting = sorted(files.times.keys() - arguments.keys(), key=lambda r: _order(r, files.times[r], allowed[r]))
    evictions: Counter[VirtualRegister] = Counter()
    budget = _EVICTIONS * len(waiting)
    while waiting:
        register = waiting.pop(0)
        reals = _preferred(allowed[register])
        real = next((real for real in reals if files.is_free(real, register)), None)
        if real is None:  # then those make way that had to the least often
            movable = [(real, rivals) for real in reals if (rivals := files.rivals(real, register)) is not None]
            budget -= 1
            if budget < 0 or not movable:
                raise OutOfRegistersError(f"no {register.file} register is left for {register.name}", register.file)
            real, rivals = min(movable, key=lambda way: sum(1 + evictions[rival] for rival in way[1]))
            for rival in rivals:
                files.release(rival)
            evictions.update(rivals)
            waiting[:0] = rivals
        files.assign(register, real)
    return files.assigned


class _Files:
    """Which real register each virtual one has, and when: `times` of its storage leaves, as bits of an integer."""

    def __init__(self, occupied: Mapping[Location, int], arguments: Mapping[VirtualRegister, Register]) -> None:
        self.times: dict[VirtualRegister, dict[int, int]] = defaultdict(dict)
        self.assigned: dict[VirtualRegister, Register] = {}
        self._taken: dict[Register, int] = defaultdict(int)
        self._holders: dict[Register, list[VirtualRegister]] = defaultdict(list)
        for (register, leaf_index), times in occupied.items():
            if isinstance(register, VirtualRegister):
                self.times[register][leaf_index] = times
            else:  # operations name it
                self._taken[register] |= times
        for register, real in arguments.items():
            self.assign(register, real)
        self._fixed = dict(self._taken)

    def is_free(self, real: Register, register: VirtualRegister) -> bool:
        """Whether a real register is nobody's while a virtual one is in use."""
        return all(not self._taken[real.storage[index]] & times for index, times in self.times[register].items())

    def rivals(self, real: Register, register: VirtualRegister) -> list[VirtualRegister] | None:
        """Who has it meanwhile; None when that cannot move."""
        found: dict[VirtualRegister, None] = {}
        for index, times in self.times[register].items():
            leaf = real.storage[index]
            if self._fixed.get(leaf, 0) & times:
                return None
            found |= dict.fromkeys(rival for rival in self._holders[leaf] if self._when(rival, leaf) & times)
        return list(found)

    def _when(self, register: VirtualRegister, leaf: Register) -> int:
        return self.times[register].get(self.assigned[register].storage.index(leaf), 0)

    def assign(self, register: VirtualRegister, real: Register) -> None:
        """Let it have a real register."""
        self.assigned[register] = real
        for index, times in self.times[register].items():
            self._taken[real.storage[index]] |= times
            self._holders[real.storage[index]].append(register)

    def release(self, register: VirtualRegister) -> None:
        """Take its real register back."""
        real = self.assigned[register]
        for index, times in self.times[register].items():
            self._taken[real.storage[index]] &= ~times
            self._holders[real.storage[index]].remove(register)
        del self.assigned[register]


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
                    reference, (VirtualRegister, Part, Half, LowHalf)
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


def _wholes(
    reference: VirtualRegister | Part | Half | LowHalf, kind: RegisterClass
) -> tuple[VirtualRegister, set[str]]:
    """Names of the whole registers for which the operand class can encode the reference."""
    if isinstance(reference, VirtualRegister):
        return reference, set(kind.code_of)
    if isinstance(reference, LowHalf):
        return reference.whole, set(kind.code_of)
    table = instruction_table().registers
    file = reference.whole.file
    wholes = [r for r in table.values() if r.file == file]
    if isinstance(reference, Half):
        return reference.whole, {r.name for r in wholes if reference.of(r).name in kind.code_of}
    fitting = {r.name for r in wholes if r.storage[reference.index].name in kind.code_of}
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
