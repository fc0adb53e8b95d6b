"""A machine without a pipeline: operations have their effect one after another, in plain Python.

What an operation computes comes from the plain evaluator of the meanings' tests; nothing of `xattn.sim` is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lane_evaluator import Evaluator
from programs import DATA

from xattn.isa.codec import Instruction
from xattn.isa.model import Opcode, Register
from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Place, meaning_of, part_of
from xattn.isa.table import instruction_table
from xattn.sim.core import Core

TABLE = instruction_table()
STORAGE = [n for n, r in TABLE.registers.items() if not r.parts and r.file not in ("special", "qhalf")] + ["lr", "SP"]


@dataclass
class Machine:
    """Registers (those that hold bits, by name) and the memory from `DATA` on."""

    registers: dict[str, int]
    memory: bytearray

    @classmethod
    def random(cls, seed: int, size: int, chosen: Mapping[str, int]) -> Machine:
        """Arbitrary contents; control and status registers 0, but for those in `chosen`."""
        state, values = seed, {}
        for name in STORAGE:
            register = TABLE.register(name)
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            values[name] = pow(state | 3, 17, 1 << register.bits)
            if register.file in ("control", "status"):
                values[name] = 0
        memory = bytearray((seed * 7 + 31 * k + (k >> 8)) & 255 for k in range(size))
        return cls({**values, **chosen}, memory)

    def read(self, register: Register) -> int:
        """The value of a register or view."""
        value = place = 0
        for part in register.storage:
            value |= self.registers.get(part.name, 0) << place
            place += part.bits
        return value

    def write(self, register: Register, value: int) -> None:
        """Write a register or view; bits that do not fit are dropped."""
        for part in register.storage:
            self.registers[part.name] = value & ((1 << part.bits) - 1)
            value >>= part.bits

    def execute(self, instruction: Instruction) -> None:
        """Let one operation have its whole effect."""
        opcode = instruction.opcode
        effects = meaning_of(opcode)
        known = Evaluator(self._operands(instruction), {r.name: self.read(r) for r in opcode.implicit_uses})
        for load in effects.loads:
            offset = self._offset(known, load.address)
            known.loads.append(int.from_bytes(self.memory[offset : offset + load.bytes], "little"))
        results = [(write, known.lanes(write.value)[0]) for write in effects.writes]
        if effects.store is not None:
            offset, size = self._offset(known, effects.store.address), effects.store.bytes
            self.memory[offset : offset + size] = known.lanes(effects.store.value)[0].to_bytes(size, "little")
        for write, value in results:
            target = self._target(instruction, opcode, write.place)
            self.write(target, value | (self.read(target) if write.sticky else 0))

    def _operands(self, instruction: Instruction) -> dict[str, int]:
        operands = {}
        for operand, value in zip(instruction.opcode.operands, instruction.values, strict=True):
            if isinstance(value, int):
                operands[operand.name] = value & 0xFFFFFFFF
            elif value.file in ("d", "ds"):
                paths = [(k,) for k in range(4)] if value.file == "d" else [(h, k) for h in range(2) for k in range(4)]
                for path in paths:
                    operands[f"{operand.name}{list(path)}"] = self.read(part_of(value, path))
            else:
                operands[operand.name] = self.read(value)
        return operands

    def _offset(self, known: Evaluator, address: Value) -> int:
        return known.lanes(address)[0] - DATA

    def _target(self, instruction: Instruction, opcode: Opcode, place: Place) -> Register:
        if place.register is not None:
            return TABLE.register(place.register)
        assert place.operand is not None
        target = instruction.values[opcode.position[place.operand]]
        assert isinstance(target, Register)
        return part_of(target, place.path)


def registers_of(core: Core) -> dict[str, int]:
    """The registers of a core as the machine keeps them."""
    values = {name: core.registers[name] for name in STORAGE}
    return {n: v if isinstance(v, int) else int.from_bytes(v.tobytes(), "little") for n, v in values.items()}
