"""Writes to the array in words: which tile, which register or buffer descriptor or memory, and what the bits mean."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TypeAlias

from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, Iteration, LockUse, Packet, bd_words, decode_bd
from xattn.array.registers import OFFSET_MASK, TileKind, describe, split_address, tile
from xattn.array.words import U32_MAX, WORD

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value] | None"
"""What JSON can hold."""

_BD_STRIDE = 0x20
_BD_COUNT = {TileKind.CORE: 16, TileKind.MEM: 48, TileKind.SHIM: 16}


def hexadecimal(value: int) -> str:
    """Addresses, masks and words as text."""
    return f"{value:#x}"


def describe_place(address: int) -> dict[str, Value]:
    """Tile, kind and name of a 32-bit array address; an address of more bits is only named."""
    if address > U32_MAX:
        return {"address": hexadecimal(address), "register": "outside the array"}
    place = split_address(address)
    name = describe(place.kind, address).name
    return {"tile": [place.column, place.row], "kind": place.kind.value, "register": name}


def describe_write(address: int, value: int, mask: int | None = None) -> dict[str, Value]:
    """One word to one address; with `mask`, only its bits."""
    out = describe_place(address)
    out["value"] = hexadecimal(value)
    if mask is not None:
        out["mask"] = hexadecimal(mask)
    if address <= U32_MAX:
        kind = split_address(address).kind
        out |= _describe_fields(kind, address, value, mask)
        source = _circuit_source(kind, str(out["register"]), value)
        if source is not None:
            out["from"] = source
    return out


def describe_block(address: int, words: tuple[int, ...]) -> dict[str, Value]:
    """Consecutive words from `address` on: a BD in real units if it is one, a memory span, or single registers."""
    out = describe_place(address)
    out["words"] = len(words)
    if address > U32_MAX or not words:
        return out
    place = split_address(address)
    number = _bd_number(place.kind, place.offset, len(words))
    if number is not None:
        out["bd"] = number
        out |= describe_bd(decode_bd(place.kind, words))
    elif not any(memory.offset <= place.offset < memory.offset + memory.size for memory in tile(place.kind).memories):
        out["writes"] = [describe_write(address + WORD * index, word) for index, word in enumerate(words)]
    return out


def describe_bd(bd: BufferDescriptor) -> dict[str, Value]:
    """The attributes of `bd` that differ from a plain BD's; steps and lengths in words, addresses in bytes."""
    out: dict[str, Value] = {}
    for item in fields(bd):
        value = getattr(bd, item.name)
        if item.default is not MISSING and value == item.default:
            continue
        out[item.name] = _plain(item.name, value)
    return out


def _describe_fields(kind: TileKind, address: int, value: int, mask: int | None) -> dict[str, Value]:
    """The fields that the write sets: those under the mask, or those that are not 0."""
    found = describe(kind, address, value)
    register = tile(kind).by_offset.get(address & OFFSET_MASK)
    masks = {field.name: field.mask for field in register.fields} if register else {}
    chosen: dict[str, Value] = {
        name: number for name, number in found.fields.items() if (masks[name] & mask if mask else number)
    }
    out: dict[str, Value] = {"fields": chosen} if chosen else {}
    if found.other_bits and found.fields:
        out["other_bits"] = hexadecimal(found.other_bits)
    return out


def _circuit_source(kind: TileKind, name: str, value: int) -> str | None:
    """The slave port that a circuit-switched master port takes its words from, if this write sets up such a route."""
    if not name.startswith("Stream_Switch_Master_Config_"):
        return None
    fields = tile(kind).by_name[name].decode(value)
    slaves = tile(kind).slaves
    circuit = fields["Master_Enable"] and not fields["Packet_Enable"]
    return slaves[fields["Configuration"]] if circuit and fields["Configuration"] < len(slaves) else None


def _plain(name: str, value: object) -> Value:
    if isinstance(value, Dimension):
        return {"step": value.step, "wrap": value.wrap}
    if isinstance(value, Iteration):
        return {"step": value.step, "count": value.count, "current": value.current}
    if isinstance(value, Packet):
        return {"id": value.id, "kind": value.kind}
    if isinstance(value, LockUse):
        return {"lock": value.lock, "value": value.value}
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return hexadecimal(value) if name == "address" else value
    return bool(value)


def _bd_number(kind: TileKind, offset: int, words: int) -> int | None:
    """The number of the BD that `words` words at `offset` fill exactly, if they do."""
    first = tile(kind).by_name["DMA_BD0_0"].offset
    number, inside = divmod(offset - first, _BD_STRIDE)
    return number if inside == 0 and 0 <= number < _BD_COUNT[kind] and words == bd_words(kind) else None
