"""What the array is set to before a run, as ordered lists, and the CDOs that set it.

Three CDOs in the order in which mlir-aie writes registers: programs, initial state, enabling of the cores. Joined by
`pdi.build_pdi`, they are byte for byte the images that mlir-aie makes for the same lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xattn.array.buffer_descriptor import BufferDescriptor, bd_offset, encode_bd
from xattn.array.cdo import Cdo, Command, DmaWrite, MaskWrite, Nop, Write
from xattn.array.cdo_layout import driver_layout
from xattn.array.design import TileId
from xattn.array.registers import TileKind, port_index, register, tile, tile_address
from xattn.array.words import pack_words

TOKEN_PACKET = 15  # packet id of task-complete tokens on their way to the controller
# The switch's resources that mlir-aie gives to the token route.
_TOKEN_ARBITER, _TOKEN_SELECT = 5, 3
_ALL_ID_BITS = 31


@dataclass(frozen=True)
class CoreImage:
    """A core's program: (tile offset, whole words) of each piece; program memory starts at 0x20000, data at 0."""

    tile: TileId
    pieces: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class LockValue:
    """A lock's first value."""

    tile: TileId
    lock: int
    value: int


@dataclass(frozen=True)
class PlacedBd:
    """A buffer descriptor and its number."""

    tile: TileId
    number: int
    bd: BufferDescriptor


@dataclass(frozen=True)
class ChannelStart:
    """A DMA channel ("S2MM_0", "MM2S_1", …) that starts with BD `bd` and runs from then on."""

    tile: TileId
    channel: str
    bd: int


@dataclass(frozen=True)
class Circuit:
    """A connection inside one stream switch: what comes in at `slave` goes out at `master`."""

    tile: TileId
    slave: str
    master: str


@dataclass(frozen=True)
class TokenRoute:
    """The way of a shim tile's task-complete tokens to the controller: from its control port out of South0."""

    tile: TileId


@dataclass(frozen=True)
class ShimPort:
    """A south port of a shim switch that is joined to the shim's DMA: a slave (MM2S) or a master (S2MM)."""

    tile: TileId
    port: str
    to_array: bool


@dataclass(frozen=True)
class Configuration:
    """Everything that a PDI sets, each list in the order of the register writes; BDs and starts go tile by tile."""

    cores: tuple[CoreImage, ...]
    locks: tuple[LockValue, ...]
    bds: tuple[PlacedBd, ...]
    starts: tuple[ChannelStart, ...]
    routes: tuple[Circuit | TokenRoute, ...]
    shim_ports: tuple[ShimPort, ...]


def configure(configuration: Configuration) -> tuple[Cdo, Cdo, Cdo]:
    """The three CDOs: programs; locks, BDs, channels and routes; enabling of the cores."""
    return (
        driver_layout([Nop(), *_programs(configuration)]),
        driver_layout([Nop(), *_state(configuration)]),
        driver_layout([Nop(), *(_core_bit(core.tile, "Enable", 1) for core in configuration.cores)]),
    )


def _programs(configuration: Configuration) -> Iterator[Command]:
    for core in configuration.cores:
        yield _core_bit(core.tile, "Enable", 0)
        yield from _reset_channels(core.tile, 1)
        for offset, data in core.pieces:
            yield DmaWrite(tile_address(*core.tile, offset), data)
        yield from _reset_channels(core.tile, 0)


def _reset_channels(place: TileId, value: int) -> Iterator[Command]:
    for channel in ("MM2S_0", "MM2S_1", "S2MM_0", "S2MM_1"):
        yield _bits(place, f"DMA_{channel}_Ctrl", "Reset", value)


def _state(configuration: Configuration) -> Iterator[Command]:
    for core in configuration.cores:
        yield _core_bit(core.tile, "Reset", 1)
        yield _core_bit(core.tile, "Reset", 0)
        for lock in range(_lock_count(core.tile)):
            yield _lock(LockValue(core.tile, lock, 0))
    for value in configuration.locks:
        yield _lock(value)
    tiles = [placed.tile for placed in configuration.bds] + [start.tile for start in configuration.starts]
    for place in dict.fromkeys(tiles):
        yield from (_bd(placed) for placed in configuration.bds if placed.tile == place)
        for start in configuration.starts:
            if start.tile == place:
                yield from _start(start)
    for route in configuration.routes:
        yield from _circuit(route) if isinstance(route, Circuit) else _token_route(route)
    for port in configuration.shim_ports:
        name = "Mux_Config" if port.to_array else "Demux_Config"
        yield _bits(port.tile, name, port.port, 1)


def _bd(placed: PlacedBd) -> Command:
    kind = placed.tile.kind
    start = tile_address(*placed.tile, bd_offset(kind, placed.number))
    return DmaWrite(start, pack_words(encode_bd(kind, placed.bd)))


def _start(start: ChannelStart) -> Iterator[Command]:
    queue = register(start.tile.kind, f"DMA_{start.channel}_Start_Queue")
    yield Write(tile_address(*start.tile, queue.offset), queue.encode(Start_BD_ID=start.bd))
    control = register(start.tile.kind, f"DMA_{start.channel}_Ctrl")
    # With an empty mask, as mlir-aie writes it; kept for equality.
    yield MaskWrite(tile_address(*start.tile, control.offset), 0, control.encode(Enable=1))


def _circuit(route: Circuit) -> Iterator[Command]:
    kind = route.tile.kind
    master = register(kind, f"Stream_Switch_Master_Config_{route.master}")
    word = master.encode(Master_Enable=1, Configuration=port_index(kind, "slave", route.slave))
    yield Write(tile_address(*route.tile, master.offset), word)
    slave = register(kind, f"Stream_Switch_Slave_Config_{route.slave}")
    yield Write(tile_address(*route.tile, slave.offset), slave.encode(Slave_Enable=1))


def _token_route(route: TokenRoute) -> Iterator[Command]:
    master = register(TileKind.SHIM, "Stream_Switch_Master_Config_South0")
    selects = 1 << _TOKEN_SELECT << 3 | _TOKEN_ARBITER
    word = master.encode(Master_Enable=1, Packet_Enable=1, Configuration=selects)
    yield Write(tile_address(*route.tile, master.offset), word)
    slave = register(TileKind.SHIM, "Stream_Switch_Slave_Config_Tile_Ctrl")
    yield Write(tile_address(*route.tile, slave.offset), slave.encode(Slave_Enable=1, Packet_Enable=1))
    slot = register(TileKind.SHIM, "Stream_Switch_Slave_Tile_Ctrl_Slot0")
    rule = slot.encode(ID=TOKEN_PACKET, Mask=_ALL_ID_BITS, Enable=1, MSel=_TOKEN_SELECT, Arbiter=_TOKEN_ARBITER)
    yield Write(tile_address(*route.tile, slot.offset), rule)


def _lock(value: LockValue) -> Command:
    found = register(value.tile.kind, f"Lock{value.lock}_value")
    return Write(tile_address(*value.tile, found.offset), found.encode(Lock_value=value.value))


def _lock_count(place: TileId) -> int:
    return sum(name.startswith("Lock") and name.endswith("_value") for name in tile(place.kind).by_name)


def _core_bit(place: TileId, field: str, value: int) -> Command:
    return _bits(place, "Core_Control", field, value)


def _bits(place: TileId, name: str, field: str, value: int) -> Command:
    """One field of a register, the rest left as it is."""
    found = register(place.kind, name)
    mask = next(f.mask for f in found.fields if f.name == field)
    return MaskWrite(tile_address(*place, found.offset), mask, found.encode(**{field: value}))
