"""What each opcode does: a registry of meanings, and the effects that they are made of.

A meaning is a function that receives an `Operation`, reads operands from it and tells it what to write:

    @means("ADD")
    def add(i: Operation) -> None:
        i.write("mRx", i.read("mRx0") + i.read("mRy"))

It says nothing of time: when each operand is read and each result lands stands in the itineraries (`xattn.isa.timing`).
Every module of this package registers its meanings when it is imported; `meaning_of` imports them all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from xattn.errors import XattnError
from xattn.isa.model import CountOf, Immediate, Opcode, Register, RegisterClass
from xattn.isa.semantics.lanes import Value
from xattn.isa.table import instruction_table

ADDRESS_BITS = 20


class UnimplementedOpcodeError(XattnError):
    """An opcode whose encoding is known and whose meaning is not."""


@dataclass(frozen=True)
class Place:
    """A register to write: that of an operand (or a part of it, by indices into `Register.parts`), or a named one."""

    operand: str | None = None
    path: tuple[int, ...] = ()
    register: str | None = None


@dataclass(frozen=True)
class Write:
    """A register gets a value; a sticky one keeps the bits that it has. Wider values lose their high bits."""

    place: Place
    value: Value
    sticky: bool = False


@dataclass(frozen=True)
class Load:
    """Load number k of the operation; its `load` leaf is one lane of `bytes` * 8 bits, the lowest address lowest."""

    address: Value
    bytes: int


@dataclass(frozen=True)
class Store:
    """Memory gets a value of `bytes` bytes, in one lane. `part_word`: the word around it is read and written back."""

    address: Value
    value: Value
    bytes: int
    part_word: bool = False


@dataclass(frozen=True)
class Branch:
    """After the delay slots execution goes on at `target` if `condition` (1 bit; None: always)."""

    target: Value
    condition: Value | None


@dataclass(frozen=True)
class Lock:
    """Acquire or release lock `id` with `value`; a conditional one does nothing when `condition` is 0."""

    acquire: bool
    id: Value
    value: Value
    condition: Value | None = None


@dataclass(frozen=True)
class Effects:
    """Everything that an operation does."""

    writes: tuple[Write, ...] = ()
    loads: tuple[Load, ...] = ()
    store: Store | None = None
    branch: Branch | None = None
    lock: Lock | None = None
    done: bool = False
    event: Value | None = None


@dataclass
class Operation:
    """The hands of a meaning: read operands and registers, load, and record effects. Operand names are the table's."""

    opcode: Opcode
    writes: list[Write] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    stored: Store | None = None
    branched: Branch | None = None
    locked: Lock | None = None
    is_done: bool = False
    signalled: Value | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The words after the dots of the mnemonic: ('lt', 's16') is not split, 'vmax_lt.s16' gives ('s16',)."""
        return tuple(self.opcode.mnemonic.split(".")[1:])

    def has(self, name: str) -> bool:
        """Whether the opcode has an operand of that name."""
        return name in self.opcode.position

    def read(self, name: str, bits: int | None = None, path: tuple[int, ...] = ()) -> Value:
        """An operand: a register as one lane of its width, or cut into lanes of `bits`; an immediate as 32 bits.

        A class that mixes files gives its widest width; narrower registers are extended with zeros. `path` chooses a
        part by its index in `Register.parts`, for example (2,) for dj of a 2-D modifier.
        """
        operand = self.opcode.operands[self.opcode.position[name]]
        if isinstance(operand.type, Immediate):
            return Value("immediate", 1, 32, (), name)
        value = Value("operand", 1, width_of(self.opcode, name, path), (), (name, path))
        return value if bits is None else value.cut(bits)

    def write(self, name: str, value: Value, path: tuple[int, ...] = ()) -> None:
        """Write a result operand; lanes are joined, lowest first, and bits beyond the register's width are dropped."""
        self.writes.append(Write(Place(name, path), _joined(value)))

    def register(self, name: str, bits: int | None = None) -> Value:
        """The value of an implicit register, as one lane of its width or cut into lanes of `bits`."""
        value = Value("register", 1, instruction_table().register(name).bits, (), name)
        return value if bits is None else value.cut(bits)

    def set_register(self, name: str, value: Value) -> None:
        """Write an implicit register."""
        self.writes.append(Write(Place(register=name), _joined(value)))

    def raise_flag(self, name: str, value: Value) -> None:
        """Set the bits of `value` in a sticky status register; the others stay."""
        self.writes.append(Write(Place(register=name), _joined(value), sticky=True))

    def load(self, bits: int | None = None) -> Value:
        """Load from the address that the opcode's addressing mode gives, and update its pointer and counts.

        One lane of the access' width, or lanes of `bits`.
        """
        from xattn.isa.semantics.address import addressed

        assert self.opcode.memory is not None and self.opcode.memory.bytes is not None, self.opcode.name
        return self.load_at(addressed(self), self.opcode.memory.bytes, bits)

    def load_at(self, address: Value, size: int, bits: int | None = None) -> Value:
        """Load `size` bytes from an address of 20 bits."""
        self.loads.append(Load(address, size))
        value = Value("load", 1, 8 * size, (), len(self.loads) - 1)
        return value if bits is None else value.cut(bits)

    def store(self, value: Value) -> None:
        """Store a value at the address that the addressing mode gives, and update its pointer and counts."""
        from xattn.isa.semantics.address import addressed

        memory = self.opcode.memory
        assert memory is not None and memory.bytes is not None and self.stored is None, self.opcode.name
        joined = _joined(value)
        if joined.bits != 8 * memory.bytes:
            raise TypeError(f"{self.opcode.name} stores {memory.bytes} bytes, not {joined.bits} bits")
        self.stored = Store(addressed(self), joined, memory.bytes, memory.kind == "rmw_store")

    def branch(self, target: Value, condition: Value | None = None) -> None:
        """Go on at `target` after the delay slots, if the condition (1 bit) holds."""
        self.branched = Branch(target.trunc(ADDRESS_BITS), condition)

    def acquire(self, lock: Value, value: Value, condition: Value | None = None) -> None:
        """Acquire a lock; the core waits until it is granted."""
        self.locked = Lock(True, lock, value, condition)

    def release(self, lock: Value, value: Value, condition: Value | None = None) -> None:
        """Release a lock."""
        self.locked = Lock(False, lock, value, condition)

    def done(self) -> None:
        """The core stops."""
        self.is_done = True

    def event(self, value: Value) -> None:
        """Signal an event to the tile's event logic."""
        self.signalled = value

    @property
    def link_address(self) -> Value:
        """The address of the bundle after the fifth delay slot, where a called function returns to."""
        return Value("register", 1, ADDRESS_BITS, (), "return address")

    @property
    def effects(self) -> Effects:
        """What was recorded."""
        return Effects(
            tuple(self.writes),
            tuple(self.loads),
            self.stored,
            self.branched,
            self.locked,
            self.is_done,
            self.signalled,
        )


def _joined(value: Value) -> Value:
    return value.cast(1, value.lanes * value.bits)


def width_of(opcode: Opcode, name: str, path: tuple[int, ...] = ()) -> int:
    """Bits of a register operand, or of a part of it; the widest register's, where a class has several widths."""
    kind = opcode.operands[opcode.position[name]].type
    if isinstance(kind, CountOf):
        return ADDRESS_BITS
    registers = (kind,) if isinstance(kind, Register) else kind.registers if isinstance(kind, RegisterClass) else ()
    return max(part_of(register, path).bits for register in registers)


def part_of(register: Register, path: tuple[int, ...]) -> Register:
    """The part of a register that `path` names by indices into `parts`."""
    for index in path:
        register = register.parts[index]
    return register


Meaning = Callable[[Operation], None]
_meanings: dict[str, Meaning] = {}


def means(*patterns: str) -> Callable[[Meaning], Meaning]:
    """Register the meaning of the opcodes with these names; * and ? stand for any characters.

    ValueError when a pattern matches no opcode, or when an opcode already has a meaning.
    """

    def register(meaning: Meaning) -> Meaning:
        for pattern in patterns:
            names = [name for name in instruction_table().opcodes if fnmatchcase(name, pattern)]
            if not names:
                raise ValueError(f"no opcode is called {pattern}")
            for name in names:
                if name in _meanings:
                    raise ValueError(f"{name} has two meanings, {_meanings[name].__name__} and {meaning.__name__}")
                _meanings[name] = meaning
        return meaning

    return register


@lru_cache(maxsize=1)
def _all_meanings() -> dict[str, Meaning]:
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return _meanings


def implemented() -> frozenset[str]:
    """The names of the opcodes that have a meaning."""
    return frozenset(_all_meanings())


@lru_cache(maxsize=1024)
def meaning_of(opcode: Opcode) -> Effects:
    """What an opcode does, with its operands as leaves. UnimplementedOpcodeError when nobody has written that down."""
    meaning = _all_meanings().get(opcode.name)
    if meaning is None:
        raise UnimplementedOpcodeError(
            f"{opcode.mnemonic} (opcode {opcode.name}) can be encoded and timed, but what it does is not implemented"
        )
    operation = Operation(opcode)
    meaning(operation)
    return operation.effects
