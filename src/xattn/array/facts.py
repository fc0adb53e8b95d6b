"""What a file of the array says, as facts by name: for comparing two files by meaning, whatever tool wrote them.

A fact's name says where (a tile and register, a section, an operation), its value what. Register writes are taken to
their end: what counts is what a register holds when all is loaded, not in which order or by which command it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from xattn.array.aie_partition import read_aie_partition
from xattn.array.buffer_descriptor import bd_words, decode_bd
from xattn.array.cdo import Cdo, Command, DmaWrite, MaskWrite, Nop, Write, read_cdo
from xattn.array.description import describe_command, describe_section, file_kind, lines
from xattn.array.instructions import InstructionStream, read_instructions
from xattn.array.operation_text import operation_text
from xattn.array.overview import bd_text
from xattn.array.pdi import Pdi, read_pdi
from xattn.array.register_writes import Value, describe_write
from xattn.array.registers import OFFSET_MASK, TileAddress, split_address, tile
from xattn.array.words import U32_MAX, WORD
from xattn.array.xclbin import SectionKind, Xclbin, read_xclbin
from xattn.errors import FileFormatError

Facts = dict[str, str]


def facts_of(data: bytes) -> Facts:
    """The facts of an xclbin, a PDI, a CDO or an instruction stream. FileFormatError for anything else."""
    kind = file_kind(data)
    if kind == "xclbin":
        return dict(_of_xclbin(read_xclbin(data)))
    if kind == "PDI":
        return dict(_of_pdi(read_pdi(data)))
    if kind == "CDO":
        return dict(_of_cdo(read_cdo(data)))
    return dict(_of_stream(read_instructions(data)))


def _of_xclbin(xclbin: Xclbin) -> Iterator[tuple[str, str]]:
    yield "version", ".".join(map(str, xclbin.version))
    yield "platform", xclbin.platform.decode("latin-1")
    for section in xclbin.sections:
        if section.kind == SectionKind.AIE_PARTITION:
            yield from _of_partition(section.data)
        else:
            described = {key: value for key, value in describe_section(section).items() if key not in ("kind", "bytes")}
            yield section.kind_name, "; ".join(line.strip() for line in lines(described))


def _of_partition(data: bytes) -> Iterator[tuple[str, str]]:
    try:
        partition = read_aie_partition(data)
    except FileFormatError as error:
        yield "AIE_PARTITION", str(error)
        return
    yield "partition", f"{partition.column_width} columns, from {', '.join(map(str, partition.start_columns))}"
    for index, pdi in enumerate(partition.pdis):
        prefix = "PDI" if len(partition.pdis) == 1 else f"PDI {index}"
        try:
            inside = dict(_of_pdi(read_pdi(pdi.image)))
        except FileFormatError as error:
            inside = {"": str(error)}
        yield from ((f"{prefix} {name}".strip(), value) for name, value in inside.items())


def _of_pdi(pdi: Pdi) -> Iterator[tuple[str, str]]:
    yield "id code", f"{pdi.table.id_code:#x}"
    for index, partition in enumerate(pdi.partitions):
        prefix = "" if len(pdi.partitions) == 1 else f"partition {index} "
        try:
            yield from ((prefix + name, value) for name, value in _of_cdo(partition.cdo()))
        except FileFormatError as error:
            yield f"{prefix}partition", str(error)


def _of_cdo(cdo: Cdo) -> Iterator[tuple[str, str]]:
    state = _State()
    for command in cdo.commands:
        state.take(command)
    yield from state.facts()


class _State:
    """What the array holds after a configuration: words by address, and events (pushes on task queues) in order."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.events: dict[str, list[str]] = {}
        self.other: list[str] = []

    def take(self, command: Command) -> None:
        match command:
            case Nop():
                pass
            case DmaWrite(address, _) if address <= U32_MAX:
                for index, word in enumerate(command.words()):
                    self.words[address + WORD * index & U32_MAX] = word
            case Write(address, value) if address <= U32_MAX:
                self._write(address, U32_MAX, value)
            case MaskWrite(address, mask, value) if address <= U32_MAX:
                # mlir-aie enables channels with an empty mask, which is taken for a write of the whole word.
                self._write(address, mask or U32_MAX, value)
            case _:
                self.other.append("; ".join(lines(describe_command(command))))

    def _write(self, address: int, mask: int, value: int) -> None:
        place = split_address(address)
        found = tile(place.kind).by_offset.get(place.offset)
        if found is not None and found.name.endswith("_Queue"):
            self.events.setdefault(f"{_where(place)} {found.name}", []).append(_fields(address, value))
        else:
            self.words[address] = self.words.get(address, 0) & ~mask | value & mask

    def facts(self) -> Iterator[tuple[str, str]]:
        done: set[int] = set()
        for address in sorted(self.words):
            if address in done:
                continue
            place = split_address(address)
            if _in_memory(place):
                run = self._run(address)
                done |= {address + WORD * index for index in range(len(run))}
                yield _memory_fact(place, run)
            elif (words := self._bd(address)) is not None:
                done |= {address + WORD * index for index in range(len(words))}
                number = _bd_number(place)
                yield f"{_where(place)} BD {number}", bd_text(place.kind, decode_bd(place.kind, words))
            else:
                described = describe_write(address, self.words[address])
                yield f"{_where(place)} {described['register']}", _fields(address, self.words[address])
        for name, texts in self.events.items():
            yield name, ", then ".join(texts)
        for index, text in enumerate(self.other):
            yield f"command {index}", text

    def _run(self, address: int) -> list[int]:
        """The words of a memory from `address` on without a gap."""
        run = []
        while address in self.words and _in_memory(split_address(address)):
            run.append(self.words[address])
            address += WORD
        return run

    def _bd(self, address: int) -> tuple[int, ...] | None:
        """All words of the BD that starts at `address`, if that is one and all are there."""
        place = split_address(address)
        if _bd_number(place) is None:
            return None
        words = [self.words.get(address + WORD * index) for index in range(bd_words(place.kind))]
        return tuple(word for word in words if word is not None) if None not in words else None


def _where(place: TileAddress) -> str:
    return f"tile ({place.column}, {place.row})"


def _in_memory(place: TileAddress) -> bool:
    return any(memory.offset <= place.offset < memory.offset + memory.size for memory in tile(place.kind).memories)


def _bd_number(place: TileAddress) -> int | None:
    """The number of the BD whose first register stands here."""
    found = tile(place.kind).by_offset.get(place.offset & OFFSET_MASK)
    if found is None or not (found.name.startswith("DMA_BD") and found.name.endswith("_0")):
        return None
    return int(found.name.removeprefix("DMA_BD").removesuffix("_0"))


def _memory_fact(place: TileAddress, run: list[int]) -> tuple[str, str]:
    memory = next(m for m in tile(place.kind).memories if m.offset <= place.offset < m.offset + m.size)
    data = b"".join(word.to_bytes(WORD, "little") for word in run)
    digest = hashlib.sha256(data).hexdigest()[:16]
    name = memory.name.replace("_", " ").lower()
    return f"{_where(place)} {name} from {place.offset - memory.offset:#x}", f"{len(data):,} bytes, SHA-256 {digest}…"


def _fields(address: int, value: int) -> str:
    described = describe_write(address, value)
    parts: list[Value] = [described["value"]]
    fields = described.get("fields")
    if isinstance(fields, dict):
        parts += [f"{name} {number}" for name, number in fields.items()]
    if "from" in described:
        parts.append(f"from {described['from']}")
    return ", ".join(map(str, parts))


def _of_stream(stream: InstructionStream) -> Iterator[tuple[str, str]]:
    yield "array", f"{stream.columns} columns, {stream.rows} rows, generation {stream.generation}"
    width = len(str(len(stream.operations)))
    for index, operation in enumerate(stream.operations):
        yield f"operation {str(index).rjust(width)}", operation_text(operation)
