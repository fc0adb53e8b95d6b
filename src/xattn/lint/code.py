"""What a program does with its stack and its loops, read off its machine code by following control from a start.

Only what control reaches is decoded. A called function is followed on its own; both ways of a conditional branch are
taken. The stack grows upwards, and `padda`/`paddb [sp], #n` move its pointer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from xattn.errors import XattnError
from xattn.isa.codec import Bundle, Instruction
from xattn.isa.model import Register
from xattn.isa.timing import DELAY_SLOTS
from xattn.sim.program import Program

STACK_POINTER = "SP"


@dataclass(frozen=True)
class Depth:
    """Where the stack pointer is: `offset` bytes above `base`, an address, or (None) where the function found it."""

    base: int | None
    offset: int

    def plus(self, step: int) -> Depth:
        """So many bytes higher."""
        return Depth(self.base, self.offset + step)


@dataclass(frozen=True)
class Call:
    """A call at bundle `address`, of the function at `target` (None: not known), with the stack pointer at `depth`."""

    address: int
    target: int | None
    depth: Depth


@dataclass
class Function:
    """What control reaches from `start` without calls: bundles, calls, the highest stack use, and what is not known."""

    start: int
    bundles: dict[int, Bundle] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    peaks: dict[int | None, int] = field(default_factory=dict)  # base to the highest offset
    doubts: list[str] = field(default_factory=list)


def function_at(program: Program, start: int) -> Function:
    """Follow control from `start`."""
    walk = _Walk(program, Function(start))
    walk.run()
    return walk.found


def call_graph(program: Program, start: int) -> dict[int, Function]:
    """The function at `start` and all that it calls, directly or not, by address."""
    found: dict[int, Function] = {}
    waiting = [start]
    while waiting:
        address = waiting.pop()
        if address not in found:
            found[address] = function_at(program, address)
            waiting += [call.target for call in found[address].calls if call.target is not None]
    return found


class _Walk:
    def __init__(self, program: Program, found: Function) -> None:
        self.program, self.found = program, found
        self.seen: dict[int, Depth] = {}
        self.waiting: list[tuple[int, Depth]] = [(found.start, Depth(None, 0))]

    def run(self) -> None:
        while self.waiting:
            address, depth = self.waiting.pop()
            following: tuple[int, Depth] | None = (address, depth)
            while following is not None and self._is_new(*following):
                following = self._step(*following)

    def _is_new(self, address: int, depth: Depth) -> bool:
        if address not in self.seen:
            self.seen[address] = depth
            return True
        if self.seen[address] != depth:
            self._doubt(f"the stack pointer at {address:#x} depends on the way there")
        return False

    def _step(self, address: int, depth: Depth) -> tuple[int, Depth] | None:
        """Execute the bundle there, with the delay slots of a branch; what comes next, if control goes straight on."""
        bundle = self._bundle(address)
        if bundle is None:
            return None
        depth = self._execute(address, bundle, depth)
        branch = next((i for i in bundle.operations if i.opcode.is_branch), None)
        behind = address + bundle.size
        if branch is None:
            return None if any(i.opcode.name == "DONE" for i in bundle.operations) else (behind, depth)
        for _ in range(DELAY_SLOTS):
            slot = self._bundle(behind)
            if slot is None:
                return None
            depth = self._execute(behind, slot, depth)
            behind += slot.size
        return self._branch(address, branch, behind, depth)

    def _branch(self, address: int, branch: Instruction, behind: int, depth: Depth) -> tuple[int, Depth] | None:
        flags = branch.opcode.flags
        target = None if "indirect" in flags or "return" in flags else branch["cpmaddr"]
        assert target is None or isinstance(target, int)
        if "call" in flags:
            self.found.calls.append(Call(address, target, depth))
            return behind, depth
        if target is not None:
            self.waiting.append((target, depth))
        elif "return" not in flags:
            self._doubt(f"{branch.opcode.mnemonic} at {address:#x} goes where a register points")
        return (behind, depth) if "conditional" in flags else None

    def _bundle(self, address: int) -> Bundle | None:
        try:
            return self.program.bundle(address)
        except XattnError as error:
            self._doubt(f"what control comes to at {address:#x} is no code ({error})")
            return None

    def _execute(self, address: int, bundle: Bundle, depth: Depth) -> Depth:
        self.found.bundles[address] = bundle
        self._peak(depth)
        for instruction in bundle.operations:
            opcode = instruction.opcode
            if opcode.memory is not None and opcode.memory.mode == "sp_imm":
                self._peak(depth.plus(_immediate(instruction) + (opcode.memory.bytes or 0)))
        moved = depth
        for instruction in bundle.operations:
            if any(register.name == STACK_POINTER for register in instruction.opcode.implicit_defs):
                moved = depth.plus(_immediate(instruction))
            elif STACK_POINTER in written(instruction):
                moved = self._set(address, instruction, depth)
        self._peak(moved)
        return moved

    def _set(self, address: int, instruction: Instruction, depth: Depth) -> Depth:
        value = next((v for v in instruction.values if isinstance(v, int)), None)
        if value is None:
            self._doubt(f"{instruction.opcode.mnemonic} at {address:#x} puts a register into the stack pointer")
            return depth
        return Depth(value & 0xFFFFF, 0)

    def _peak(self, depth: Depth) -> None:
        self.found.peaks[depth.base] = max(self.found.peaks.get(depth.base, 0), depth.offset)

    def _doubt(self, text: str) -> None:
        if text not in self.found.doubts:
            self.found.doubts.append(text)


def written(instruction: Instruction) -> Iterator[str]:
    """The names of the registers in the instruction's result operands."""
    for operand, value in zip(instruction.opcode.operands, instruction.values, strict=True):
        if operand.is_def and isinstance(value, Register):
            yield value.name


def _immediate(instruction: Instruction) -> int:
    value = instruction["imm"]
    assert isinstance(value, int)
    return value
