"""Instructions and bundles, and their bits: encode and decode, both driven by the table alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from xattn.errors import FileFormatError, InputError
from xattn.isa.model import CountOf, Format, Immediate, Opcode, Operand, Register, RegisterClass
from xattn.isa.table import SLOT_ORDER, instruction_table

Value = Register | int


@dataclass(frozen=True)
class Instruction:
    """One operation with its operands in machine order; tied, fixed and count registers are filled in."""

    opcode: Opcode
    values: tuple[Value, ...]

    @classmethod
    def of(cls, opcode: Opcode, **named: Value) -> Instruction:
        """Build from operands by name; those that follow from others may be left out. InputError on a bad operand."""
        values = [_fill(opcode, operand, named) for operand in opcode.operands]
        unknown = named.keys() - opcode.position.keys()
        if unknown:
            raise InputError(f"{opcode.name} has no operand {', '.join(sorted(unknown))}; it has {opcode.text}")
        return cls(opcode, tuple(values))

    def __getitem__(self, name: str) -> Value:
        return self.values[self.opcode.position[name]]

    @cached_property
    def word(self) -> int:
        """The slot word."""
        word = self.opcode.value
        for operand, value in zip(self.opcode.operands, self.values, strict=True):
            if operand.segments:
                code = _code(operand, value)
                for lsb, width, low in operand.segments:
                    word |= ((code >> low) & ((1 << width) - 1)) << lsb
        return word


def _fill(opcode: Opcode, operand: Operand, named: dict[str, Value]) -> Value:
    if operand.tied_to is not None:
        return _checked(opcode, opcode.operands[opcode.position[operand.tied_to]], named)
    if isinstance(operand.type, CountOf):
        modifier = named[operand.type.operand]
        assert isinstance(modifier, Register)
        if operand.type.half is not None:
            modifier = modifier.parts[operand.type.half]
        return modifier.parts[3]  # m, dn, dj, dc
    return operand.type if isinstance(operand.type, Register) else _checked(opcode, operand, named)


def _checked(opcode: Opcode, operand: Operand, named: dict[str, Value]) -> Value:
    if operand.name not in named:
        raise InputError(f"{opcode.name} needs operand {operand.name}: {opcode.text}")
    value = named[operand.name]
    why = mismatch(operand, value)
    if why:
        raise InputError(f"{opcode.mnemonic}: operand {operand.name}: {why}")
    return value


def mismatch(operand: Operand, value: Value) -> str | None:
    """Why `value` does not fit `operand`, or None when it does."""
    kind = operand.type
    if isinstance(kind, Immediate):
        if not isinstance(value, int):
            return f"found register {value.text}, expected an immediate {kind.minimum} to {kind.maximum}"
        if not kind.minimum <= value <= kind.maximum or value % kind.scale:
            steps = f" in steps of {kind.scale}" if kind.scale != 1 else ""
            return f"immediate {value} is out of range, expected {kind.minimum} to {kind.maximum}{steps}"
    elif isinstance(kind, RegisterClass):
        if not isinstance(value, Register):
            return f"found immediate {value}, expected one of {_some(kind)}"
        if value.name not in kind.code_of:
            return f"register {value.text} cannot stand here, expected one of {_some(kind)}"
    return None


def _some(kind: RegisterClass) -> str:
    names = [register.text for register in kind.registers]
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:4])} … {names[-1]} ({len(names)} registers)"


def _code(operand: Operand, value: Value) -> int:
    if isinstance(operand.type, RegisterClass):
        assert isinstance(value, Register)
        return operand.type.code_of[value.name]
    assert isinstance(operand.type, Immediate) and isinstance(value, int)
    return (value // operand.type.scale) & ((1 << operand.type.bits) - 1)


def _value(operand: Operand, word: int) -> Value | None:
    code = sum(((word >> lsb) & ((1 << width) - 1)) << low for lsb, width, low in operand.segments)
    kind = operand.type
    if isinstance(kind, RegisterClass):
        return kind.by_code.get(code)
    assert isinstance(kind, Immediate)
    if kind.kind == "n" or (kind.kind == "s" and code >> (kind.bits - 1)):
        code -= 1 << kind.bits
    return code * kind.scale


@lru_cache(maxsize=1)
def _decoders() -> dict[str, dict[int, dict[int, list[Opcode]]]]:
    """Slot -> mask -> value -> opcodes."""
    decoders: dict[str, dict[int, dict[int, list[Opcode]]]] = {}
    for opcode in instruction_table().opcodes.values():
        decoders.setdefault(opcode.slot, {}).setdefault(opcode.mask, {}).setdefault(opcode.value, []).append(opcode)
    return decoders


def matching(slot: str, word: int) -> list[Instruction]:
    """Every reading of a slot word; more than one only where the table names which opcode yields."""
    found = []
    for mask, by_value in _decoders()[slot].items():
        for opcode in by_value.get(word & mask, ()):
            named = {o.name: _value(o, word) for o in opcode.operands if o.segments and o.tied_to is None}
            if all(value is not None for value in named.values()):
                found.append(Instruction.of(opcode, **{k: v for k, v in named.items() if v is not None}))
    return found


@lru_cache(maxsize=65536)
def decode_slot(slot: str, word: int) -> Instruction | None:
    """The operation that a slot word holds, or None when the word means nothing."""
    found = matching(slot, word)
    if len(found) > 1:
        names = {instruction.opcode.name for instruction in found}
        found = [instruction for instruction in found if instruction.opcode.yields_to not in names]
    return found[0] if found else None


@dataclass(frozen=True)
class Bundle:
    """One VLIW instruction word: a format and the operation in each of its slots (no-operations included)."""

    format: Format
    instructions: tuple[Instruction, ...]

    @classmethod
    def of(cls, instructions: Iterable[Instruction], format: Format | None = None) -> Bundle:
        """Put operations into the smallest format that holds them, or into `format`. InputError when none does."""
        by_slot: dict[str, Instruction] = {}
        for instruction in instructions:
            slot = instruction.opcode.slot
            if slot in by_slot:
                raise InputError(
                    f"slot {slot} cannot hold both {by_slot[slot].opcode.mnemonic} and {instruction.opcode.mnemonic}: "
                    "a bundle has one place for each slot"
                )
            by_slot[slot] = instruction
        format = format or smallest_format(frozenset(by_slot))
        if by_slot.keys() - format.lsb_of.keys():
            missing = ", ".join(sorted(by_slot.keys() - format.lsb_of.keys()))
            raise InputError(f"format {format.name} has no slot {missing}")
        order = [slot for slot in SLOT_ORDER if slot in format.lsb_of]
        return cls(format, tuple(by_slot.get(slot) or nop(slot) for slot in order))

    @cached_property
    def operations(self) -> tuple[Instruction, ...]:
        """The instructions that do something."""
        return tuple(instruction for instruction in self.instructions if not instruction.opcode.is_nop)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.format.size

    def encode(self) -> bytes:
        """The bundle's bytes, as they stand in program memory."""
        word = self.format.value
        for instruction in self.instructions:
            word |= instruction.word << self.format.lsb_of[instruction.opcode.slot]
        return word.to_bytes(self.format.size, "little")


@lru_cache(maxsize=16)
def nop(slot: str) -> Instruction:
    """The no-operation of a slot."""
    table = instruction_table()
    return Instruction(table.opcodes[table.slots[slot].nop], ())


@lru_cache(maxsize=1024)
def formats_holding(slots: frozenset[str]) -> tuple[Format, ...]:
    """The formats that have all of `slots`, smallest first."""
    formats = (f for f in instruction_table().formats.values() if slots <= f.lsb_of.keys())
    return tuple(sorted(formats, key=lambda f: (f.bits, len(f.lsb_of))))


def smallest_format(slots: frozenset[str]) -> Format:
    """The smallest format that has all of `slots`; InputError when none has."""
    formats = formats_holding(slots)
    if not formats:
        names = ", ".join(slot for slot in SLOT_ORDER if slot in slots)
        raise InputError(f"no bundle format holds slots {names} together (lng lies over alu and mv)")
    return formats[0]


@lru_cache(maxsize=1)
def _formats_by_length() -> tuple[dict[int, int], dict[int, list[Format]]]:
    """Low four bits -> size in bytes, and size -> formats."""
    sizes: dict[int, int] = {}
    by_size: dict[int, list[Format]] = {}
    for format in instruction_table().formats.values():
        by_size.setdefault(format.size, []).append(format)
        for low in range(16):
            if (low ^ format.value) & format.mask & 15 == 0:
                assert sizes.setdefault(low, format.size) == format.size
    return sizes, by_size


def bundle_size(first_byte: int) -> int:
    """Size in bytes of the bundle that starts with `first_byte`."""
    return _formats_by_length()[0][first_byte & 15]


def decode_bundle(data: bytes | memoryview, address: int = 0) -> Bundle:
    """Decode the bundle at the start of `data`; FileFormatError (with `address`) when cut off or without meaning."""
    if not data:
        raise FileFormatError(f"program ends at {address:#x} where a bundle was expected")
    sizes, by_size = _formats_by_length()
    size = sizes.get(data[0] & 15, 0)
    if len(data) < size or not size:
        raise FileFormatError(
            f"bundle at {address:#x} is cut off: first byte {data[0]:#04x} announces {size} bytes, {len(data)} are left"
        )
    word = int.from_bytes(data[:size], "little")
    for format in by_size[size]:
        if word & format.mask == format.value:
            return Bundle(format, tuple(_decode_slots(format, word, address)))
    raise FileFormatError(
        f"bytes {bytes(data[:size]).hex()} at {address:#x} are no AIE2 bundle: no {size}-byte format fits"
    )


def _decode_slots(format: Format, word: int, address: int) -> Iterator[Instruction]:
    slots = instruction_table().slots
    for slot in SLOT_ORDER:
        if slot in format.lsb_of:
            slot_word = (word >> format.lsb_of[slot]) & ((1 << slots[slot].width) - 1)
            instruction = decode_slot(slot, slot_word)
            if instruction is None:
                raise FileFormatError(
                    f"slot {slot} of the bundle at {address:#x} holds {slot_word:#x}, which is no operation"
                )
            yield instruction


def decode_program(data: bytes, base: int = 0) -> Iterator[tuple[int, Bundle]]:
    """Decode bundle after bundle: (address, bundle). FileFormatError at the first that cannot be read."""
    view, offset = memoryview(data), 0
    while offset < len(data):
        bundle = decode_bundle(view[offset : offset + 16], base + offset)
        yield base + offset, bundle
        offset += bundle.size
