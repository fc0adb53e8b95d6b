"""The compiler's program: operations on virtual registers, in blocks and counted loops.

An operation is an AIE2 opcode (or several of different slots that do the same, its `choices`) whose register operands
may still be virtual. Nothing is scheduled here; program order is the meaning.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xattn.isa.model import Opcode, Register, RegisterClass
from xattn.isa.table import instruction_table

_serial = itertools.count()

# One register of each file stands for its shape (parts and storage) while the real one is not known.
_EXAMPLE = {
    "r": "r0", "p": "p0", "m": "m0", "dj": "dj0", "d": "d0", "s": "s0", "l": "l0",
    "w": "wl0", "x": "x0", "y": "y2", "am": "amll0", "bm": "bml0", "cm": "cm0",
}  # fmt: skip


class VirtualRegister:
    """A value that will live in a register of `file`; `within` narrows the choice by register name."""

    __slots__ = ("file", "name", "serial", "within")

    def __init__(self, file: str, name: str = "", within: frozenset[str] | None = None) -> None:
        self.file = file
        self.serial = next(_serial)
        self.name = name or f"{file}.{self.serial}"
        self.within = within

    def __repr__(self) -> str:
        return f"%{self.name}"

    @property
    def example(self) -> Register:
        """A register of the same shape."""
        return instruction_table().registers[_EXAMPLE[self.file]]

    def part(self, index: int) -> Part:
        """The storage leaf at `index`, least significant first: halves of x, rows of cm; m, dn, dj, dc of d."""
        return Part(self, index)


@dataclass(frozen=True, slots=True)
class Part:
    """A storage leaf of a virtual register."""

    whole: VirtualRegister
    index: int

    @property
    def example(self) -> Register:
        """A register of the same shape."""
        return self.whole.example.storage[self.index]


@dataclass(frozen=True, slots=True)
class Half:
    """The low (0) or high (1) half of a virtual register, as an operand that names the half: bml and bmh of cm."""

    whole: VirtualRegister
    index: int

    @property
    def example(self) -> Register:
        """A register of the same shape."""
        return self.of(self.whole.example)

    def of(self, whole: Register) -> Register:
        """The half of a real register."""
        return whole.parts[self.index]


@dataclass(frozen=True, slots=True)
class LowHalf:
    """An operand that names a whole register of which only the low half is read (the 4×8 side of a block product)."""

    whole: VirtualRegister

    @property
    def example(self) -> Register:
        """A register of the same shape."""
        return self.whole.example


@dataclass(frozen=True, slots=True)
class Label:
    """A place in the program whose byte address becomes an immediate."""

    name: str


class Address(int):
    """An immediate that is an address in an array of the kernel's own: another one where a linker moves the array."""

    array: Array
    offset: int

    @classmethod
    def of(cls, array: Array, offset: int = 0) -> Address:
        """The address of byte `offset` of an array that has been placed."""
        assert array.address is not None, f"{array.name} has not been placed"
        address = cls(array.address + offset)
        address.array, address.offset = array, offset
        return address


Reference = VirtualRegister | Part | Half | LowHalf | Register | Label | int
Location = tuple[VirtualRegister | Register, int]  # storage leaf of a register


def locations(reference: Reference) -> tuple[Location, ...]:
    """The storage that a register reference touches."""
    if isinstance(reference, VirtualRegister):
        return tuple((reference, leaf) for leaf in range(len(reference.example.storage)))
    if isinstance(reference, LowHalf):
        reference = reference.whole.part(0)
    if isinstance(reference, Half):
        leaves = len(reference.example.storage)
        return tuple((reference.whole, reference.index * leaves + leaf) for leaf in range(leaves))
    if isinstance(reference, Part):
        return ((reference.whole, reference.index),)
    if isinstance(reference, Register):
        return tuple((leaf, 0) for leaf in reference.storage)
    return ()


@dataclass(frozen=True)
class Choice:
    """One way to do an operation: an opcode with its operands by name (tied, fixed and count operands left out)."""

    opcode: Opcode
    operands: Mapping[str, Reference]


@dataclass(frozen=True)
class Affine:
    """A byte offset: a constant plus a coefficient for each counter of each loop."""

    constant: int = 0
    terms: tuple[tuple[Counter, int], ...] = ()

    @classmethod
    def of(cls, constant: int, terms: Mapping[Counter, int]) -> Affine:
        """Normalise: zero coefficients are dropped, loops ordered by age."""
        ordered = sorted(terms.items(), key=lambda item: (item[0].loop.serial, item[0].axis))
        return cls(constant, tuple((counter, factor) for counter, factor in ordered if factor))

    def coefficients(self, loop: Loop) -> tuple[int, ...]:
        """The coefficients of `loop`'s counters, outermost first."""
        known = dict(self.terms)
        return tuple(known.get(Counter(loop, axis), 0) for axis in range(len(loop.shape)))

    def moves_with(self, loop: Loop) -> bool:
        """Whether the offset depends on one of `loop`'s counters."""
        return any(self.coefficients(loop))

    def steps(self, loop: Loop) -> tuple[int, ...]:
        """How far the offset moves from one trip to the next: when the last counter rises, when the one before, …"""
        factors = self.coefficients(loop)
        steps = []
        for axis in reversed(range(len(factors))):
            inner = zip(factors[axis + 1 :], loop.shape[axis + 1 :], strict=True)
            steps.append(factors[axis] - sum(factor * (size - 1) for factor, size in inner))
        return tuple(steps)

    def advance(self, loop: Loop) -> int:
        """How far a pointer that follows the offset has moved when the loop is done."""
        return loop.shape[0] * self.coefficients(loop)[0]

    def at(self, loop: Loop, trip: int) -> int:
        """What `loop` adds in its trip number `trip`."""
        total = 0
        for factor, size in zip(reversed(self.coefficients(loop)), reversed(loop.shape), strict=True):
            trip, count = divmod(trip, size)
            total += factor * count
        return total

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.constant + other, self.terms)
        terms = dict(self.terms)
        for counter, factor in other.terms:
            terms[counter] = terms.get(counter, 0) + factor
        return Affine.of(self.constant + other.constant, terms)

    def scaled(self, factor: int) -> Affine:
        """Every part times `factor`."""
        return Affine.of(self.constant * factor, {counter: f * factor for counter, f in self.terms})


@dataclass(eq=False)
class Array:
    """Memory that a kernel uses: an argument (its base comes in a pointer) or scratch at a fixed address."""

    name: str
    size: int  # bytes
    base: VirtualRegister | None = None  # arguments
    address: int | None = None  # scratch, once placed
    contents: bytes | None = None  # constant tables
    alignment: int = 32
    bank: int | None = None

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MemoryReference:
    """What an operation touches in memory. `offset` is None where the address depends on data."""

    array: Array
    offset: Affine | None
    bytes: int
    is_store: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """A named stage of what a kernel computes, or a part of one."""

    name: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for an operation: a line of a kernel's source (0: nobody's), and the stage that it belongs to."""

    file: str = ""
    line: int = 0
    stage: Stage | None = None


@dataclass(eq=False)
class Operation:
    """One operation in program order."""

    choices: tuple[Choice, ...]
    memory: MemoryReference | None = None
    origin: Origin = Origin()
    serial: int = field(default_factory=lambda: next(_serial))

    def __repr__(self) -> str:
        choice = self.choices[0]
        shown = {name: repr(value) for name, value in choice.operands.items()}
        return choice.opcode.text.format(**{o.name: shown.get(o.name, "_") for o in choice.opcode.operands})

    @property
    def opcode(self) -> Opcode:
        """The first choice's opcode."""
        return self.choices[0].opcode

    @property
    def line(self) -> int:
        """The kernel source line that asked for it, 0 where none did."""
        return self.origin.line


@dataclass(eq=False)
class Block:
    """Operations without control flow between them."""

    operations: list[Operation] = field(default_factory=list)


@dataclass(eq=False)
class When:
    """A body done once or, where `condition` is zero, `otherwise` in its place. They are no part of a hardware loop."""

    condition: VirtualRegister
    body: Region = field(default_factory=list)
    origin: Origin = Origin()
    otherwise: Region = field(default_factory=list)


@dataclass(eq=False)
class Loop:
    """A body done once for every combination of its counters; the last counter runs fastest."""

    shape: tuple[int, ...]
    body: Region = field(default_factory=list)
    name: str = ""
    origin: Origin = Origin()
    serial: int = field(default_factory=lambda: next(_serial))

    @property
    def line(self) -> int:
        """The kernel source line of the loop."""
        return self.origin.line

    @property
    def trips(self) -> int:
        """How often the body is done."""
        return math.prod(self.shape)

    @property
    def is_innermost(self) -> bool:
        """Whether the body is one block."""
        return len(self.body) == 1 and isinstance(self.body[0], Block)


@dataclass(frozen=True)
class Counter:
    """One of a loop's counters."""

    loop: Loop
    axis: int


@dataclass
class Program:
    """A kernel before scheduling: its arguments in order, its memory, its code."""

    name: str
    pointers: list[VirtualRegister]
    scalars: list[VirtualRegister]
    arrays: list[Array]
    body: Region  # starts with the entry block


Region = list["Block | Loop | When"]


def regions(item: Loop | When) -> tuple[Region, ...]:
    """The regions inside of a loop or a conditional part."""
    return (item.body, item.otherwise) if isinstance(item, When) else (item.body,)


def blocks(region: Region) -> Iterator[Block]:
    """Every block of a region, in order."""
    for item in region:
        if isinstance(item, Block):
            yield item
        else:
            for inner in regions(item):
                yield from blocks(inner)


def conditions(region: Region) -> Iterator[VirtualRegister]:
    """What the conditional parts of a region depend on."""
    for item in region:
        if isinstance(item, When):
            yield item.condition
        if not isinstance(item, Block):
            for inner in regions(item):
                yield from conditions(inner)


def class_of(opcode: Opcode, name: str) -> RegisterClass:
    """The register class of an operand."""
    kind = opcode.operands[opcode.position[name]].type
    assert isinstance(kind, RegisterClass)
    return kind
