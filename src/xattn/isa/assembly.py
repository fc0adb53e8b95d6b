"""Assembler: text of whole programs to machine code.

One bundle a line, its operations separated by `;`. Comments start with `//`. A line may begin with labels (`name:`).
Symbols can stand for immediates, with an offset: `j #loop`, `movxm p0, #table + 32`. `nop*7` stands for seven lines.
An explicit no-operation (nopa, nopb, nopx …) claims its slot, so it can force a larger format; otherwise a bundle takes
the smallest format that has its slots.

Directives: `.align N` (fills with the fewest no-operation bundles), `.func NAME` (aligns to 16 bytes and starts a
global function), `.global NAME …`, `.extern NAME …` (defined in another object), `.equ NAME, VALUE`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xattn.errors import InputError
from xattn.isa.codec import Bundle, Instruction, formats_holding, smallest_format
from xattn.isa.model import Format
from xattn.isa.syntax import SYMBOL, Name, Place, Reading, is_symbol, read_operation, registers_by_text
from xattn.isa.table import SLOT_ORDER, instruction_table
from xattn.isa.timing import FETCH_BYTES


@dataclass(frozen=True)
class AssembledBundle:
    """A bundle of a program: its address, and the source line it came from (counted from 1)."""

    address: int
    bundle: Bundle
    line: int


@dataclass(frozen=True)
class Reference:
    """An operand that names a symbol: which operand of which bundle; what an object file records as a relocation."""

    address: int
    bundle: Bundle
    slot: str
    operand: str
    symbol: str
    addend: int


@dataclass(frozen=True)
class Program:
    """Assembled code: `base` is the address of its first byte, `symbols` are labels (byte addresses)."""

    base: int
    code: bytes
    bundles: tuple[AssembledBundle, ...]
    symbols: dict[str, int]
    constants: dict[str, int] = field(default_factory=dict)
    functions: dict[str, tuple[int, int]] = field(default_factory=dict)  # name: (address, bytes)
    global_symbols: frozenset[str] = frozenset()
    external_symbols: frozenset[str] = frozenset()
    references: tuple[Reference, ...] = ()
    source: tuple[str, ...] = ()


def assemble(text: str, base: int = 0) -> bytes:
    """Machine code of one bundle or many that starts at address `base`. InputError, with line and column."""
    program = assemble_program(text, base)
    if program.external_symbols:
        names = ", ".join(sorted(program.external_symbols))
        raise InputError(f"{names}: external symbols need an object file; assemble_program keeps their relocations")
    return program.code


def assemble_program(text: str, base: int = 0) -> Program:
    """Assemble `text` into a program that starts at `base`, a multiple of 16. InputError, with line and column."""
    if base % FETCH_BYTES or base < 0:
        raise InputError(f"base address {base:#x} is not a multiple of {FETCH_BYTES}, where the core fetches")
    assembler = _Assembler(base)
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        assembler.line(line, number)
    return assembler.finish(tuple(lines))


_LABEL = re.compile(rf"\s*({SYMBOL})\s*:(?!\w)")
_REPEAT = re.compile(r"(\w[\w.]*)\s*\*\s*(\d+)")


@dataclass(frozen=True)
class _Pending:
    """A bundle whose format is known and whose symbols are not."""

    address: int
    readings: tuple[Reading, ...]
    format: Format
    line: int


class _Assembler:
    """First pass: addresses and labels, line by line. `finish` is the second: values of symbols, and bits."""

    def __init__(self, base: int) -> None:
        self.base = self.address = base
        self.pending: list[_Pending] = []
        self.labels: dict[str, int] = {}
        self.constants: dict[str, int] = {}
        self.function_starts: list[str] = []
        self.globals: dict[str, Place] = {}
        self.externals: dict[str, Place] = {}

    def line(self, text: str, number: int) -> None:
        text = text.split("//", 1)[0].rstrip()
        start = 0
        while label := _LABEL.match(text, start):
            self.define(label[1], self.address, self.labels, Place(number, label.start(1) + 1))
            start = label.end()
        start += len(text[start:]) - len(text[start:].lstrip())
        if text[start:].startswith("."):
            self.directive(text[start:], Place(number, start + 1))
        elif text[start:]:
            self.bundle_line(text, start, number)

    def define(self, name: str, value: int, among: dict[str, int], place: Place) -> None:
        if name.lower() in registers_by_text():
            raise place.error(f"{name} is a register and cannot name a place")
        if name in self.labels or name in self.constants or name in self.externals:
            raise place.error(f"{name} is defined twice")
        among[name] = value

    def directive(self, text: str, place: Place) -> None:
        name, _, rest = text.partition(" ")
        words = rest.replace(",", " ").split()
        actions: dict[str, Callable[[list[str], Place], None]] = {
            ".align": self.align,
            ".func": self.function,
            ".global": self.make_global,
            ".extern": self.extern,
            ".equ": self.equate,
        }
        if name not in actions:
            raise place.error(f"unknown directive {name}, expected one of {', '.join(actions)}")
        actions[name](words, place)

    def align(self, words: list[str], place: Place) -> None:
        step = self.number(words[0], place) if len(words) == 1 else 0
        if step not in (2, 4, 8, 16, 32, 64, 128, 256):
            raise place.error(f".align takes a power of two from 2 to 256, found {' '.join(words) or 'nothing'}")
        for filler in fillers(-self.address % step):
            self.pending.append(_Pending(self.address, (), filler, place.line))
            self.address += filler.size

    def function(self, words: list[str], place: Place) -> None:
        self.make_global(words, place)
        if len(words) != 1:
            raise place.error(f".func takes one name, found {len(words)}")
        self.align([str(FETCH_BYTES)], place)
        self.define(words[0], self.address, self.labels, place)
        self.function_starts.append(words[0])

    def make_global(self, words: list[str], place: Place) -> None:
        self.check_names(words, place)
        self.globals.update(dict.fromkeys(words, place))

    def extern(self, words: list[str], place: Place) -> None:
        self.check_names(words, place)
        for word in words:
            if word in self.labels or word in self.constants:
                raise place.error(f"{word} is defined here and cannot be external")
        self.externals.update(dict.fromkeys(words, place))

    def equate(self, words: list[str], place: Place) -> None:
        if len(words) != 2:
            raise place.error(f".equ takes a name and a value, found {' '.join(words) or 'nothing'}")
        self.check_names(words[:1], place)
        self.define(words[0], self.number(words[1], place), self.constants, place)

    @staticmethod
    def check_names(words: list[str], place: Place) -> None:
        bad = [word for word in words if not is_symbol(word)]
        if bad or not words:
            raise place.error(f"expected a symbol name, found {bad[0] if bad else 'nothing'}")

    @staticmethod
    def number(word: str, place: Place) -> int:
        try:
            return int(word.removeprefix("#"), 0)
        except ValueError:
            raise place.error(f"expected an integer, found {word!r}") from None

    def bundle_line(self, text: str, start: int, number: int) -> None:
        repeat = _REPEAT.fullmatch(text[start:])
        count = int(repeat[2]) if repeat else 1
        if repeat:
            text = text[: start + repeat.end(1)]
        readings = tuple(_operations(text, start, number))
        if not readings:
            raise Place(number, start + 1).error("expected an operation, found ';'")
        format = _format_for(readings)
        for _ in range(count):
            self.pending.append(_Pending(self.address, readings, format, number))
            self.address += format.size

    def finish(self, source: tuple[str, ...]) -> Program:
        for name, place in self.globals.items():
            if name not in self.labels and name not in self.constants:
                raise place.error(f"{name} is declared global but not defined")
        bundles: list[AssembledBundle] = []
        references: list[Reference] = []
        for pending in self.pending:
            instructions = [self.resolve(reading) for reading in pending.readings]
            bundle = Bundle.of(instructions, pending.format)
            bundles.append(AssembledBundle(pending.address, bundle, pending.line))
            for reading in pending.readings:
                references += self.references(pending.address, bundle, reading)
        return Program(
            base=self.base,
            code=b"".join(item.bundle.encode() for item in bundles),
            bundles=tuple(bundles),
            symbols=self.labels,
            constants=self.constants,
            functions=dict(self.functions()),
            global_symbols=frozenset(self.globals),
            external_symbols=frozenset(self.externals),
            references=tuple(references),
            source=source,
        )

    def resolve(self, reading: Reading) -> Instruction:
        for operand, name in reading.symbols:
            if not (name.symbol in self.labels or name.symbol in self.constants or name.symbol in self.externals):
                raise reading.places[operand].error(self.undefined(name.symbol))
        instruction = reading.resolve(self.value_of)
        for operand, name in reading.symbols:
            value = instruction[operand]
            if (
                name.symbol in self.labels
                and isinstance(value, int)
                and value % FETCH_BYTES
                and _is_fetched(instruction)
            ):
                raise reading.places[operand].error(
                    f"{name.symbol} is at {value:#x}; branch targets and loop bounds must be multiples of "
                    f"{FETCH_BYTES}: write .align {FETCH_BYTES} before it"
                )
        return instruction

    def value_of(self, name: Name) -> int:
        if name.symbol in self.externals:
            return 0
        return self.labels.get(name.symbol, self.constants.get(name.symbol, 0)) + name.offset

    def undefined(self, symbol: str) -> str:
        near = difflib.get_close_matches(symbol, [*self.labels, *self.constants, *self.externals], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "declare those of another object with .extern"
        return f"{symbol} is no register, and no label or constant of that name is defined; {hint}"

    def references(self, address: int, bundle: Bundle, reading: Reading) -> Iterator[Reference]:
        for operand, name in reading.symbols:
            if name.symbol not in self.constants:
                yield Reference(address, bundle, reading.opcode.slot, operand, name.symbol, name.offset)

    def functions(self) -> Iterator[tuple[str, tuple[int, int]]]:
        end = self.address
        for name in reversed(self.function_starts):
            start = self.labels[name]
            yield name, (start, end - start)
            end = start


def fillers(size: int) -> Iterator[Format]:
    """Formats of the fewest bundles that fill `size` bytes (even) with no-operations."""
    while size:
        step = min(size, 16)
        yield next(f for f in instruction_table().formats.values() if f.size == step)
        size -= step


def _is_fetched(instruction: Instruction) -> bool:
    """Whether the instruction's address operand is one that the fetch unit uses: a branch target or a loop bound."""
    written = {str(v) for o, v in zip(instruction.opcode.operands, instruction.values, strict=True) if o.is_def}
    return instruction.opcode.is_branch or not written.isdisjoint({"LS", "LE"})


def _operations(text: str, start: int, number: int) -> Iterator[Reading]:
    for piece in text[start:].split(";"):
        stripped = piece.lstrip()
        if stripped.strip():
            yield read_operation(stripped.rstrip(), Place(number, start + len(piece) - len(stripped) + 1))
        start += len(piece) + 1


def _format_for(readings: tuple[Reading, ...]) -> Format:
    """The smallest format that holds the operations; an error that names the way out when there is none."""
    by_slot: dict[str, Reading] = {}
    for reading in readings:
        slot = reading.opcode.slot
        if slot in by_slot:
            first = by_slot[slot].opcode.mnemonic
            raise reading.place.error(
                f"{first} and {reading.opcode.mnemonic} are both operations of slot {slot}, which a bundle has once"
                + "".join(_elsewhere(r) for r in (by_slot[slot], reading))
            )
        by_slot[slot] = reading
    if not formats_holding(frozenset(by_slot)):
        names = ", ".join(slot for slot in SLOT_ORDER if slot in by_slot)
        why = "lng lies over alu and mv" if "lng" in by_slot else "the 16-bit nop stands alone or with nopxm"
        raise readings[0].place.error(f"no bundle format holds slots {names} together: {why}")
    return smallest_format(frozenset(by_slot))


def _elsewhere(reading: Reading) -> str:
    """Where else the operation can be had."""
    table = instruction_table()
    others = {
        other: table.opcodes[other]
        for group in table.alternatives
        if reading.opcode.name in group
        for other in group
        if table.opcodes[other].slot != reading.opcode.slot
    }
    if not others:
        return ""
    return f"; {reading.opcode.mnemonic} can be {' or '.join(f'{o.mnemonic} ({o.slot})' for o in others.values())}"
