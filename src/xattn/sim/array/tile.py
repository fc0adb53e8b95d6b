"""One tile as its registers make it: memory, locks and registers, and what a write to an address sets off."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from xattn.array.buffer_descriptor import BufferDescriptor, bd_offset, bd_words, decode_bd
from xattn.array.registers import Register, TileKind, describe, kind_of_row, register, tile
from xattn.array.words import WORD
from xattn.sim.array.context import Context
from xattn.sim.array.findings import ArrayError, ArrayKind
from xattn.sim.array.locks import Lock
from xattn.sim.array.memory import TileMemory

PARTS = {
    "lock": r"Lock(?P<number>\d+)_value",
    "bd": r"DMA_BD(?P<number>\d+)_\d",
    "control": r"DMA_(?P<side>S2MM|MM2S)_(?P<number>\d)_Ctrl",
    "queue": r"DMA_(?P<side>S2MM|MM2S)_(?P<number>\d)_(?:Start|Task)_Queue",
    "switch": r"Stream_Switch_(?:Master|Slave)_.*|(?:Dem|M)ux_Config",
    "core": r"Core_Control",
}


@dataclass(frozen=True, slots=True)
class Part:
    """What a register belongs to: kind of part, number, and for DMA channels whether they send (MM2S)."""

    kind: str
    number: int = 0
    sends: bool = False


@cache
def parts(kind: TileKind) -> Mapping[int, Part]:
    """The registers that set something off when they are written, by offset."""
    found = {}
    for name, entry in tile(kind).by_name.items():
        for part, pattern in PARTS.items():
            match = re.fullmatch(pattern, name)
            if match is not None:
                named = match.groupdict()
                found[entry.offset] = Part(part, int(named.get("number", 0)), named.get("side") == "MM2S")
    return found


@cache
def count_of(kind: TileKind, part: str) -> int:
    """How many locks, BDs … a tile of this kind has."""
    return 1 + max((p.number for p in parts(kind).values() if p.kind == part), default=-1)


class Tile:
    """A tile at (column, row). `on_write[part kind]` is called behind a write to a register of such a part."""

    def __init__(self, column: int, row: int, context: Context, make_memory: Callable[[], TileMemory] | None = None):
        self.place = (column, row)
        self.kind = kind_of_row(row)
        self.name = f"{self.kind.value} tile ({column},{row})"
        self.context, self._make_memory = context, make_memory
        self.registers: dict[int, int] = {}
        self.loaded: list[tuple[int, int]] = []  # (first, behind the last) byte of what was written to data memory
        self.on_write: dict[str, Callable[[Part, int], None]] = {"lock": self._set_lock}
        self.on_program: Callable[[int, bytes], None] | None = None
        self.locks = [
            Lock(f"lock {n} of {self.name}", context.scheduler, self._lock_complaint)
            for n in range(count_of(self.kind, "lock"))
        ]

    @cached_property
    def memory(self) -> TileMemory:
        """The tile's data memory, made when it is first used. ArrayError for a shim tile, which has none."""
        if self._make_memory is None:
            raise ArrayError(f"{self.name} has no data memory")
        return self._make_memory()

    def write(self, offset: int, words: Sequence[int]) -> None:
        """Write consecutive words from byte `offset` on: memory, or registers and what they set off."""
        data = b"".join(word.to_bytes(WORD, "little") for word in words)
        for window in tile(self.kind).memories:
            if window.offset <= offset < window.offset + window.size:
                self._write_memory(window.name, offset - window.offset, data)
                return
        for number, word in enumerate(words):
            self._write_register(offset + WORD * number, word)

    def mask_write(self, offset: int, mask: int, value: int) -> None:
        """Replace the bits of a register that `mask` selects."""
        self._write_register(offset, self.registers.get(offset, 0) & ~mask | value & mask)

    def _write_memory(self, name: str, offset: int, data: bytes) -> None:
        if name == "Program_Memory" and self.on_program is not None:
            self.on_program(offset, data)
        elif name == "Data_Memory":
            self.memory.load(offset, data)
            self.loaded.append((offset, offset + len(data)))
        else:
            raise ArrayError(f"{self.name}: a write to {name}+{offset:#x}, which is not simulated")

    def _write_register(self, offset: int, word: int) -> None:
        if not describe(self.kind, offset).known:
            self.context.report(ArrayKind.UNKNOWN_REGISTER, self.name, f"a write of {word:#x} to offset {offset:#x}")
        part = parts(self.kind).get(offset)
        if part is None or part.kind not in self.on_write:
            self.registers[offset] = word
            return
        before = self.registers.get(offset, 0)
        self.registers[offset] = word
        self.on_write[part.kind](part, before)

    def _set_lock(self, part: Part, before: int) -> None:
        del before
        lock = self.locks[part.number]
        entry = register(self.kind, f"Lock{part.number}_value")
        lock.value = entry.decode(self.registers[entry.offset])["Lock_value"]
        lock.serve()

    def _lock_complaint(self, cause: str) -> None:
        self.context.report(ArrayKind.LOCK_RANGE, self.name, cause)

    # buffer descriptors

    def bd(self, number: int) -> BufferDescriptor:
        """BD `number` as its registers have it."""
        start = bd_offset(self.kind, number)
        return _decoded(self.kind, tuple(self.registers.get(start + WORD * n, 0) for n in range(bd_words(self.kind))))

    def used_memory(self) -> list[tuple[int, int]]:
        """(first, behind the last) byte of what was loaded into data memory and of what BDs move, if they are plain."""
        bds = (self.bd(number) for number in range(count_of(self.kind, "bd")))
        return [*self.loaded, *((bd.address, bd.address + WORD * bd.length) for bd in bds if bd.valid and bd.length)]

    def count_iteration(self, number: int, bd: BufferDescriptor) -> None:
        """Move a BD's iteration counter on by one use, as the hardware does in its register."""
        if bd.iteration.count == 1:
            return
        entry = _iteration_register(self.kind, number)
        (field,) = (field for field in entry.fields if field.name == "Iteration_Current")
        following = (bd.iteration.current + 1) % bd.iteration.count
        word = self.registers.get(entry.offset, 0)
        self.registers[entry.offset] = word & ~field.mask | field.encode(following)

    def chain(self, number: int) -> list[int]:
        """The BDs that a task which starts with BD `number` goes through."""
        found: list[int] = []
        following: int | None = number
        while following is not None and following not in found and following < count_of(self.kind, "bd"):
            found.append(following)
            following = self.bd(following).next_bd
        return found


@cache
def _decoded(kind: TileKind, words: tuple[int, ...]) -> BufferDescriptor:
    return decode_bd(kind, words)


@cache
def _iteration_register(kind: TileKind, number: int) -> Register:
    names = (f"DMA_BD{number}_{n}" for n in range(bd_words(kind)))
    entries = (register(kind, name) for name in names)
    return next(entry for entry in entries if any(field.name == "Iteration_Current" for field in entry.fields))
