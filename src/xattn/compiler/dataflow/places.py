"""The machine code as decoded from its bytes, each instruction laid beside the operation that it is to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xattn.compiler.dataflow.difference import Difference
from xattn.compiler.dataflow.values import Names, Numbered, RegisterOperand, leaf_numbers, register_operands
from xattn.compiler.ir import Choice, Operation, Reference, locations
from xattn.errors import FileFormatError
from xattn.isa.codec import Bundle, Instruction, decode_program
from xattn.isa.model import Register
from xattn.isa.timing import itinerary_of

LOOP_REGISTERS = ("LS", "LE", "LC")


@dataclass(frozen=True)
class Read:
    """One storage leaf that an instruction reads: `delay` cycles after issue, and what it corresponds to."""

    leaf: int
    index: int  # in the operation's reads
    delay: int
    bypass: str | None
    operand: str


@dataclass(frozen=True)
class Write:
    """One storage leaf that is written: visible `delay` cycles after issue; `value` where a loop register is set."""

    leaf: int
    result: int
    delay: int
    bypass: str | None
    value: int | None


@dataclass(frozen=True)
class Place:
    """An instruction at an address, and the operation it stands for. `memory_delays`: cycles from issue to memory."""

    address: int
    one: Numbered
    instruction: Instruction
    reads: tuple[Read, ...]
    writes: tuple[Write, ...]
    memory_delays: tuple[int, ...]

    @property
    def number(self) -> int:
        """The operation's number."""
        return self.one.number


@dataclass(frozen=True)
class PlacedBundle:
    """A bundle's instructions but for the no-operations, and the address behind it."""

    places: tuple[Place, ...]
    end: int


class Code:
    """All bundles by address. `differences`: instructions that are not what their operation asks for."""

    def __init__(self, code: bytes, operations: Mapping[tuple[int, str], Operation], names: Names) -> None:
        self.bundles: dict[int, PlacedBundle] = {}
        self.differences: list[Difference] = []
        self.names = names
        try:
            for address, bundle in decode_program(code):
                self._add(address, bundle, operations)
        except FileFormatError as error:
            self._differ("the program", None, "bundles", str(error), None)

    def _add(self, address: int, bundle: Bundle, operations: Mapping[tuple[int, str], Operation]) -> None:
        places = []
        for instruction in bundle.operations:
            shown = f"{instruction.opcode.mnemonic} in slot {instruction.opcode.slot}"
            operation = operations.get((address, instruction.opcode.slot))
            if operation is None or operation.serial not in self.names.of_serial:
                self._differ("the slot", None, "no operation of the program", shown, address)
                continue
            choice = self._choice(operation, instruction, address)
            if choice is not None:
                places.append(_place(address, self.names[operation], instruction, choice))
        self.bundles[address] = PlacedBundle(tuple(places), address + bundle.size)

    def _choice(self, operation: Operation, instruction: Instruction, address: int) -> Choice | None:
        """The choice of the operation that the instruction is."""
        choices = [choice for choice in operation.choices if choice.opcode is instruction.opcode]
        if not choices:
            expected = " or ".join(sorted(choice.opcode.mnemonic for choice in operation.choices))
            self._differ("the instruction", operation, expected, instruction.opcode.mnemonic, address)
            return None
        wrong = [list(_wrong_operands(choice, instruction)) for choice in choices]
        if [] in wrong:
            return choices[wrong.index([])]
        for name, expected, found in wrong[0]:
            self._differ(f"operand {name}", operation, expected, found, address)
        return None

    def _differ(self, subject: str, operation: Operation | None, expected: str, found: str, at: int | None) -> None:
        shown, line = (repr(operation), operation.line) if operation is not None else ("", 0)
        self.differences.append(Difference("instruction", shown, line, subject, expected, found, at))

    def constants_of(self, number: int) -> set[int]:
        """The values to which an operation's instructions set a loop register."""
        places = (place for bundle in self.bundles.values() for place in bundle.places if place.number == number)
        return {write.value for place in places for write in place.writes if write.value is not None}


def _wrong_operands(choice: Choice, instruction: Instruction) -> Iterator[tuple[str, str, str]]:
    """Immediates and fixed registers that are not what the choice names. Labels show when they are followed."""
    for name, reference in choice.operands.items():
        value = instruction[name]
        if isinstance(reference, (int, Register)) and value != reference:
            yield name, _text(reference), _text(value)


def _text(value: Register | int) -> str:
    return value.text if isinstance(value, Register) else str(value)


def _place(address: int, one: Numbered, instruction: Instruction, choice: Choice) -> Place:
    itinerary = itinerary_of(instruction)
    numbers = leaf_numbers()
    reads, writes = [], []
    for operand in register_operands(choice):
        real = _real_register(operand, instruction)
        cycle, bypass = itinerary.cycle(operand.position), itinerary.bypass(operand.position)
        # a whole register of which only the low half counts has more storage than locations
        for location, leaf in zip(locations(operand.reference), real.storage, strict=False):
            if operand.is_def:
                value = _constant(instruction) if leaf.name in LOOP_REGISTERS else None
                writes.append(Write(numbers[leaf], one.write_index[location], cycle, bypass, value))
            else:
                shown = f"{operand.name} ({leaf.text})"
                reads.append(Read(numbers[leaf], one.read_index[location], cycle - 1, bypass, shown))
    return Place(
        address, one, instruction, tuple(reads), tuple(writes), tuple(cycle - 1 for cycle in itinerary.memory_cycles)
    )


def _real_register(operand: RegisterOperand, instruction: Instruction) -> Register:
    reference: Reference | Register | int = operand.reference
    if operand.position < len(instruction.values):
        reference = instruction.values[operand.position]
    assert isinstance(reference, Register), operand
    return reference


def _constant(instruction: Instruction) -> int | None:
    """The value of an instruction that does nothing but set a register to a constant."""
    numbers = [value for value in instruction.values if isinstance(value, int)]
    return (
        numbers[0] if instruction.opcode.name.startswith("MOV") and len(instruction.values) == 2 and numbers else None
    )
