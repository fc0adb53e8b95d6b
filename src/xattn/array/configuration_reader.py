"""What a CDO sets up, read back: the inverse of `configuration.configure`, for images of any tool.

Register writes are taken in order. What has no place in a `Configuration` (resets, other registers) is left out, so a
foreign image gives its programs, locks, BDs, channels and routes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from xattn.array.buffer_descriptor import bd_words, decode_bd
from xattn.array.cdo import Command, DmaWrite, MaskWrite, Write
from xattn.array.configuration import (
    ChannelStart,
    Circuit,
    Configuration,
    CoreImage,
    LockValue,
    PlacedBd,
    ShimPort,
    TokenRoute,
)
from xattn.array.design import TileId
from xattn.array.registers import TileKind, split_address, tile
from xattn.array.words import U32_MAX, WORD

_BD_STRIDE = 0x20
_CORE_LOCKS = 16


def read_configuration(commands: Iterable[Command]) -> Configuration:
    """The configuration that these commands make."""
    reader = _Reader()
    for command in commands:
        reader.take(command)
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self.pieces: dict[TileId, list[tuple[int, bytes]]] = {}
        self.locks: list[LockValue] = []
        self.cleared: dict[TileId, int] = defaultdict(int)  # locks that the reset of a core has set to 0
        self.bds: list[PlacedBd] = []
        self.starts: list[ChannelStart] = []
        self.routes: list[Circuit | TokenRoute] = []
        self.ports: list[ShimPort] = []

    def take(self, command: Command) -> None:
        match command:
            case DmaWrite(address, data) if address <= U32_MAX:
                self._block(address, data)
            case Write(address, value) if address <= U32_MAX:
                self._register(address, value, U32_MAX)
            case MaskWrite(address, mask, value) if address <= U32_MAX:
                self._register(address, value, mask)
            case _:
                pass

    def finish(self) -> Configuration:
        cores = tuple(CoreImage(place, tuple(pieces)) for place, pieces in self.pieces.items())
        return Configuration(
            cores, tuple(self.locks), tuple(self.bds), tuple(self.starts), tuple(self.routes), tuple(self.ports)
        )

    def _block(self, address: int, data: bytes) -> None:
        column, row, offset = split_address(address)
        place = TileId(column, row)
        first = tile(place.kind).by_name["DMA_BD0_0"].offset
        number, inside = divmod(offset - first, _BD_STRIDE)
        words = bd_words(place.kind)
        count = {TileKind.CORE: 16, TileKind.MEM: 48, TileKind.SHIM: 16}[place.kind]
        if 0 <= number < count and inside == 0 and len(data) == words * WORD:
            bd = decode_bd(place.kind, tuple(int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)))
            self.bds.append(PlacedBd(place, number, bd))
        elif place.kind is TileKind.CORE:
            self.pieces.setdefault(place, []).append((offset, data))

    def _register(self, address: int, value: int, mask: int) -> None:
        column, row, offset = split_address(address)
        place = TileId(column, row)
        found = tile(place.kind).by_offset.get(offset)
        if found is None:
            return
        fields = found.decode(value)
        if found.name == "Core_Control":
            self.pieces.setdefault(place, [])
        elif found.name.startswith("Lock") and found.name.endswith("_value"):
            self._lock(place, int(found.name[4:-6]), fields["Lock_value"])
        elif found.name.endswith("_Start_Queue"):
            channel = found.name.removeprefix("DMA_").removesuffix("_Start_Queue")
            self.starts.append(ChannelStart(place, channel, fields["Start_BD_ID"]))
        elif found.name.startswith("Stream_Switch_Master_Config_"):
            self._master(place, found.name.removeprefix("Stream_Switch_Master_Config_"), fields)
        elif found.name in ("Mux_Config", "Demux_Config"):
            ports = [field.name for field in found.fields if field.mask & mask and fields[field.name] == 1]
            self.ports += [ShimPort(place, port, found.name == "Mux_Config") for port in ports]

    def _lock(self, place: TileId, lock: int, value: int) -> None:
        if place in self.pieces and self.cleared[place] == lock < _CORE_LOCKS and value == 0:
            self.cleared[place] += 1
        else:
            self.locks.append(LockValue(place, lock, value))

    def _master(self, place: TileId, port: str, fields: dict[str, int]) -> None:
        if not fields["Master_Enable"]:
            return
        slaves = tile(place.kind).slaves
        if not fields["Packet_Enable"]:
            if fields["Configuration"] < len(slaves):
                self.routes.append(Circuit(place, slaves[fields["Configuration"]], port))
        elif place.kind is TileKind.SHIM and port == "South0":
            self.routes.append(TokenRoute(place))
