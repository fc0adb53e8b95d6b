"""The engine of `xattn.sim` does what the plain evaluator of these tests does, in modes that no recording has."""

import random

import pytest
from lane_evaluator import execute

from xattn.isa import assemble
from xattn.isa.codec import Bundle, Instruction
from xattn.isa.model import CountOf, Immediate, Opcode, Register
from xattn.isa.semantics import meaning
from xattn.isa.semantics.vector_configuration import PRODUCTS
from xattn.isa.table import instruction_table
from xattn.sim.core import Core

TABLE = instruction_table()
MEMORY, POINTERS, MEMORY_BYTES = 0x70000, 0x74000, 0x10000
RUNS = 3
REST = assemble("nop*20\ndone")
STORAGE = [r for r in TABLE.registers.values() if not r.parts and r.file not in ("control", "status", "special")]
MODIFIERS = ("m", "dn", "dj", "dc")


def vector_opcodes():
    meaning.implemented()
    modules: dict[str, list[Opcode]] = {}
    for name, function in meaning._all_meanings().items():
        module = function.__module__.rpartition(".")[2]
        if module.startswith("vector_"):
            modules.setdefault(module, []).append(TABLE.opcode(name))
    return modules


OPCODES = vector_opcodes()


def an_instruction(opcode, pick):
    named = {}
    for operand in opcode.operands:
        kind = operand.type
        if operand.tied_to or isinstance(kind, (Register, CountOf)):
            continue
        if isinstance(kind, Immediate):
            named[operand.name] = pick.randint(kind.minimum // kind.scale, kind.maximum // kind.scale) * kind.scale
        else:
            named[operand.name] = pick.choice([r for r in kind.registers if r in STORAGE or r.parts])
    if opcode.name == "VPACK_D4_D8":  # its words for wh0 are read as another opcode's
        named["dst"] = TABLE.register("wl3")
    return Instruction.of(opcode, **named)


def a_number(bits, pick):
    """Random bits, or small and extreme lanes."""
    if pick.random() < 0.5:
        return pick.getrandbits(bits)
    width = min(bits, pick.choice([8, 16, 32]))
    small = [0, 1, -1, 2, -2, (1 << (width - 1)) - 1, -(1 << (width - 1))]
    return sum((pick.choice(small) & ((1 << width) - 1)) << at for at in range(0, bits - width + 1, width))


def register_contents(instruction, pick):
    contents = {r.name: a_number(r.bits, pick) for r in STORAGE}
    for register in STORAGE:
        if register.file == "p":
            contents[register.name] = POINTERS + 32 * pick.randrange(64)
        elif register.file in MODIFIERS:
            contents[register.name] = 32 * pick.randrange(16)
    position = instruction.opcode.position
    for name in {"mod", "idx"} & position.keys():  # shuffle modes; pointer modifiers are not in r
        if "shfl" in instruction.opcode.mnemonic or "shuffle" in instruction.opcode.mnemonic:
            contents[instruction[name].name] = pick.randrange(48)
    if "c" in position:
        amode, bmode, variant = selector = pick.choice(sorted(PRODUCTS))
        word = amode << 1 | bmode << 3 | variant << 5 | pick.getrandbits(1) | pick.getrandbits(6) << 8
        signs = pick.getrandbits(16) << 16 if PRODUCTS[selector].sign_bit else 0
        contents[instruction["c"].name] = word | signs
    return contents


def whole(register, contents):
    value = at = 0
    for part in register.storage:
        value |= contents[part.name] << at
        at += part.bits
    return value


def operand_values(instruction, contents):
    values = {}
    for operand, value in zip(instruction.opcode.operands, instruction.values, strict=True):
        if isinstance(value, int):
            values[operand.name] = value & 0xFFFFFFFF
        elif not operand.is_def:
            values[operand.name] = whole(value, contents)
            for k, part in enumerate(value.parts if value.file in ("d", "ds") else ()):
                values[f"{operand.name}[{k}]"] = whole(part, contents)
                for j, inner in enumerate(part.parts):
                    values[f"{operand.name}[{k}, {j}]"] = whole(inner, contents)
    return values


def control_values(pick):
    signs = ("crSRSSign", "crUPSSign", "crPackSign", "crUnpackSign", "crVaddSign")
    rounding, saturation = pick.choice([0, 1, 2, 3, 8, 9, 10, 11, 12, 13]), pick.choice([0, 1, 3])
    return {"crRnd": rounding, "crSat": saturation, **{name: pick.getrandbits(1) for name in signs}}


def run(instruction, contents, control, memory):
    core = Core(severity=dict.fromkeys(("misaligned", "out-of-region"), "warning"))
    for name, value in contents.items():
        size = TABLE.register(name).bits // 8
        core.registers[name] = value if size <= 8 else value.to_bytes(size, "little")
    for name, value in control.items():
        core.registers[name] = value
    core.write_memory(MEMORY, memory)
    core.load(Bundle.of([instruction]).encode() + REST)
    core.run(0)
    return core


def as_number(value):
    return value if isinstance(value, int) else int.from_bytes(bytes(value), "little")


@pytest.mark.parametrize("module", sorted(OPCODES))
def test_the_engine_agrees_with_the_evaluator(module):
    for opcode in OPCODES[module]:
        pick = random.Random(opcode.name)
        for _ in range(RUNS):
            instruction = an_instruction(opcode, pick)
            contents, control = register_contents(instruction, pick), control_values(pick)
            data = pick.randbytes(32)
            expected = execute(
                opcode.name,
                control,
                (int.from_bytes(data, "little"),),
                **operand_values(instruction, contents),
            )
            is_load = bool(meaning.meaning_of(opcode).loads)
            memory = (data if is_load else bytes(32)) * (MEMORY_BYTES // 32)
            core = run(instruction, contents, control, memory)
            stored = expected.pop("store", None)
            if stored is not None:
                size = opcode.memory.bytes
                assert stored.to_bytes(size, "little") in core.read_memory(MEMORY, MEMORY_BYTES), opcode.name
            for name in expected.keys() & opcode.position.keys():
                register = instruction[name]
                if register.file in ("p", "dc"):
                    continue
                value = as_number(core.registers[register.name])
                assert value == expected[name] & ((1 << register.bits) - 1), (opcode.name, name, control)
