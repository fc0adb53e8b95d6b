"""Whether a design is whole: every FIFO has one side that fills it and one that empties it, and amounts agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from xattn.array.design import Design, DmaEnd, End, HostEnd, Piece, Stream, TileId, Wait
from xattn.array.registers import TileKind
from xattn.array.words import WORD
from xattn.errors import InputError

COLUMNS, ROWS = 4, 6


def check_design(design: Design) -> None:
    """InputError for the first thing that makes no sense; limits of the hardware are `placement.place`'s matter."""
    if not 1 <= design.columns <= COLUMNS:
        raise InputError(f"design {design.name} has {design.columns} columns; XDNA1 has 1 to {COLUMNS}")
    _check_names(design)
    _check_fifos(design)
    for stream in design.streams:
        _check_stream(design, stream)
    _check_sides(design)
    _check_sequence(design)


def _check_names(design: Design) -> None:
    for what, items in (("FIFOs", design.fifos), ("streams", design.streams), ("host buffers", design.buffers)):
        name, count = Counter(item.name for item in items).most_common(1)[0] if items else ("", 0)
        if count > 1:
            raise InputError(f"two {what} are called {name}")
    tiles = Counter(core.tile for core in design.cores)
    for where, count in tiles.items():
        if count > 1 or where.kind is not TileKind.CORE or not _inside(design, where):
            raise InputError(f"tile {where} cannot have {count} kernels; core tiles, rows 2 to 5, have one each")


def _inside(design: Design, where: TileId) -> bool:
    return 0 <= where.column < design.columns and 0 <= where.row < ROWS


def _check_fifos(design: Design) -> None:
    for fifo in design.fifos:
        if fifo.tile.kind is TileKind.SHIM or not _inside(design, fifo.tile):
            raise InputError(f"FIFO {fifo.name}: tile {fifo.tile} has no memory; FIFOs are in mem and core tiles")
        if fifo.bytes <= 0 or fifo.bytes % WORD or fifo.depth < 1:
            raise InputError(
                f"FIFO {fifo.name}: {fifo.depth} buffers of {fifo.bytes} bytes; expected at least 1, of a positive "
                f"multiple of {WORD} bytes, as DMA moves words"
            )


def round_bytes(design: Design, end: DmaEnd) -> int:
    """Bytes that pass an end when each of its FIFOs had one turn."""
    return sum(design.fifo(walk.fifo).bytes for walk in end.walks)


def _check_stream(design: Design, stream: Stream) -> None:
    known = {fifo.name for fifo in design.fifos}
    ends: list[End] = [stream.source, *stream.sinks]
    if not stream.sinks:
        raise InputError(f"stream {stream.name} leads nowhere")
    if sum(isinstance(end, HostEnd) for end in ends) > 1:
        raise InputError(f"stream {stream.name} has more than one end at the host")
    sizes = set()
    for end in ends:
        if isinstance(end, HostEnd):
            if not 0 <= end.column < design.columns:
                raise InputError(f"stream {stream.name}: the design has no column {end.column}")
            continue
        missing = [walk.fifo for walk in end.walks if walk.fifo not in known]
        if missing or not end.walks:
            raise InputError(f"stream {stream.name}: no FIFO is called {', '.join(missing) or 'so'}")
        if len({design.fifo(walk.fifo).tile for walk in end.walks}) > 1:
            raise InputError(f"stream {stream.name}: the FIFOs of one end are in different tiles")
        sizes.add(round_bytes(design, end))
    if len(sizes) > 1:
        raise InputError(
            f"stream {stream.name}: its ends take {' and '.join(map(str, sorted(sizes)))} bytes a round; "
            "they have to be equal"
        )


def _check_sides(design: Design) -> None:
    filled: dict[str, list[str]] = defaultdict(list)
    emptied: dict[str, list[str]] = defaultdict(list)
    changed: list[str] = []
    for stream in design.streams:
        _note(emptied, [stream.source], f"stream {stream.name}")
        _note(filled, stream.sinks, f"stream {stream.name}")
    for core in design.cores:
        own = {fifo.name: fifo for fifo in design.fifos if fifo.tile == core.tile}
        for name in core.arguments:
            if name not in own:
                raise InputError(f"core {core.tile}: no FIFO called {name} is in its tile")
            if own[name].in_place:
                changed.append(name)
            else:
                (filled if name in core.outputs else emptied)[name].append(f"core {core.tile}")
    for fifo in design.fifos:
        if fifo.in_place and (count := changed.count(fifo.name)) != 1:
            raise InputError(f"FIFO {fifo.name} is to be changed in place, by one core and not {count}")
        for verb, by in (("fills", filled[fifo.name]), ("empties", emptied[fifo.name])):
            if len(by) != 1:
                raise InputError(f"FIFO {fifo.name}: {' and '.join(by) or 'nothing'} {verb} it; one side has to")


def _note(where: dict[str, list[str]], ends: Iterable[End], who: str) -> None:
    for end in ends:
        if isinstance(end, DmaEnd):
            for walk in end.walks:
                where[walk.fifo].append(who)


def _check_sequence(design: Design) -> None:
    streams = {stream.name: stream for stream in design.streams}
    sizes = {buffer.name: buffer.bytes for buffer in design.buffers}
    tokens: Counter[str] = Counter()
    for step in design.sequence:
        stream = streams.get(step.stream)
        if stream is None or not any(isinstance(end, HostEnd) for end in (stream.source, *stream.sinks)):
            raise InputError(f"the host cannot use stream {step.stream}: it has no end at the host")
        if isinstance(step, Wait):
            tokens[step.stream] -= 1
            if tokens[step.stream] < 0:
                raise InputError(f"the host waits for {step.stream} more often than it started it with a token")
        else:
            for piece in step.pieces:
                _check_piece(piece, step.repeat, sizes)
            tokens[step.stream] += step.token


def _check_piece(piece: Piece, repeat: int, sizes: dict[str, int]) -> None:
    if piece.buffer not in sizes:
        raise InputError(f"no host buffer is called {piece.buffer}; there are {', '.join(sizes) or 'none'}")
    last = piece.offset + WORD * (_reach(piece, repeat) + 1)
    if piece.words < 1 or piece.offset % WORD or piece.offset < 0 or last > sizes[piece.buffer]:
        raise InputError(
            f"a transfer of {piece.words} words at byte {piece.offset} reaches byte {last} of host buffer "
            f"{piece.buffer}, which has {sizes[piece.buffer]}; start at a multiple of {WORD} and stay inside"
        )


def _reach(piece: Piece, repeat: int) -> int:
    """The highest word that a piece touches in all its turns, counted from its offset."""
    reach, left = 0, piece.words
    for dimension in piece.dimensions:
        turns = dimension.wrap or left
        reach += dimension.step * (min(turns, left) - 1)
        left = -(-left // turns)
    if not piece.dimensions or left > 1:
        reach += (left - 1) * (1 if not piece.dimensions else 0)
    if piece.iteration is not None:
        reach += piece.iteration.step * (min(piece.iteration.count, repeat) - 1)
    return reach
