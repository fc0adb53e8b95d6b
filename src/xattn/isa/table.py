"""Reads the instruction table from the text files in `tables/` (their first lines explain their form)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from xattn.isa.model import (
    CountOf,
    Format,
    Immediate,
    Itinerary,
    MemoryAccess,
    Opcode,
    Operand,
    PortUse,
    Register,
    RegisterClass,
    Slot,
)

SLOT_ORDER = ("ldb", "lda", "st", "alu", "mv", "lng", "vec", "nop")


@dataclass(frozen=True)
class InstructionTable:
    """Everything that is known of the AIE2 core's instruction set, by name."""

    registers: dict[str, Register]
    classes: dict[str, RegisterClass]
    slots: dict[str, Slot]
    formats: dict[str, Format]
    itineraries: dict[str, Itinerary]
    opcodes: dict[str, Opcode]
    alternatives: tuple[tuple[str, ...], ...]

    def opcode(self, name: str) -> Opcode:
        """The opcode called `name` (LLVM's identifier)."""
        return self.opcodes[name]

    def register(self, name: str) -> Register:
        """The register called `name`."""
        return self.registers[name]


@lru_cache(maxsize=1)
def instruction_table() -> InstructionTable:
    """The AIE2 instruction table; read once, about 20 ms."""
    registers = _registers()
    classes = _classes(registers)
    slots = _slots()
    itineraries = _itineraries()
    opcodes = {op.name: op for slot in slots.values() for op in _opcodes(slot, registers, classes, itineraries)}
    alternatives = tuple(tuple(line.split(": ")[1].split()) for line in _lines("alternatives"))
    return InstructionTable(registers, classes, slots, _formats(slots), itineraries, opcodes, alternatives)


@lru_cache(maxsize=1)
def ports() -> dict[str, str]:
    """The ports and units that itineraries name, with what they are."""
    return dict(line.split(maxsplit=1) for line in _lines("ports"))


def _lines(name: str) -> Iterator[str]:
    text = resources.files("xattn.isa").joinpath("tables").joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


def _columns(line: str, count: int) -> list[str]:
    columns = [column.strip() for column in line.split("|")]
    return columns + [""] * (count - len(columns))


def _registers() -> dict[str, Register]:
    made: dict[str, Register] = {}
    rows = {words[0]: words for words in (line.split() for line in _lines("registers"))}

    def make(name: str) -> Register:
        if name in made:
            return made[name]
        _, bits, file, *rest = rows[name]
        text = rest.pop(0)[1:] if rest and rest[0].startswith("=") else name
        parts = tuple(make(part) for part in reversed(rest))
        storage = tuple(leaf for part in parts for leaf in part.storage)
        register = Register(name, text, int(bits), file, parts, storage)
        if not parts:
            object.__setattr__(register, "storage", (register,))
        made[name] = register
        return register

    return {name: make(name) for name in rows}


def _classes(registers: dict[str, Register]) -> dict[str, RegisterClass]:
    classes: dict[str, RegisterClass] = {}
    current: RegisterClass | None = None
    for line in _lines("classes"):
        words = line.split()
        if words[0] == "class":
            current = classes[words[1]] = RegisterClass(words[1], int(words[2]), {}, {})
            continue
        assert current is not None
        for word in words:
            name, pattern = word.split("=")
            current.code_of[name] = int(pattern.replace(".", "0"), 2)
            for code in _codes(pattern):
                current.by_code[code] = registers[name]
    return classes


def _codes(pattern: str) -> Iterator[int]:
    if "." not in pattern:
        yield int(pattern, 2)
        return
    for bit in "01":
        yield from _codes(pattern.replace(".", bit, 1))


def _slots() -> dict[str, Slot]:
    rows = (line.split() for line in _lines("slots"))
    return {name: Slot(name, int(width), nop, tuple(overlays)) for name, width, nop, *overlays in rows}


def _formats(slots: dict[str, Slot]) -> dict[str, Format]:
    formats = {}
    for line in _lines("formats"):
        name, bits, *pieces = line.split()
        place, mask, value, lsb_of = int(bits), 0, 0, {}
        for piece in pieces:
            if piece in slots:
                place -= slots[piece].width
                lsb_of[piece] = place
            else:
                place -= len(piece)
                mask |= ((1 << len(piece)) - 1) << place
                value |= int(piece, 2) << place
        assert place == 0, line
        formats[name] = Format(name, int(bits), mask, value, lsb_of)
    return formats


def _itineraries() -> dict[str, Itinerary]:
    itineraries = {}
    for line in _lines("itineraries"):
        name, cycles, ports_text, memory = _columns(line, 4)
        pairs = [word.partition("/") for word in cycles.split()]
        itineraries[name] = Itinerary(
            name,
            tuple(int(cycle) for cycle, _, _ in pairs),
            tuple(bypass or None for _, _, bypass in pairs),
            tuple(_port_use(word) for word in ports_text.split()),
            tuple(int(cycle) for cycle in memory.removeprefix("mem ").split(",") if cycle),
        )
    return itineraries


def _port_use(word: str) -> PortUse:
    port, when = word.removeprefix("~").split("@")
    cycle, _, length = when.partition("+")
    return PortUse(port, int(cycle), int(length or 1), not word.startswith("~"))


def _opcodes(
    slot: Slot, registers: dict[str, Register], classes: dict[str, RegisterClass], itineraries: dict[str, Itinerary]
) -> Iterator[Opcode]:
    for line in _lines(f"opcodes_{slot.name}"):
        name, bits, text, operands, itinerary, facts = _columns(line, 6)
        assert len(bits) == slot.width, name
        known: dict[str, object] = {"flags": set(), "itinerary_by_file": []}
        for fact in facts.split("; "):
            _read_fact(fact, known, registers, itineraries)
        yield Opcode(
            name=name,
            slot=slot.name,
            mask=int("".join("1" if bit in "01" else "0" for bit in bits), 2),
            value=int("".join(bit if bit in "01" else "0" for bit in bits), 2),
            text=text,
            operands=_operands(operands, bits, registers, classes),
            itinerary=itineraries[itinerary],
            **known,  # type: ignore[arg-type]
        )


def _read_fact(
    fact: str, known: dict[str, object], registers: dict[str, Register], itineraries: dict[str, Itinerary]
) -> None:
    flags, by_file = known["flags"], known["itinerary_by_file"]
    assert isinstance(flags, (set, frozenset)) and isinstance(by_file, (list, tuple))
    word, _, rest = fact.partition(" ")
    if word in ("def", "use"):
        known[f"implicit_{word}s"] = tuple(registers[name] for name in rest.split(","))
    elif word in ("load", "store", "rmw_store"):
        size, mode, *space = rest.split()
        known["memory"] = MemoryAccess(word, None if size == "?" else int(size), mode, space[0] if space else None)
    elif word == "on":
        conditions, itinerary = rest.split()
        pairs = (condition.split("=") for condition in conditions.split(","))
        when = tuple((int(position), file) for position, file in pairs)
        known["itinerary_by_file"] = (*by_file, (when, itineraries[itinerary]))
    elif word == "yields":
        known["yields_to"] = rest.removeprefix("to ")
    elif word:
        known["flags"] = frozenset({*flags, word})


_OPERAND = re.compile(r"(?:(?P<letter>[a-z])\.)?(?P<name>\w+)(?P<role>[=:])(?P<type>\S+)")
_IMMEDIATE = re.compile(r"(?P<kind>[usna])(?P<bits>\d+)(?:\*(?P<scale>\d+))?")


def _operands(
    text: str, bits: str, registers: dict[str, Register], classes: dict[str, RegisterClass]
) -> tuple[Operand, ...]:
    operands: dict[str, Operand] = {}
    parsed = [match for match in map(_OPERAND.fullmatch, text.split()) if match]
    assert len(parsed) == len(text.split()), text
    # tied operands take type and field from the operand they are tied to, which may come later
    for match in sorted(parsed, key=lambda m: m["type"].startswith("~")):
        name, is_def, kind = match["name"], match["role"] == "=", match["type"]
        if kind.startswith("~"):
            other = operands[kind[1:]]
            operands[name] = Operand(name, is_def, other.type, other.segments, other.name)
        elif kind.startswith("!"):
            operands[name] = Operand(name, is_def, registers[kind[1:]])
        elif kind.startswith("dc"):
            half = {"dc(": None, "dc.lo(": 0, "dc.hi(": 1}[kind[: kind.index("(") + 1]]
            operands[name] = Operand(name, is_def, CountOf(kind[kind.index("(") + 1 : -1], half))
        elif kind in classes:
            operands[name] = Operand(name, is_def, classes[kind], _segments(bits, match["letter"]))
        else:
            immediate = _IMMEDIATE.fullmatch(kind)
            assert immediate, kind
            type_ = Immediate(int(immediate["bits"]), immediate["kind"], int(immediate["scale"] or 1))
            operands[name] = Operand(name, is_def, type_, _segments(bits, match["letter"]))
    return tuple(operands[match["name"]] for match in parsed)


def _segments(bits: str, letter: str) -> tuple[tuple[int, int, int], ...]:
    """Runs of `letter`, least significant first: (lsb in the slot word, width, lsb in the field)."""
    runs = [(len(bits) - match.end(), match.end() - match.start()) for match in re.finditer(f"{letter}+", bits)]
    segments, done = [], 0
    for lsb, width in sorted(runs):
        segments.append((lsb, width, done))
        done += width
    return tuple(segments)
