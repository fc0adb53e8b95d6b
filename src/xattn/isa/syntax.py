"""Assembly text of one operation, both ways, driven by the text templates of the instruction table.

A template such as `vlda {dst}, [{ptr}], {mod}` is a shape, `·, [·], ·`, with a place for each dot. Text of the same
mnemonic and shape is an instance of the template when what stands in each place fits the operand there. No two opcodes
share a text, so at most one template fits. Names are matched without regard to case.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from xattn.errors import InputError
from xattn.isa.codec import Instruction, Value, mismatch
from xattn.isa.model import CountOf, Immediate, Opcode, Operand, Register, RegisterClass
from xattn.isa.table import instruction_table


@dataclass(frozen=True)
class Place:
    """Where something stands in the source: for error messages. Lines and columns count from 1."""

    line: int
    column: int

    def error(self, message: str) -> InputError:
        """An InputError that starts with the place."""
        return InputError(f"line {self.line}, column {self.column}: {message}")


@dataclass(frozen=True)
class Name:
    """A symbol used as an operand, with an offset added to its value."""

    symbol: str
    offset: int = 0


@dataclass(frozen=True)
class OperandText:
    """What stands in one place of an operation: a name or an integer, not yet matched to an operand."""

    text: str
    place: Place
    value: int | Name


@dataclass(frozen=True)
class Reading:
    """An operation whose opcode is known; operands that name symbols wait for their values."""

    opcode: Opcode
    named: dict[str, Value | Name]
    places: dict[str, Place]
    place: Place

    @property
    def symbols(self) -> Iterator[tuple[str, Name]]:
        """(operand name, symbol) for the operands that are not known yet."""
        return ((name, value) for name, value in self.named.items() if isinstance(value, Name))

    def resolve(self, value_of: Callable[[Name], int]) -> Instruction:
        """The instruction, with each symbol replaced by its value; InputError when a value does not fit."""
        named: dict[str, Value] = {}
        for name, value in self.named.items():
            number = value_of(value) if isinstance(value, Name) else value
            why = mismatch(self.opcode.operands[self.opcode.position[name]], number)
            if why:
                origin = f"{value.symbol}: " if isinstance(value, Name) else ""
                raise self.places[name].error(f"{self.opcode.mnemonic}: {origin}{why}")
            named[name] = number
        return Instruction.of(self.opcode, **named)


@dataclass(frozen=True)
class Form:
    """A text template, split into its shape and its places: operand names in braces, or words that must stand there."""

    opcode: Opcode
    shape: str
    places: tuple[str, ...]

    def operand(self, position: int) -> Operand | None:
        """The operand at a place, or None where a word must stand."""
        place = self.places[position]
        return self.opcode.operands[self.opcode.position[place[1:-1]]] if place.startswith("{") else None

    def example(self) -> str:
        """An instance of the template."""

        def sample(match: re.Match[str]) -> str:
            kind = self.opcode.operands[self.opcode.position[match[1]]].type
            if isinstance(kind, RegisterClass):
                return kind.registers[0].text
            return kind.text if isinstance(kind, Register) else "#0"

        return re.sub(r"\{(\w+)\}", sample, self.opcode.text)


SYMBOL = r"[A-Za-z_.$][\w.$]*"
_TOKEN = re.compile(
    rf"\s*(?:(?P<word>{SYMBOL}(?::[A-Za-z]\w*)?)|(?P<int>[+-]?\s*(?:0[xX][0-9a-fA-F]+|\d+)\b)|(?P<mark>[\[\],#]))"
)
_TEMPLATE_TOKEN = re.compile(r"\{\w+\}|\w+|[\[\],]")
_MNEMONIC = re.compile(r"[A-Za-z][\w.]*")


@lru_cache(maxsize=1)
def forms() -> dict[str, list[Form]]:
    """Mnemonic (lower case) to the templates that it has."""
    found: dict[str, list[Form]] = {}
    for opcode in instruction_table().opcodes.values():
        tokens = _TEMPLATE_TOKEN.findall(opcode.text.partition(" ")[2])
        shape = "".join(token if token in "[]," else "·" for token in tokens)
        places = tuple(token for token in tokens if token not in "[],")
        found.setdefault(opcode.mnemonic.lower(), []).append(Form(opcode, shape, places))
    return found


@lru_cache(maxsize=1)
def registers_by_text() -> dict[str, tuple[Register, ...]]:
    """Register name in lower case to the registers it can mean (d0 is a 2-D modifier and the name of a 3-D one)."""
    found: dict[str, tuple[Register, ...]] = {}
    for register in instruction_table().registers.values():
        for text in {register.text.lower(), register.name.lower()}:
            found[text] = (*found.get(text, ()), register)
    return found


def is_symbol(name: str) -> bool:
    """Whether a name can be that of a label."""
    return re.fullmatch(SYMBOL, name) is not None and name.lower() not in registers_by_text()


def read_operation(text: str, place: Place) -> Reading:
    """The operation that `text` says; `place` is where it starts. InputError, with line and column, when none does."""
    mnemonic = _MNEMONIC.match(text)
    if not mnemonic:
        raise place.error(f"expected a mnemonic, found {text!r}")
    candidates = forms().get(mnemonic[0].lower())
    if candidates is None:
        raise place.error(f"unknown mnemonic {mnemonic[0]!r}{_near(mnemonic[0].lower(), forms())}")
    shape, operands = _shape(text, mnemonic.end(), place)
    same_shape = [form for form in candidates if form.shape == shape]
    if not same_shape:
        raise place.error(
            f"{mnemonic[0]}: operands do not have the form of any {mnemonic[0]}, such as {_examples(candidates)}"
        )
    readings = [_fit(form, operands) for form in same_shape]
    for form, values in zip(same_shape, readings, strict=True):
        if len(values) == len(operands):
            names = {name[1:-1]: i for i, name in enumerate(form.places) if name.startswith("{")}
            named = {name: values[i] for name, i in names.items()}
            return Reading(form.opcode, _known(form, named), {n: operands[i].place for n, i in names.items()}, place)
    raise _misfit(mnemonic[0], same_shape, [len(values) for values in readings], operands)


def _shape(text: str, start: int, place: Place) -> tuple[str, list[OperandText]]:
    """The punctuation between operands, and the operands."""
    operands: list[OperandText] = []
    shape, end = "", start
    while text[end:].strip():
        token = _TOKEN.match(text, end)
        if not token:
            at = end + len(text[end:]) - len(text[end:].lstrip())
            raise Place(place.line, place.column + at).error(f"unexpected {text[at]!r} in {text!r}")
        kind = str(token.lastgroup)
        here = Place(place.line, place.column + token.start(kind))
        if kind == "int" and shape.endswith("·") and token["int"][0] in "+-" and isinstance(operands[-1].value, Name):
            base = operands[-1]
            assert isinstance(base.value, Name)
            name = Name(base.value.symbol, base.value.offset + _integer(token["int"]))
            operands[-1] = OperandText(text[base.place.column - place.column : token.end()], base.place, name)
        elif kind == "mark":
            shape += "" if token["mark"] == "#" else token["mark"]
        else:
            value = _integer(token["int"]) if kind == "int" else Name(token["word"])
            operands.append(OperandText(token[kind], here, value))
            shape += "·"
        end = token.end()
    return shape, operands


def _integer(text: str) -> int:
    return int(text.replace(" ", ""), 0) if "x" in text.lower() else int(text.replace(" ", ""))


def _fit(form: Form, operands: list[OperandText]) -> list[Value | Name]:
    """Values for the leading operands that fit the form; all of them fit when the list is as long as `operands`."""
    values: list[Value | Name] = []
    for position, found in enumerate(operands):
        value = _fit_one(form, position, found)
        if value is None:
            break
        values.append(value)
    return values


def _fit_one(form: Form, position: int, found: OperandText) -> Value | Name | None:
    operand = form.operand(position)
    if operand is None:
        return 0 if found.text.lower() == form.places[position].lower() else None
    if isinstance(found.value, int) or found.text.lower() not in registers_by_text():
        if not isinstance(operand.type, Immediate):
            return None
        return found.value if isinstance(found.value, Name) or mismatch(operand, found.value) is None else None
    if isinstance(operand.type, Immediate):
        return None
    return next((r for r in registers_by_text()[found.text.lower()] if _holds(operand, r)), None)


def _holds(operand: Operand, register: Register) -> bool:
    if isinstance(operand.type, RegisterClass):
        return register.name in operand.type.code_of
    return operand.type is register


def _known(form: Form, named: dict[str, Value | Name]) -> dict[str, Value | Name]:
    """Without the operands that the opcode fixes."""
    fixed = (Register, CountOf)
    return {
        name: value
        for name, value in named.items()
        if not isinstance(form.opcode.operands[form.opcode.position[name]].type, fixed)
    }


def _misfit(mnemonic: str, tried: list[Form], fitted: list[int], operands: list[OperandText]) -> InputError:
    """The error for the operand that the forms which came furthest do not accept."""
    position = max(fitted)
    found = operands[position]
    furthest = [form for form, count in zip(tried, fitted, strict=True) if count == position]
    expected = list(dict.fromkeys(_expected(form, position) for form in furthest))
    is_register = found.text.lower() in registers_by_text()
    foreign = (
        isinstance(found.value, Name) and not is_register and not any(_takes_symbol(f, position) for f in furthest)
    )
    note = ", which is no register," if foreign else ","
    return found.place.error(f"{mnemonic}: found {found.text}{note} expected {' or '.join(expected)}")


def _takes_symbol(form: Form, position: int) -> bool:
    operand = form.operand(position)
    return operand is not None and isinstance(operand.type, Immediate)


def _expected(form: Form, position: int) -> str:
    operand = form.operand(position)
    if operand is None:
        return form.places[position]
    kind = operand.type
    if isinstance(kind, Immediate):
        steps = f" in steps of {kind.scale}" if kind.scale != 1 else ""
        return f"#{kind.minimum} to #{kind.maximum}{steps}"
    if isinstance(kind, RegisterClass):
        return summary([register.text for register in kind.registers])
    return kind.text if isinstance(kind, Register) else operand.name


def summary(names: list[str]) -> str:
    """Register names in few words: runs such as r0 to r31 are written r0–r31."""
    files: dict[str, list[int]] = {}
    for name in names:
        number = re.fullmatch(r"([a-z]+)(\d+)", name)
        files.setdefault(number[1] if number else name, []).extend([int(number[2])] if number else [])
    parts: list[str] = []
    for file, numbers in files.items():
        runs = [
            [n for _, n in run] for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
        ]
        parts += [f"{file}{run[0]}" + (f"–{file}{run[-1]}" if len(run) > 1 else "") for run in runs] or [file]
    return ", ".join(parts)


def _near(name: str, known: dict[str, list[Form]]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _examples(candidates: list[Form]) -> str:
    shown = list(dict.fromkeys(form.example() for form in candidates))
    return "; ".join(shown[:4]) + (f" (and {len(shown) - 4} more)" if len(shown) > 4 else "")


def text_of(instruction: Instruction, name_of: Callable[[int], str | None] | None = None) -> str:
    """The instruction in assembly text. `name_of` may give a symbol for the value of an immediate operand."""
    opcode = instruction.opcode

    def operand(match: re.Match[str]) -> str:
        value = instruction[match[1]]
        if isinstance(value, Register):
            return value.text
        name = name_of(value) if name_of else None
        return f"#{name if name is not None else value}"

    return re.sub(r"\{(\w+)\}", operand, opcode.text)
