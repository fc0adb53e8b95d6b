"""What runs where on the array, as plain typed data: FIFOs in tiles, streams between them, kernels, host transfers.

A `Fifo` is a few equal buffers in one tile, which one side fills in turn and the other empties; two locks count the
free and the full ones. A `Stream` carries data from one end to others: an end is a DMA channel that works off FIFOs in
turn, or the host. A core fills and empties FIFOs of its own tile. So

    one array after another to one core      a stream whose sink is an end with several FIFOs
    a split, a join in a mem tile            the same there, and a stream from each of those FIFOs (or to each)
    multicast                                a stream with several sinks
    another layout on the way                an end whose walk has dimensions

Nothing here has an address, a lock number or a route yet: `placement.place` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.registers import TileKind, kind_of_row


class TileId(NamedTuple):
    """A tile by column and row."""

    column: int
    row: int

    @property
    def kind(self) -> TileKind:
        """Row 0 is shim, row 1 mem, the rows from 2 on are core."""
        return kind_of_row(self.row)

    def __str__(self) -> str:
        return f"({self.column}, {self.row})"


@dataclass(frozen=True)
class Fifo:
    """`depth` buffers of `bytes` (a multiple of 4) in the memory of `tile`; `bank`: the bank (0 to 3) to prefer.

    `in_place`: streams fill and empty it, and in between a core changes each buffer; a third lock counts those done.
    """

    name: str
    tile: TileId
    bytes: int
    depth: int = 2
    bank: int | None = None
    in_place: bool = False


@dataclass(frozen=True)
class Walk:
    """How a DMA channel goes through a buffer of `fifo`: word by word, or in `dimensions` (innermost first)."""

    fifo: str
    dimensions: tuple[Dimension, ...] = ()


@dataclass(frozen=True)
class DmaEnd:
    """An end of a stream in core or mem tiles: a channel that takes a buffer of each FIFO in turn, again and again."""

    walks: tuple[Walk, ...]

    @classmethod
    def of(cls, *fifos: str) -> DmaEnd:
        """Plain walks through these FIFOs."""
        return cls(tuple(Walk(name) for name in fifos))


@dataclass(frozen=True)
class HostEnd:
    """An end of a stream at the host, through the shim tile of `column`."""

    column: int


End = DmaEnd | HostEnd


@dataclass(frozen=True)
class Stream:
    """Data from `source` to every one of `sinks`."""

    name: str
    source: End
    sinks: tuple[End, ...]


@dataclass(frozen=True)
class Scratch:
    """Memory that a core's program uses itself: at `offset` in its tile or, without one, in `bank` if it fits."""

    name: str
    bytes: int
    offset: int | None = None
    bank: int | None = None


@dataclass(frozen=True)
class Core:
    """A core and its kernel: it waits for a buffer of each input and output FIFO, runs, and hands them on.

    `arguments` are the FIFOs in the order of the kernel's pointers; those in `outputs` are filled, the others emptied,
    or changed in place.
    `rounds` is how often it does so; None is for ever.
    """

    tile: TileId
    kernel: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    scalars: tuple[int, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    rounds: int | None = None


@dataclass(frozen=True)
class HostBuffer:
    """A buffer that the host passes at run time; buffers are numbered in their order in the design."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Piece:
    """`words` of a host buffer, from byte `offset` on, in one BD, with its `dimensions` and `iteration`."""

    buffer: str
    words: int
    offset: int = 0
    dimensions: tuple[Dimension, ...] = ()
    iteration: Iteration | None = None


@dataclass(frozen=True)
class Transfer:
    """A task that the host starts: `words` of `buffer` from byte `offset` on through `stream`; `dimensions` as in a BD.

    `then` goes through the stream behind it, in the same task. `repeat` is how often all of that is moved, with
    `iteration` at other addresses each time. `token`: a `Wait` for this stream will follow.
    """

    stream: str
    buffer: str
    words: int
    offset: int = 0
    dimensions: tuple[Dimension, ...] = ()
    iteration: Iteration | None = None
    repeat: int = 1
    token: bool = False
    then: tuple[Piece, ...] = ()

    @classmethod
    def of(cls, stream: str, pieces: Sequence[Piece], repeat: int = 1, token: bool = False) -> Transfer:
        """A task that moves these pieces."""
        first, *others = pieces
        start = (first.buffer, first.words, first.offset, first.dimensions, first.iteration)
        return cls(stream, *start, repeat, token, tuple(others))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All that it moves in a turn, in order."""
        return (Piece(self.buffer, self.words, self.offset, self.dimensions, self.iteration), *self.then)


@dataclass(frozen=True)
class Wait:
    """The host waits until one transfer of `stream` that has a token is done."""

    stream: str


@dataclass(frozen=True)
class Design:
    """A whole design on `columns` columns (0 to columns − 1), and what the host does in one run, in order."""

    name: str
    columns: int
    fifos: tuple[Fifo, ...]
    streams: tuple[Stream, ...]
    cores: tuple[Core, ...]
    buffers: tuple[HostBuffer, ...]
    sequence: tuple[Transfer | Wait, ...]

    def fifo(self, name: str) -> Fifo:
        """The FIFO of that name; KeyError when there is none."""
        return {fifo.name: fifo for fifo in self.fifos}[name]
