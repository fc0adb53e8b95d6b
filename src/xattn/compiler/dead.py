"""Removal of operations whose results nobody reads. What stores to memory or writes a named register stays."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.compiler.ir import (
    Block,
    Half,
    LowHalf,
    Operation,
    Part,
    Program,
    Reference,
    VirtualRegister,
    blocks,
    conditions,
)
from xattn.isa.model import Register


def remove_dead(program: Program) -> None:
    """Drop dead operations from the program, until none is left. Works before addresses are assigned."""
    while True:
        operations = [operation for block in blocks(program.body) for operation in block.operations]
        read = {whole for operation in operations for whole, is_def in _registers(operation) if not is_def}
        read |= set(conditions(program.body))
        if not sum(_sweep(block, read) for block in blocks(program.body)):
            return


def _sweep(block: Block, read: set[VirtualRegister | Register]) -> int:
    kept = [operation for operation in block.operations if _is_needed(operation, read)]
    removed = len(block.operations) - len(kept)
    block.operations[:] = kept
    return removed


def _is_needed(operation: Operation, read: set[VirtualRegister | Register]) -> bool:
    if operation.memory is not None and operation.memory.is_store:
        return True
    return any(isinstance(whole, Register) or whole in read for whole, is_def in _registers(operation) if is_def)


def _registers(operation: Operation) -> Iterator[tuple[VirtualRegister | Register, bool]]:
    """Registers that the operation names, with whether it writes them."""
    choice = operation.choices[0]
    for operand in choice.opcode.operands:
        reference = choice.operands.get(operand.name)
        if isinstance(operand.type, Register):
            yield operand.type, operand.is_def
        whole = _whole(reference)
        if whole is not None:
            yield whole, operand.is_def
    for register in choice.opcode.implicit_defs:
        if register.file != "status":
            yield register, True


def _whole(reference: Reference | None) -> VirtualRegister | Register | None:
    if isinstance(reference, (Part, Half, LowHalf)):
        return reference.whole
    return reference if isinstance(reference, (VirtualRegister, Register)) else None
