"""Every operation that is no branch and no lock, with random operands: the engine against the plain evaluator."""

from __future__ import annotations

import random

import pytest
from programs import DATA
from sequential import STORAGE, TABLE, Machine, registers_of

from xattn.isa import assemble
from xattn.isa.codec import Bundle, Instruction
from xattn.isa.model import CountOf, Immediate, Opcode, Register
from xattn.isa.semantics.meaning import implemented, meaning_of
from xattn.sim.core import Core

MEMORY_BYTES = 4096
POINTER = DATA + 2048
REST = assemble("nop*16\ndone")


def straight(name: str) -> bool:
    effects = meaning_of(TABLE.opcode(name))
    # the tile counter, and masks of 64-bit halves, are not part of the model; the vector meanings have their own test
    touches_more = any(r.name == "tile_cntr" for r in TABLE.opcode(name).implicit_uses) or "_q" in name
    vector = name.startswith("V") and not name.startswith(("VLDA_dmw", "VLDB_dmw", "VST_dmw", "VLDA_128", "VST_128"))
    return not (effects.branch or effects.lock or effects.done or effects.event or touches_more or vector)


NAMES = sorted(name for name in implemented() if straight(name) and not name.startswith("NOP"))


def an_instruction(opcode: Opcode, pick: random.Random, held: frozenset[str] = frozenset(STORAGE)) -> Instruction:
    named: dict[str, Register | int] = {}
    for operand in opcode.operands:
        kind = operand.type
        if operand.tied_to or isinstance(kind, (Register, CountOf)):
            continue
        if isinstance(kind, Immediate):
            named[operand.name] = pick.randint(kind.minimum // kind.scale, kind.maximum // kind.scale) * kind.scale
        else:
            named[operand.name] = pick.choice([r for r in kind.registers if {p.name for p in r.storage} <= held])
    if opcode.memory is not None and isinstance(opcode.memory.bytes, int) and "imm" in opcode.position:
        scale = opcode.memory.bytes
        span = min(1024, abs(int(named["imm"])))
        named["imm"] = -(-span // scale) * scale * (-1 if int(named["imm"]) < 0 else 1)
        kind = opcode.operands[opcode.position["imm"]].type
        assert isinstance(kind, Immediate)
        step = max(scale, kind.scale)
        named["imm"] = max(kind.minimum, min(int(named["imm"]) // step * step, kind.maximum // step * step))
    return Instruction.of(opcode, **named)


@pytest.mark.parametrize("name", NAMES)
def test_engine_and_evaluator_agree(name: str) -> None:
    opcode, pick = TABLE.opcode(name), random.Random(name)
    for _ in range(6):
        instruction = an_instruction(opcode, pick)
        chosen: dict[str, int] = {"SP": POINTER, "lr": pick.getrandbits(20), "srCarry": pick.getrandbits(1)}
        for k in range(8):
            chosen[f"p{k}"] = POINTER + 32 * pick.randint(-8, 8)
            for file in ("m", "dj"):
                chosen[f"{file}{k}"] = 32 * pick.randint(-8, 8) & 0xFFFFF
            chosen[f"dn{k}"] = pick.randint(0, 3)
            chosen[f"dc{k}"] = pick.choice([chosen[f"dn{k}"], pick.randint(0, 3)])
        machine = Machine.random(pick.getrandbits(32), MEMORY_BYTES, chosen)
        core = Core(strict=True)
        for register, value in machine.registers.items():
            core.registers[register] = value
        core.write_memory(DATA, bytes(machine.memory))
        core.load(Bundle.of([instruction]).encode() + REST)
        core.run(0)
        machine.execute(instruction)
        assert core.read_memory(DATA, MEMORY_BYTES) == bytes(machine.memory), instruction
        assert registers_of(core) == machine.registers, instruction


def test_the_opcodes_are_many() -> None:
    assert len(NAMES) > 130
