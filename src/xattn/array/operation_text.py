"""Run-time operations in a line each: what the controller does to which BD, channel or register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xattn.array.buffer_descriptor import bd_words, decode_bd
from xattn.array.description import describe_operation, lines
from xattn.array.instructions import AddressPatch, BlockWrite, MaskWrite, Operation, Sync, Write32
from xattn.array.overview import bd_text
from xattn.array.registers import TileAddress, describe, split_address
from xattn.array.words import U32_MAX

_BD, _QUEUE, _CONTROL = "DMA_BD", "_Task_Queue", "_Ctrl"


def operation_text(operation: Operation) -> str:
    """One operation for people; those that have no shorter form as `describe_operation` has them."""
    writer: Callable[[Any], str | None] | None = _WRITERS.get(type(operation))
    text = writer(operation) if writer is not None else None
    return text or "; ".join(line.strip() for line in lines(describe_operation(operation)))


def _place(address: int) -> tuple[TileAddress, str] | None:
    """The tile and the register's name; None for what is no array address."""
    if address > U32_MAX:
        return None
    place = split_address(address)
    return place, describe(place.kind, address).name


def _tile(place: TileAddress) -> str:
    return f"tile ({place.column}, {place.row})"


def _block(operation: BlockWrite) -> str | None:
    found = _place(operation.address)
    if found is None:
        return None
    place, name = found
    if not (name.startswith(_BD) and name.endswith("_0") and len(operation.data) == bd_words(place.kind)):
        return None
    number = name.removeprefix(_BD).removesuffix("_0")
    bd = decode_bd(place.kind, operation.data)
    following = "" if bd.next_bd is None else f", then BD {bd.next_bd}"
    return f"{_tile(place)}: BD {number} = {bd_text(place.kind, bd)}{following}"


def _patch(operation: AddressPatch) -> str | None:
    found = _place(operation.address)
    if found is None or not found[1].startswith(_BD):
        return None
    number = found[1].removeprefix(_BD).partition("_")[0]
    return f"{_tile(found[0])}: BD {number} points to host buffer {operation.argument}, byte {operation.offset:,}"


def _write(operation: Write32) -> str | None:
    found = _place(operation.address)
    if found is None or not found[1].endswith(_QUEUE):
        return None
    place, name = found
    fields = describe(place.kind, operation.address, operation.value).fields
    times = f", {fields['Repeat_Count'] + 1} times" if fields.get("Repeat_Count") else ""
    token = ", with a token at the end" if fields.get("Enable_Token_Issue") else ""
    channel = name.removeprefix("DMA_").removesuffix(_QUEUE)
    return f"{_tile(place)}: {channel} starts BD {fields['Start_BD_ID']}{times}{token}"


def _mask(operation: MaskWrite) -> str | None:
    found = _place(operation.address)
    if found is None or not found[1].endswith(_CONTROL):
        return None
    place, name = found
    fields = describe(place.kind, operation.address, operation.value).fields
    if operation.mask not in (0x1F00, 0xFF00):
        return None
    channel = name.removeprefix("DMA_").removesuffix(_CONTROL)
    return f"{_tile(place)}: tokens of {channel} carry packet id {fields['Controller_ID']}"


def _sync(operation: Sync) -> str:
    channel = f"{'MM2S' if operation.to_array else 'S2MM'}_{operation.channel}"
    spread = f" and {operation.columns - 1} more columns" if operation.columns > 1 else ""
    return f"tile ({operation.column}, {operation.row}): wait for a token of {channel}{spread}"


_WRITERS: dict[type, Callable[[Any], str | None]] = {
    BlockWrite: _block,
    AddressPatch: _patch,
    Write32: _write,
    MaskWrite: _mask,
    Sync: _sync,
}
