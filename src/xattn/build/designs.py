"""The designs that a kernel can be built into, each a page: one core, four columns, four by four with mem tiles.

In all of them the host's matrices are row-major. Where the kernel wants another layout, its data make a stop in the mem
tile of its column, which writes them in one order and reads them in another.

A run computes `blocks` blocks on each core. Starting a transfer takes the controller as long as a fast kernel takes for
a block, so the host's part is the same, whatever the number: a task for each stream, of as many turns as there are
blocks. Host buffers hold the blocks in the order `BLOCK_ORDER`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from xattn.array.buffer_descriptor import Iteration
from xattn.array.design import (
    Core,
    Design,
    DmaEnd,
    Fifo,
    HostBuffer,
    HostEnd,
    Piece,
    Scratch,
    Stream,
    TileId,
    Transfer,
    Wait,
    Walk,
)
from xattn.array.walks import TwoWalks, through_memory, words_of_bytes
from xattn.array.words import WORD
from xattn.build.layouts import ArrayLayout
from xattn.errors import InputError

MEM_ROW, FIRST_ROW, ROWS, COLUMNS = 1, 2, 4, 4
MOST_BLOCKS = 64  # on a core in a run: so far counts the iteration of a buffer descriptor
BLOCK_ORDER = "column by column; in a column turn by turn; in a turn core by core, from the lowest row up"


@dataclass(frozen=True)
class KernelPort:
    """An argument of a kernel: bytes of one block, the core bank that it likes, how its layout comes about."""

    name: str
    bytes: int
    bank: int | None
    walks: TwoWalks

    @classmethod
    def of(cls, layout: ArrayLayout, bank: int | None) -> KernelPort:
        """The port of an array with this layout."""
        return cls(layout.name, len(layout.source), bank, through_memory(words_of_bytes(layout.source)))

    @property
    def is_plain(self) -> bool:
        """Whether the kernel takes the bytes in the order in which the host has them."""
        return not self.walks.write and not self.walks.read


@dataclass(frozen=True)
class KernelUse:
    """A kernel as a design sees it: arguments in the order of its pointers, integers by name.

    `outputs` are those arguments that it writes, `in_place` those of them that it reads first.
    """

    name: str
    ports: tuple[KernelPort, ...]
    outputs: tuple[str, ...]
    scalars: tuple[tuple[str, int], ...]
    scratch: tuple[Scratch, ...]
    in_place: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[KernelPort, ...]:
        """The arguments that it writes."""
        return tuple(port for port in self.ports if port.name in self.outputs)

    @property
    def groups(self) -> tuple[tuple[KernelPort, ...], ...]:
        """What it reads, by DMA channel, of which a tile has two: what is a core's own (the first argument, and those
        changed in place), and the others, which cores can share."""
        first, *others = (port for port in self.ports if port.name not in self.outputs)
        own = (first, *(port for port in self.ports if port.name in self.in_place))
        return (own, tuple(others)) if others else (own,)


@dataclass
class _Parts:
    """A design under construction, for runs of `blocks` blocks on a core; `starts`: inputs, `fetches`: outputs."""

    blocks: int
    fifos: list[Fifo] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    cores: list[Core] = field(default_factory=list)
    starts: list[Transfer] = field(default_factory=list)
    fetches: list[Transfer] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= MOST_BLOCKS:
            raise InputError(
                f"{self.blocks} blocks on each core in a run; expected 1 to {MOST_BLOCKS}, as far as a buffer "
                "descriptor counts: run more often"
            )

    def fifo(self, name: str, where: TileId, port: KernelPort, depth: int = 2, in_place: bool = False) -> str:
        bank = port.bank if where.row >= FIRST_ROW else None
        self.fifos.append(Fifo(name, where, port.bytes, depth, bank, in_place))
        return name

    def core(self, kernel: KernelUse, where: TileId, depth: int, label: str) -> dict[str, str]:
        """A core with a FIFO for each argument; argument to FIFO."""
        names = {
            port.name: self.fifo(f"{port.name}{label}", where, port, depth, port.name in kernel.in_place)
            for port in kernel.ports
        }
        outputs = tuple(names[name] for name in kernel.outputs)
        values = tuple(value for _, value in kernel.scalars)
        self.cores.append(Core(where, kernel.name, tuple(names.values()), outputs, values, kernel.scratch))
        return names

    def transfers(self, stream: str, group: Sequence[KernelPort], column: int, cores: int = 1) -> list[Transfer]:
        """What the host starts for a column's group: in each turn `cores` blocks of each of its arrays."""
        words = {port.name: cores * port.bytes // WORD for port in group}
        offset = WORD * column * self.blocks
        if self.blocks == 1 or len(group) == 1:
            return [Transfer(stream, name, self.blocks * turn, offset * turn) for name, turn in words.items()]
        pieces = [
            Piece(name, turn, offset * turn, iteration=Iteration(turn, self.blocks)) for name, turn in words.items()
        ]
        return [Transfer.of(stream, pieces, repeat=self.blocks)]

    def bring(self, stream: str, group: Sequence[KernelPort], column: int, cores: int = 1) -> None:
        """The host's part of a stream to the array."""
        self.starts += self.transfers(stream, group, column, cores)

    def fetch(self, stream: str, group: Sequence[KernelPort], column: int, cores: int = 1) -> None:
        """The host's part of a stream from the array, for whose end it waits."""
        *others, last = self.transfers(stream, group, column, cores)
        # Where cores have many blocks, those of the last column should not wait until the others' outputs are started.
        (self.starts if self.blocks == 1 else self.fetches).extend([*others, replace(last, token=True)])
        self.waits.append(Wait(stream))

    def finish(self, name: str, columns: int, buffers: dict[KernelPort, int]) -> Design:
        """The design; `buffers` says how many blocks of each argument come in a turn."""
        sequence: tuple[Transfer | Wait, ...] = (*self.starts, *self.fetches, *self.waits)
        held = tuple(HostBuffer(port.name, count * self.blocks * port.bytes) for port, count in buffers.items())
        return Design(name, columns, tuple(self.fifos), tuple(self.streams), tuple(self.cores), held, sequence)


def tile(kernel: KernelUse, depth: int = 2, blocks: int = 1) -> Design:
    """One core, in column 0."""
    return _columns("tile", kernel, 1, depth, blocks)


def columns4(kernel: KernelUse, depth: int = 2, blocks: int = 1) -> Design:
    """A core in each of four columns; all work at the same time, on blocks of their own."""
    return _columns("columns4", kernel, COLUMNS, depth, blocks)


def _columns(name: str, kernel: KernelUse, columns: int, depth: int, blocks: int) -> Design:
    parts = _Parts(blocks)
    groups = kernel.groups
    if columns == COLUMNS and blocks > 1:
        # Host memory gives four columns less than a channel each takes. With one, a task less is to be started.
        groups = (sum(groups, ()),)
    for column in range(columns):
        label = f"_{column}" if columns > 1 else ""
        fifos = parts.core(kernel, TileId(column, FIRST_ROW), depth, label)
        for group in groups:
            _bring(parts, column, group, fifos, label)
        _fetch(parts, column, kernel.results, fifos, label)
    return parts.finish(name, columns, dict.fromkeys(kernel.ports, columns))


def _bring(parts: _Parts, column: int, group: Sequence[KernelPort], fifos: dict[str, str], label: str) -> None:
    """A group of inputs from the host to a core, through the mem tile if one of them needs another layout."""
    name = "_".join(port.name for port in group) + label
    into_core = DmaEnd.of(*(fifos[port.name] for port in group))
    if all(port.is_plain for port in group):
        parts.streams.append(Stream(f"{name}_in", HostEnd(column), (into_core,)))
    else:
        stops = [parts.fifo(f"{port.name}{label}_mem", TileId(column, MEM_ROW), port) for port in group]
        write = DmaEnd(tuple(Walk(stop, port.walks.write) for stop, port in zip(stops, group, strict=True)))
        read = DmaEnd(tuple(Walk(stop, port.walks.read) for stop, port in zip(stops, group, strict=True)))
        parts.streams.append(Stream(f"{name}_in", HostEnd(column), (write,)))
        parts.streams.append(Stream(f"{name}_core", read, (into_core,)))
    parts.bring(f"{name}_in", group, column)


def _fetch(parts: _Parts, column: int, group: Sequence[KernelPort], fifos: dict[str, str], label: str) -> None:
    """The outputs from a core to the host, in turn, through the mem tile if one of them needs another layout."""
    name = "_".join(port.name for port in group) + label
    source = DmaEnd.of(*(fifos[port.name] for port in group))
    if not all(port.is_plain for port in group):
        stops = [parts.fifo(f"{port.name}{label}_out_mem", TileId(column, MEM_ROW), port) for port in group]
        write = DmaEnd(tuple(Walk(stop, port.walks.write) for stop, port in zip(stops, group, strict=True)))
        parts.streams.append(Stream(f"{name}_mem", source, (write,)))
        source = DmaEnd(tuple(Walk(stop, port.walks.read) for stop, port in zip(stops, group, strict=True)))
    parts.streams.append(Stream(f"{name}_out", source, (HostEnd(column),)))
    parts.fetch(f"{name}_out", group, column)


def array16(kernel: KernelUse, depth: int = 2, blocks: int = 1) -> Design:
    """Sixteen cores. A column's mem tile deals the first argument's blocks out to its four cores and sends the others'
    to all four at once (multicast); it joins their outputs. For attention: a head a column, four blocks of queries.
    """
    if kernel.in_place or len(kernel.outputs) > 1:
        raise InputError(
            f"kernel {kernel.name} has several outputs, or changes arguments in place, which mem tiles would have to "
            "deal out and join in turn: build it for tile or columns4"
        )
    parts = _Parts(blocks)
    first, *shared = kernel.groups
    (result,) = kernel.results
    for column in range(COLUMNS):
        mem = TileId(column, MEM_ROW)
        cores = [parts.core(kernel, TileId(column, FIRST_ROW + row), depth, f"_{column}_{row}") for row in range(ROWS)]
        _deal(parts, mem, first[0], [fifos[first[0].name] for fifos in cores])
        for group in shared:
            _multicast(parts, mem, group, cores)
        _join(parts, mem, result, [fifos[result.name] for fifos in cores])
    turn = {port: COLUMNS if port in sum(shared, ()) else COLUMNS * ROWS for port in kernel.ports}
    return parts.finish("array16", COLUMNS, turn)


def _deal(parts: _Parts, mem: TileId, port: KernelPort, fifos: Sequence[str]) -> None:
    """Blocks of one stream in turn to the cores of a column."""
    stops = [parts.fifo(f"{fifo}_mem", mem, port) for fifo in fifos]
    name = f"{port.name}_{mem.column}_in"
    into = DmaEnd(tuple(Walk(stop, port.walks.write) for stop in stops))
    parts.streams.append(Stream(name, HostEnd(mem.column), (into,)))
    for stop, fifo in zip(stops, fifos, strict=True):
        parts.streams.append(Stream(f"{fifo}_core", DmaEnd((Walk(stop, port.walks.read),)), (DmaEnd.of(fifo),)))
    parts.bring(name, [port], mem.column, len(fifos))


def _multicast(parts: _Parts, mem: TileId, group: Sequence[KernelPort], cores: Sequence[dict[str, str]]) -> None:
    """The same blocks to all cores of a column at once."""
    name = "_".join(port.name for port in group) + f"_{mem.column}"
    stops = [parts.fifo(f"{port.name}_{mem.column}_mem", mem, port) for port in group]
    write = DmaEnd(tuple(Walk(stop, port.walks.write) for stop, port in zip(stops, group, strict=True)))
    read = DmaEnd(tuple(Walk(stop, port.walks.read) for stop, port in zip(stops, group, strict=True)))
    parts.streams.append(Stream(f"{name}_in", HostEnd(mem.column), (write,)))
    sinks = tuple(DmaEnd.of(*(fifos[port.name] for port in group)) for fifos in cores)
    parts.streams.append(Stream(f"{name}_core", read, sinks))
    parts.bring(f"{name}_in", group, mem.column)


def _join(parts: _Parts, mem: TileId, port: KernelPort, fifos: Sequence[str]) -> None:
    """The cores' outputs, a block of each in turn, as one stream."""
    stops = [parts.fifo(f"{fifo}_mem", mem, port) for fifo in fifos]
    for stop, fifo in zip(stops, fifos, strict=True):
        parts.streams.append(Stream(f"{fifo}_core", DmaEnd.of(fifo), (DmaEnd((Walk(stop, port.walks.write),)),)))
    name = f"{port.name}_{mem.column}_out"
    out = DmaEnd(tuple(Walk(stop, port.walks.read) for stop in stops))
    parts.streams.append(Stream(name, out, (HostEnd(mem.column),)))
    parts.fetch(name, [port], mem.column, len(fifos))


DESIGNS: dict[str, Callable[[KernelUse, int, int], Design]] = {"tile": tile, "columns4": columns4, "array16": array16}


def design_of(name: str) -> Callable[[KernelUse, int, int], Design]:
    """The design of that name; InputError lists the names there are."""
    if name not in DESIGNS:
        raise InputError(f"no design is called {name!r}; there are {', '.join(DESIGNS)}")
    return DESIGNS[name]
