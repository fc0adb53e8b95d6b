"""Instructions and bundles for tests: exhaustive over operands, and random ones for Hypothesis."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from xattn.isa.codec import Bundle, Instruction, Value, decode_slot
from xattn.isa.model import CountOf, Format, Immediate, Opcode, Operand, Register, RegisterClass
from xattn.isa.table import instruction_table

TABLE = instruction_table()
OPCODES_OF = {slot: [o for o in TABLE.opcodes.values() if o.slot == slot] for slot in TABLE.slots}


def free_operands(opcode: Opcode) -> list[Operand]:
    """The operands that a user gives."""
    return [o for o in opcode.operands if o.tied_to is None and not isinstance(o.type, (Register, CountOf))]


def extremes(operand: Operand) -> list[Value]:
    """Every register that can stand in the operand's place, or the immediates at both ends and around zero."""
    if isinstance(operand.type, RegisterClass):
        return list(operand.type.registers)
    assert isinstance(operand.type, Immediate)
    kind = operand.type
    inside = [v for v in (-kind.scale, 0, kind.scale) if kind.minimum <= v <= kind.maximum]
    return [kind.minimum, *inside, kind.maximum]


def every_operand(opcode: Opcode) -> Iterator[Instruction]:
    """The opcode with each operand at each of its values in turn, the others at their first."""
    operands = free_operands(opcode)
    first = {o.name: extremes(o)[0] for o in operands}
    yield Instruction.of(opcode, **first)
    for operand in operands:
        for value in extremes(operand)[1:]:
            yield Instruction.of(opcode, **{**first, operand.name: value})


def values(operand: Operand) -> st.SearchStrategy[Value]:
    if isinstance(operand.type, RegisterClass):
        return st.sampled_from(operand.type.registers)
    assert isinstance(operand.type, Immediate)
    kind = operand.type
    return st.integers(kind.minimum // kind.scale, kind.maximum // kind.scale).map(lambda n: n * kind.scale)


@st.composite
def instructions(draw: st.DrawFn, slot: str | None = None) -> Instruction:
    opcode = draw(st.sampled_from(OPCODES_OF[slot] if slot else list(TABLE.opcodes.values())))
    return Instruction.of(opcode, **{o.name: draw(values(o)) for o in free_operands(opcode)})


def reads_as_itself(instruction: Instruction) -> bool:
    """False for the few words of an opcode that yields to another, which are read as the other."""
    opcode = instruction.opcode
    return opcode.yields_to is None or decode_slot(opcode.slot, instruction.word) == instruction


@st.composite
def bundles(draw: st.DrawFn, format: Format | None = None) -> Bundle:
    chosen = format or draw(st.sampled_from(list(TABLE.formats.values())))
    return Bundle.of([draw(instructions(slot).filter(reads_as_itself)) for slot in chosen.lsb_of], chosen)
