"""Runs the programs recorded on a Phoenix core on the simulator, and counts what agrees.

    counts = compare(facts / "silicon_points.jsonl.gz")
    print(counts)

Each point is a straight-line program with its input, the registers that it finds, and the bytes that the chip wrote.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xattn.isa import assemble, decode_program
from xattn.isa.semantics.meaning import UnimplementedOpcodeError, implemented
from xattn.sim.core import Core
from xattn.sim.findings import SimulationError

INPUT, OUTPUT, OUTPUT_BYTES = 0x70000, 0x78000, 0x4000

# Points that the recording itself marks as depending on what it did not record.
EXCLUDING_FLAGS = (
    "undef_affects_output",
    "pointer_add",
    "gather_random_address",
    "shuffle_mode_ge_48",
    "nondeterministic",
    "undef",
)


@dataclass(frozen=True)
class Point:
    """One recorded program. `flags` say what it depends on besides its input."""

    id: str
    op: str
    slot: str
    code: tuple[str, ...]
    memory: tuple[tuple[int, bytes], ...]
    output: tuple[tuple[int, bytes], ...]
    registers: dict[str, int]
    flags: frozenset[str]

    @property
    def excluded_by(self) -> str | None:
        """The first flag for which the point's output is not required to agree."""
        return next((flag for flag in EXCLUDING_FLAGS if flag in self.flags), None)


def points(path: Path) -> Iterator[Point]:
    """The recorded points of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            if "op" in found:
                yield _point(found)


def _point(found: dict[str, Any]) -> Point:
    return Point(
        id=found["id"],
        op=found["op"],
        slot=found["slot"],
        code=tuple(found["code"]),
        memory=tuple((offset, bytes.fromhex(data)) for offset, data in found["mem"]),
        output=tuple((offset, bytes.fromhex(data)) for offset, data in found["out"]),
        registers={name: int(value, 16) for name, value in found.get("init", {}).items()},
        flags=frozenset(found.get("flags", ())),
    )


def assembled(point: Point) -> bytes:
    """The point's machine code, with some bundles behind it in which the last results land, and DONE."""
    return assemble("\n".join([*point.code, "nop*12", "done"]))


def opcodes_of(code: bytes) -> frozenset[str]:
    """The names of the opcodes in machine code."""
    return frozenset(i.opcode.name for _, bundle in decode_program(code) for i in bundle.operations)


def missing_from(code: bytes) -> frozenset[str]:
    """The opcodes in machine code that have no meaning."""
    return opcodes_of(code) - implemented()


def run(point: Point, code: bytes, fill: int = 0) -> list[bytes]:
    """What the simulator writes where the chip wrote; `fill` is the byte that unknown vector registers hold."""
    core = Core(severity=dict.fromkeys(("misaligned", "out-of-region"), "warning"))
    for k in range(12):
        core.registers[f"x{k}"] = bytes([fill]) * 64
    for k in range(9):
        core.registers[f"cm{k}"] = bytes([fill]) * 128
    for offset, data in point.memory:
        core.write_memory(INPUT + offset, data)
    core.write_memory(OUTPUT, bytes(OUTPUT_BYTES))
    for name, value in {"p0": INPUT, "p1": OUTPUT, **point.registers}.items():
        core.registers[name] = value
    core.load(code)
    core.run(0)
    return [core.read_memory(OUTPUT + offset, len(data)) for offset, data in point.output]


def run_if_known(point: Point, code: bytes, fill: int = 0) -> list[bytes] | None:
    """Like `run`; None where the program asks an opcode for something unimplemented, such as a configuration."""
    try:
        return run(point, code, fill)
    except SimulationError as error:
        if not isinstance(error.__cause__, UnimplementedOpcodeError):
            raise
        return None


@dataclass
class Counts:
    """How the points of a recording compare. Excluded points are counted by flag; some of them agree all the same."""

    points: int = 0
    equal: int = 0
    unimplemented: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    excluded_equal: int = 0
    different: list[Point] = field(default_factory=list)
    opcodes: set[str] = field(default_factory=set)

    @property
    def covered(self) -> int:
        """Points that must be equal: implemented, and independent of unknown state."""
        return self.equal + len(self.different)

    def __str__(self) -> str:
        flags = ", ".join(f"{flag} {count}" for flag, count in self.excluded.most_common())
        missing = ", ".join(f"{name} {count}" for name, count in sorted(self.unimplemented.items()))
        return (
            f"silicon points: {self.points}; covered {self.covered} over {len(self.opcodes)} opcodes, "
            f"equal {self.equal}, different {len(self.different)}; "
            f"excluded {sum(self.excluded.values())} ({flags}; {self.excluded_equal} of them equal); "
            f"unimplemented {sum(self.unimplemented.values())} ({missing or 'none'})"
        )


def compare(path: Path, only: Iterable[str] | None = None) -> Counts:
    """Run the points of a file (of opcodes `only`, if given) and count."""
    counts, wanted = Counts(), None if only is None else frozenset(only)
    for point in points(path):
        if wanted is not None and point.op not in wanted:
            continue
        counts.points += 1
        code = assembled(point)
        missing = missing_from(code)
        if missing:
            counts.unimplemented[point.op if point.op in missing else min(missing)] += 1
            continue
        found = run_if_known(point, code)
        if found is None:
            counts.unimplemented[f"{point.op} (configuration)"] += 1
            continue
        is_equal = found == [data for _, data in point.output]
        flag = point.excluded_by
        if flag is not None:
            counts.excluded[flag] += 1
            counts.excluded_equal += is_equal
        elif is_equal:
            counts.equal += 1
            counts.opcodes.add(point.op)
        else:
            counts.different.append(point)
            counts.opcodes.add(point.op)
    return counts
