"""Which host buffers an instruction stream uses, and how many bytes of each: read off its shim BDs and task queues."""

from __future__ import annotations

from collections import defaultdict

from xattn.array.buffer_descriptor import bd_offset, bd_words, decode_bd
from xattn.array.instructions import AddressPatch, BlockWrite, InstructionStream, Write32
from xattn.array.registers import TileKind, register, split_address
from xattn.array.words import WORD
from xattn.sim.array.addressing import word_offsets
from xattn.sim.array.tile import parts


def buffer_bytes(stream: InstructionStream) -> dict[int, int]:
    """For each host buffer (by argument number) that the stream's transfers use, the bytes up to the last one used."""
    words: dict[int, dict[int, int]] = defaultdict(dict)  # column: offset: word
    patched: dict[tuple[int, int], tuple[int, int]] = {}  # column, offset of the BD's address: argument, offset
    needed: dict[int, int] = {}
    for operation in stream.operations:
        match operation:
            case BlockWrite(address, data):
                place = split_address(address)
                if place.row == 0:
                    words[place.column].update((place.offset + WORD * n, word) for n, word in enumerate(data))
            case AddressPatch(address, argument, offset):
                place = split_address(address)
                patched[place.column, place.offset] = argument, offset
            case Write32(address, value):
                place = split_address(address)
                part = parts(TileKind.SHIM).get(place.offset) if place.row == 0 else None
                if part is None or part.kind != "queue":
                    words[place.column][place.offset] = value
                    continue
                side = "MM2S" if part.sends else "S2MM"
                task = register(TileKind.SHIM, f"DMA_{side}_{part.number}_Task_Queue").decode(value)
                for argument, end in _used(place.column, task, words[place.column], patched):
                    needed[argument] = max(needed.get(argument, 0), end)
    return needed


def _used(
    column: int, task: dict[str, int], words: dict[int, int], patched: dict[tuple[int, int], tuple[int, int]]
) -> list[tuple[int, int]]:
    """(argument, end in bytes) of each buffer that a task uses: its BDs' last words in all of its repeats."""
    found = []
    number: int | None = task["Start_BD_ID"]
    seen: set[int] = set()
    while number is not None and number not in seen:
        seen.add(number)
        start = bd_offset(TileKind.SHIM, number)
        bd = decode_bd(TileKind.SHIM, tuple(words.get(start + WORD * n, 0) for n in range(bd_words(TileKind.SHIM))))
        if (column, start + WORD) in patched and bd.length:
            argument, offset = patched[column, start + WORD]
            turns = min(task["Repeat_Count"] + 1, bd.iteration.count)
            last = int(word_offsets(bd, turns - 1).max())
            found.append((argument, offset + bd.address + WORD * (last + 1)))
        number = bd.next_bd
    return found
