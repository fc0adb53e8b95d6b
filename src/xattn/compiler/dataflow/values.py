"""Values by name: which result of which execution of which operation. Program order and machine code share the names.

Nothing is computed. A token is an integer that names the n-th execution of an operation and one of its results; the
values that registers have on entry are named by their register.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from xattn.compiler.ir import Choice, Location, Operation, Reference, locations
from xattn.compiler.machine import references
from xattn.isa.model import Register
from xattn.isa.table import instruction_table

Token = int
_RESULTS = 64  # tokens of one execution: its register results, and last what it stores
STORED = _RESULTS - 1
UNDEFINED: Token = -(1 << 40)  # never written: program order reads it too, so any value will do
CONFLICT: Token = UNDEFINED + 1  # two writes landed at once
COUNTED: Token = UNDEFINED + 2  # a hardware loop counted it down


@lru_cache(maxsize=1)
def leaf_numbers() -> dict[Register, int]:
    """Registers that are storage themselves, numbered."""
    leaves = (register for register in instruction_table().registers.values() if register.storage == (register,))
    return {leaf: number for number, leaf in enumerate(leaves)}


def on_entry(leaf: Register) -> Token:
    """The value that a register has when the program is entered."""
    return -1 - leaf_numbers()[leaf]


@dataclass(frozen=True)
class RegisterOperand:
    """A register that a choice reads or writes: its name, its place in machine order (implicit ones last), which."""

    name: str
    position: int
    is_def: bool
    reference: Reference


def register_operands(choice: Choice) -> Iterator[RegisterOperand]:
    """Everything that is no immediate: operands, tied and count ones, and the implicit registers."""
    opcode = choice.opcode
    for position, (operand, reference) in enumerate(zip(opcode.operands, references(choice), strict=True)):
        if reference is not None and locations(reference):
            yield RegisterOperand(operand.name, position, operand.is_def, reference)
    position = len(opcode.operands)
    for is_def, implicit in ((True, opcode.implicit_defs), (False, opcode.implicit_uses)):
        for register in implicit:
            yield RegisterOperand(register.text, position, is_def, register)
            position += 1


class Numbered:
    """An operation of the program with its number and the storage that any of its choices touches."""

    def __init__(self, operation: Operation, number: int) -> None:
        self.operation, self.number = operation, number
        reads: dict[Location, None] = {}
        writes: dict[Location, None] = {}
        for choice in operation.choices:
            for operand in register_operands(choice):
                (writes if operand.is_def else reads).update(dict.fromkeys(locations(operand.reference)))
        self.reads, self.writes = tuple(reads), tuple(writes)

    @cached_property
    def read_index(self) -> dict[Location, int]:
        """Storage read to its place in `reads`."""
        return {location: index for index, location in enumerate(self.reads)}

    @cached_property
    def write_index(self) -> dict[Location, int]:
        """Storage written to its place in `writes`, which is the number of the result."""
        return {location: index for index, location in enumerate(self.writes)}


class Names:
    """The operations of a program, numbered in program order, and the tokens of their executions."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.numbered = [Numbered(operation, number) for number, operation in enumerate(operations)]
        self.of_serial = {one.operation.serial: one for one in self.numbered}

    def __getitem__(self, operation: Operation) -> Numbered:
        return self.of_serial[operation.serial]

    def token(self, number: int, execution: int) -> Token:
        """The first token of an execution (counted from 0)."""
        return (execution * len(self.numbered) + number) * _RESULTS

    def split(self, token: Token) -> tuple[Numbered, int, int]:
        """(operation, execution, result) that a token names; not for values on entry."""
        rest, result = divmod(token, _RESULTS)
        execution, number = divmod(rest, len(self.numbered))
        return self.numbered[number], execution, result

    def describe(self, token: Token | None) -> str:
        """A token in words. None: bytes of memory that nothing has stored."""
        special = {
            None: "what memory held on entry",
            UNDEFINED: "no value at all",
            CONFLICT: "one of two values that landed in the same cycle",
            COUNTED: "what a hardware loop left there",
        }
        if token in special:
            return special[token]
        assert token is not None
        if token < 0:
            leaf = next(leaf for leaf, number in leaf_numbers().items() if number == -1 - token)
            return f"the value of {leaf.text} on entry"
        one, execution, result = self.split(token)
        line = f"line {one.operation.line}, " if one.operation.line else ""
        what = "what" if result == STORED else f"the result ({name_of(one.writes[result])}) that"
        verb = "stores" if result == STORED else "makes"
        return f"{what} `{one.operation!r}` {verb} ({line}execution {execution + 1})"


def name_of(location: Location) -> str:
    """A storage leaf in words."""
    register, leaf = location
    if isinstance(register, Register):
        return register.text
    return register.name if len(register.example.storage) == 1 else f"{register.name}[{leaf}]"


class Memory:
    """Which store each byte of data memory was last written by. Addresses: array number << 32, plus the offset."""

    def __init__(self) -> None:
        self.cells: dict[int, Token] = {}

    def load(self, start: int, size: int) -> tuple[Token | None, ...]:
        """The stores that made `size` bytes; None for bytes as they were on entry."""
        return tuple(map(self.cells.get, range(start, start + size)))

    def store(self, start: int, size: int, token: Token) -> None:
        """Write `size` bytes."""
        self.cells.update(dict.fromkeys(range(start, start + size), token))
