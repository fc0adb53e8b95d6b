"""Schedules that a proof or a long search has found, kept in files beside the kernels they belong to.

An entry is found by a hash of its loop (operations, timings, dependences), so it stops being used by itself as soon as
the kernel, the compiler or the machine table changes the loop. Whatever is read is checked against the loop first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import msgspec

from xattn.compiler.dependence import Graph
from xattn.compiler.ir import Location, VirtualRegister
from xattn.compiler.machine import LocationAccess
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.modulo_check import broken_rule
from xattn.errors import InputError
from xattn.isa.timing import FETCH_BYTES, PROGRAM_MEMORY_BYTES

SCHEDULES = Path(__file__).parent.parent / "kernels" / "schedules"


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


def known_schedule(graph: Graph, most_stages: int | None = None, folder: Path = SCHEDULES) -> ModuloSchedule | None:
    """The best schedule on file for a loop, or None. Entries that are damaged, outdated or wrong do not count.

    `most_stages`: iterations under way at once (a loop's trips at most).
    """
    entry = known_entry(graph, most_stages, folder)
    return entry.schedule if entry else None


def known_entry(graph: Graph, most_stages: int | None = None, folder: Path = SCHEDULES) -> KnownSchedule | None:
    """As `known_schedule`, with its proof."""
    entries = _by_key(folder)
    if not entries:
        return None
    found = [
        entry
        for entry in entries.get(loop_key(graph), ())
        if broken_rule(graph, entry.schedule) is None and (most_stages is None or entry.schedule.stages <= most_stages)
    ]
    return min(found, key=lambda entry: (entry.interval, entry.schedule.stages, entry.cycles), default=None)


def _is_usable(schedule: ModuloSchedule, graph: Graph, most_stages: int | None) -> bool:
    if broken_rule(graph, schedule) is not None or schedule.interval * FETCH_BYTES > PROGRAM_MEMORY_BYTES:
        return False
    return most_stages is None or schedule.stages <= most_stages


def schedule_file(kernel: str, shape: tuple[int, int], folder: Path = SCHEDULES) -> Path:
    """Where a kernel's schedules for a shape (tokens, width) are kept."""
    return folder / f"{kernel}-{shape[0]}x{shape[1]}.json"


def store_schedules(
    kernel: str, shape: tuple[int, int], entries: Iterable[KnownSchedule], folder: Path = SCHEDULES
) -> Path:
    """Keep these schedules for a kernel, and no others; without any, its file goes. InputError when it cannot be."""
    path = schedule_file(kernel, shape, folder)
    lines = [msgspec.json.encode(entry).decode() for entry in entries]
    try:
        if lines:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".new")
            temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n")
            temporary.replace(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot keep schedules in {path}: {error.strerror or error}") from None
    _by_key.cache_clear()
    return path


def read_entries(path: Path) -> list[KnownSchedule]:
    """The entries of a file that can be read, none of a file that cannot."""
    try:
        items = msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return []
    found = []
    for item in items:
        with suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(item, type=KnownSchedule))
    return found


@lru_cache(maxsize=8)
def _by_key(folder: Path) -> dict[str, list[KnownSchedule]]:
    entries: dict[str, list[KnownSchedule]] = {}
    for path in sorted(folder.glob("*.json")):
        for entry in read_entries(path):
            entries.setdefault(entry.key, []).append(entry)
    return entries


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
