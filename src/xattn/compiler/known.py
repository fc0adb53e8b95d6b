"""Schedules that a proof or a long search has found, kept in files, one for each kernel and shape.

An entry is found by a hash of its loop (operations, timings, dependences), so it stops being used by itself as soon as
the kernel, the compiler or the machine table changes the loop. Whatever is read is checked against the loop first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec

from xattn.compiler.dependence import Graph
from xattn.compiler.ir import Location, VirtualRegister
from xattn.compiler.machine import LocationAccess
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.modulo_check import broken_rule
from xattn.errors import InputError
from xattn.files import write_whole

_DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what reading of foreign JSON can raise


class KnownSchedule(msgspec.Struct, frozen=True):
    """A schedule of one loop: `cycles` and `choices` by operation, as in ModuloSchedule; `proof` is for people."""

    loop: str
    key: str
    interval: int
    cycles: list[int]
    choices: list[int]
    proof: str

    @classmethod
    def of(cls, loop: str, graph: Graph, schedule: ModuloSchedule, proof: str) -> KnownSchedule:
        """The entry for a loop's schedule."""
        return cls(loop, loop_key(graph), schedule.interval, schedule.cycles, schedule.choices, proof)

    @property
    def schedule(self) -> ModuloSchedule:
        """As the compiler uses it."""
        return ModuloSchedule(self.interval, list(self.cycles), list(self.choices))


def usable_schedules(graph: Graph, entries: Iterable[KnownSchedule]) -> list[ModuloSchedule]:
    """The schedules that are this loop's and obey all its rules; damaged, outdated and wrong entries do not count."""
    entries = list(entries)
    key = loop_key(graph) if entries else ""
    own = [entry.schedule for entry in entries if entry.key == key]
    return [schedule for schedule in own if broken_rule(graph, schedule) is None]


class ScheduleFiles:
    """The files of a folder as they are now, read once. Equal while nothing in the folder changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder, tuple((path.name, path.lstat().st_mtime_ns) for path in self._paths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleFiles) and self._state == other._state

    def __hash__(self) -> int:
        return hash(self._state)

    @property
    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def schedules(self, graph: Graph) -> list[ModuloSchedule]:
        """The usable ones for a loop, from all files."""
        return usable_schedules(graph, self.entries)

    @cached_property
    def entries(self) -> list[KnownSchedule]:
        """All entries of all files."""
        return [entry for path in self._paths for entry in read_entries(path)]

    def path(self, kernel: str, shape: tuple[int, int]) -> Path:
        """Where a kernel's schedules for a shape (tokens, width) are kept."""
        return self.folder / f"{kernel}-{shape[0]}x{shape[1]}.json"

    def store(self, kernel: str, shape: tuple[int, int], entries: Iterable[KnownSchedule]) -> None:
        """Keep these schedules for a kernel, and no others; without any, its file goes. InputError when that fails."""
        path = self.path(kernel, shape)
        lines = [msgspec.json.encode(entry).decode() for entry in entries]
        try:
            if lines:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot keep schedules in {path}: {error.strerror or error}") from None


def read_entries(path: Path) -> list[KnownSchedule]:
    """The entries of a file that can be read, none of a file that cannot."""
    try:
        items = msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw])
    except (OSError, *_DAMAGED):
        return []
    found = []
    for item in items:
        with suppress(*_DAMAGED):
            found.append(msgspec.json.decode(item, type=KnownSchedule))
    return found


def loop_key(graph: Graph) -> str:
    """A hash of everything that a schedule of the loop depends on, the same in every process."""
    places: dict[VirtualRegister, int] = {}

    def place(location: Location) -> tuple[str, int]:
        register, leaf = location
        if isinstance(register, VirtualRegister):
            return f"{register.file}.{places.setdefault(register, len(places))}", leaf
        return register.name, leaf

    def accesses(found: tuple[LocationAccess, ...]) -> list[tuple[object, ...]]:
        return [(place(access.location), access.cycle, access.bypass) for access in found]

    operations = [
        [
            (choice.opcode.name, t.slot, t.ports, t.memory_cycles, accesses(t.reads), accesses(t.writes))
            for choice, t in zip(operation.choices, timings, strict=True)
        ]
        for operation, timings in zip(graph.operations, graph.timings, strict=True)
    ]
    edges = sorted((edge.source, edge.target, edge.distance, edge.latency) for edge in graph.edges)
    return hashlib.sha256(msgspec.json.encode((operations, edges))).hexdigest()[:32]
