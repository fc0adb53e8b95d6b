"""Translations of programs: made by LLVM once, then kept on disk.

The key of an entry is a hash of everything that the code depends on: the program, where it starts and ends, memory
regions, numbers that it assumes in registers, the CPU, LLVM, and the sources of `xattn.isa` and `xattn.sim`. What a
translation assumes is only known once the program was explored; that is an entry of its own, the hints.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

import xattn.isa
import xattn.sim
from xattn.cache import FileCache, cache_folder
from xattn.sim.memory import Region
from xattn.sim.program import Program
from xattn.sim.state import storage_index
from xattn.sim.translate.emit import module_of
from xattn.sim.translate.explore import Explorer
from xattn.sim.translate.modes import Modes
from xattn.sim.translate.native import Code, Cpu, compiled_object

LARGEST = 256 << 20  # bytes of translations that are kept; the oldest go first
THOROUGH_TEXT = 400_000  # characters of IR; longer programs are optimized less, to be ready sooner
PARAMETERS = 5


class Stored(msgspec.Struct, frozen=True):
    """Machine code for this CPU, what its counters count and what it chooses from (see `emit.Module`)."""

    blocks: list[list[int]]
    stalls: list[int]
    locks: list[int]
    choices: list[tuple[str, int]]
    image: bytes


class Hints(msgspec.Struct, frozen=True):
    """What was learned of a program: registers whose first numbers matter, and where computed jumps go, by address."""

    registers: list[int] = []
    jumps: dict[int, list[int]] = {}


@dataclass(frozen=True)
class Translation:
    """Native code of a program from one start, for the numbers that it assumes in some registers."""

    stored: Stored
    code: Code
    modes: Modes
    assumed: tuple[tuple[int, int], ...]

    @cached_property
    def function(self) -> Any:
        """The code as a function of five addresses; the interpreter lock of Python is free while it runs."""
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * PARAMETERS)(self.code.address("run"))

    def holds(self, scalars: Sequence[int]) -> bool:
        """Whether what the code assumes is so."""
        return all(scalars[index] == number for index, number in self.assumed)


@dataclass(frozen=True)
class Source:
    """What is to be translated: a program, where it starts and where its run ends; the memory; whether locks grant."""

    program: Program
    start: int
    stop_at: int
    regions: tuple[Region, ...]
    locks: bool
    cpu: Cpu

    @property
    def key(self) -> str:
        """A hash of all that."""
        regions = [(region.base, region.size) for region in self.regions]
        return _hash(self.program.pieces, self.start, self.stop_at, regions, self.locks, self.cpu.key, sources_digest())


def translated(source: Source, scalars: Sequence[int], jumps: Mapping[int, Iterable[int]]) -> Translation:
    """The translation of a program for the registers as they are, from the disk or new.

    `jumps`: where computed jumps were seen to go. XattnError for a program that cannot be translated.
    """
    files = _files()
    hints = _hints(files, source.key)
    places = {a: sorted({*jumps.get(a, ()), *hints.jumps.get(a, ())}) for a in {*jumps, *hints.jumps}}
    wanted = {storage_index()["lr"], storage_index()["LC"], *hints.registers}
    assumed = _assumed(wanted, scalars)
    stored = _read(files, _hash(source.key, assumed, places))
    if stored is None:
        stored, assumed = _made(source, scalars, places, wanted)
        _write(files, _hash(source.key, assumed, places), stored)
        learned = Hints([index for index, _ in assumed], places)
        if learned != hints:
            _write(files, source.key, learned)
    return Translation(stored, Code(stored.image, ("run",)), Modes(stored.choices, source.cpu, files), assumed)


def is_kept(source: Source) -> bool:
    """Whether something of this source has been translated before, and is still on the disk."""
    return _files().read(source.key) is not None


def _files() -> FileCache:
    return FileCache(cache_folder() / "translations", ".code", LARGEST)


def _made(
    source: Source, scalars: Sequence[int], jumps: Mapping[int, Iterable[int]], wanted: set[int]
) -> tuple[Stored, tuple[tuple[int, int], ...]]:
    while True:
        assumed = _assumed(wanted, scalars)
        explorer = Explorer(
            source.program, source.start, source.stop_at, dict(assumed), jumps=jumps, locks=source.locks
        )
        nodes = explorer.nodes()
        if explorer.needed <= wanted:
            break
        wanted |= explorer.needed
    module = module_of(explorer, nodes, source.regions, source.cpu.enabled)
    image = compiled_object(module.text, source.cpu, thorough=len(module.text) <= THOROUGH_TEXT)
    return Stored(module.blocks, module.stalls, module.locks, module.choices, image), assumed


def _assumed(wanted: Iterable[int], scalars: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((index, scalars[index]) for index in sorted(wanted))


def _hints(files: FileCache, key: str) -> Hints:
    data = files.read(key)
    with contextlib.suppress(msgspec.DecodeError):
        if data is not None:
            return msgspec.msgpack.decode(data, type=Hints)
    return Hints()


def _read(files: FileCache, key: str) -> Stored | None:
    data = files.read(key)
    with contextlib.suppress(msgspec.DecodeError):
        if data is not None:
            return msgspec.msgpack.decode(data, type=Stored)
    return None


def _write(files: FileCache, key: str, entry: Stored | Hints) -> None:
    with contextlib.suppress(OSError):  # a folder that cannot be written or a full disk: the next run translates again
        files.write(key, msgspec.msgpack.encode(entry))


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@lru_cache(maxsize=1)
def sources_digest() -> str:
    """A hash of the names, sizes and times of the files that say what a program does: it changes when they do."""
    files = []
    for package in (xattn.isa, xattn.sim):
        (folder,) = map(Path, package.__path__)
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".txt"):
                status = path.stat()
                files.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return _hash(files)
