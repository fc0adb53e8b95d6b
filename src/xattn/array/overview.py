"""A configuration in words: the picture, the streams, and tile by tile the programs, locks and DMA channels."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension
from xattn.array.configuration import ChannelStart, Configuration
from xattn.array.design import TileId
from xattn.array.picture import draw, used_tiles
from xattn.array.registers import OFFSET_MASK, TileKind, tile
from xattn.array.streams import follow_streams

# A mem tile's DMA sees its neighbours too: west, itself, east.
_WINDOW_BYTES, _WINDOW_LOCKS = 0x80000, 64
_NEIGHBOURS = ("west's ", "", "east's ")


def overview(configuration: Configuration) -> Iterator[str]:
    """The lines of the description."""
    yield from draw(configuration)
    streams = follow_streams(configuration)
    if streams:
        yield ""
        yield "streams"
        for stream in streams:
            sinks = ", ".join(f"{_tile(sink.tile)} {sink.port}" for sink in stream.sinks)
            yield f"  {_tile(stream.source.tile)} {stream.source.port} → {sinks}"
    for place in sorted(used_tiles(configuration)):
        lines = list(_tile_lines(place, configuration))
        if lines:
            yield ""
            yield f"tile {_tile(place)}"
            yield from (f"  {line}" for line in lines)


def _tile(place: TileId) -> str:
    return f"{place.kind.value} {place}"


def _tile_lines(place: TileId, configuration: Configuration) -> Iterator[str]:
    for core in configuration.cores:
        if core.tile == place:
            for offset, data in core.pieces:
                yield f"{_memory(place.kind, offset)}: {len(data):,} bytes"
    locks = {item.lock: item.value for item in configuration.locks if item.tile == place}
    if locks:
        yield "locks start at " + ", ".join(f"{lock}: {value}" for lock, value in sorted(locks.items()))
    bds = {item.number: item.bd for item in configuration.bds if item.tile == place}
    shown: set[int] = set()
    for start in configuration.starts:
        if start.tile == place:
            yield from _channel(start, bds, shown)
    rest = sorted(bds.keys() - shown)
    if rest:
        yield "BDs that no channel starts with or comes to"
        yield from (f"  BD {number}: {bd_text(place.kind, bds[number])}" for number in rest)


def _memory(kind: TileKind, offset: int) -> str:
    for memory in tile(kind).memories:
        if memory.offset <= offset < memory.offset + memory.size:
            return f"{memory.name.replace('_', ' ').lower()} from {offset - memory.offset:#x}"
    return f"offset {offset & OFFSET_MASK:#x}"


def _channel(start: ChannelStart, bds: dict[int, BufferDescriptor], shown: set[int]) -> Iterator[str]:
    """A channel and the chain of BDs that it works off."""
    chain: list[int] = []
    number: int | None = start.bd
    while number is not None and number not in chain and number in bds:
        chain.append(number)
        number = bds[number].next_bd
    how = f"again from BD {number}" if number in chain else f"then BD {number}" if number is not None else "once"
    yield f"{start.channel}: {len(chain)} BDs, {how}"
    for number in chain:
        shown.add(number)
        yield f"  BD {number}: {bd_text(start.tile.kind, bds[number])}"


def bd_text(kind: TileKind, bd: BufferDescriptor) -> str:
    """A buffer descriptor in a line."""
    where, address = "", bd.address
    if kind is TileKind.MEM:
        window, address = divmod(bd.address, _WINDOW_BYTES)
        where = _NEIGHBOURS[window] if window < len(_NEIGHBOURS) else ""
    parts = [f"{bd.length:,} words at {where}{address:#x}"]
    if bd.dimensions:
        parts.append("in loops of " + ", ".join(map(_dimension, bd.dimensions)))
    if bd.iteration.count > 1:
        parts.append(f"moved by {bd.iteration.step} words each of {bd.iteration.count} times")
    for verb, use in (("takes", bd.acquire), ("gives", bd.release)):
        if use is not None:
            amount = f"exactly {use.value} of" if verb == "takes" and use.value > 0 else f"{abs(use.value)} of"
            parts.append(f"{verb} {amount} {_lock(kind, use.lock)}")
    if bd.packet is not None:
        parts.append(f"packet id {bd.packet.id}, type {bd.packet.kind}")
    if not bd.valid:
        parts.append("not valid")
    return ", ".join(parts)


def _dimension(dimension: Dimension) -> str:
    """How often × step in words; the outermost loop runs until the length is reached."""
    return f"{dimension.wrap or '…'}×{dimension.step}"


def _lock(kind: TileKind, lock: int) -> str:
    if kind is not TileKind.MEM:
        return f"lock {lock}"
    window, number = divmod(lock, _WINDOW_LOCKS)
    return f"{_NEIGHBOURS[min(window, 2)]}lock {number}"
