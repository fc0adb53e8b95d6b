"""The table is complete and free of contradictions: proofs by exhaustion, and a comparison with the recorded facts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from isa_cases import OPCODES_OF, TABLE

from xattn.isa.codec import bundle_size, decode_slot, matching
from xattn.isa.model import CountOf, Format, Immediate, Opcode, Operand, Register, RegisterClass

# --- no two encodings collide ---------------------------------------------------------------------------------------

Choice = tuple[int, int]  # (mask, value): some bits of a slot word and what they are


def fixed_bits(opcode: Opcode) -> Choice:
    return opcode.mask, opcode.value


def field_choices(operand: Operand) -> list[Choice]:
    """For each code that a register field can hold: the bits of the slot word that it says."""
    assert isinstance(operand.type, RegisterClass)
    mask = sum(((1 << width) - 1) << lsb for lsb, width, _ in operand.segments)
    return [
        (mask, sum(((code >> low) & ((1 << width) - 1)) << lsb for lsb, width, low in operand.segments))
        for code in operand.type.by_code
    ]


def constraints(opcode: Opcode) -> list[list[Choice]]:
    """What a word must satisfy to be read as `opcode`: each list is a choice. Fields that take any code say nothing."""
    fields = [o for o in opcode.operands if o.segments and o.tied_to is None and isinstance(o.type, RegisterClass)]
    return [field_choices(o) for o in fields if len(o.type.by_code) < 1 << o.type.width]  # type: ignore[union-attr]


def common_words(a: Opcode, b: Opcode) -> Iterator[Choice]:
    """All words that match both opcodes, as (known bits, their values): an exact search, nothing is sampled."""
    (mask_a, value_a), (mask_b, value_b) = fixed_bits(a), fixed_bits(b)
    if (value_a ^ value_b) & mask_a & mask_b:
        return
    yield from _satisfy((mask_a | mask_b, value_a | value_b), constraints(a) + constraints(b))


def _satisfy(known: Choice, open_choices: list[list[Choice]]) -> Iterator[Choice]:
    mask, value = known
    possible = [[c for c in choices if not (c[1] ^ value) & c[0] & mask] for choices in open_choices]
    if not possible:
        yield known
        return
    narrowest = min(range(len(possible)), key=lambda i: len(possible[i]))
    rest = possible[:narrowest] + possible[narrowest + 1 :]
    for more_mask, more_value in possible[narrowest]:
        yield from _satisfy((mask | more_mask, value | more_value), rest)


def declared(a: Opcode, b: Opcode) -> bool:
    return a.yields_to == b.name or b.yields_to == a.name


def test_no_word_of_a_slot_reads_as_two_opcodes() -> None:
    collisions, pairs = set(), 0
    for opcodes in OPCODES_OF.values():
        for a, b in combinations(opcodes, 2):
            pairs += 1
            if next(common_words(a, b), None):
                collisions.add(frozenset((a.name, b.name)))
    assert pairs == 35_926
    assert collisions == {frozenset(("VPACK_D4_D8", "VMOV_mv_mcd"))}
    assert declared(TABLE.opcodes["VPACK_D4_D8"], TABLE.opcodes["VMOV_mv_mcd"])


def test_the_declared_collision_is_twelve_words() -> None:
    """As the recorded facts say of vpack.d4.d8 wh0 and vmov MCD; and the decoder meets the same words."""
    a, b = TABLE.opcodes["VPACK_D4_D8"], TABLE.opcodes["VMOV_mv_mcd"]
    width = TABLE.slots["st"].width
    found = {word for common in common_words(a, b) for word in words_of(common, width)}
    doubly_read = {word for word in words_of(fixed_bits(a), width) if len(matching("st", word)) > 1}
    assert found == doubly_read and len(found) == 12
    for word in found:
        decoded = decode_slot("st", word)
        assert decoded is not None and decoded.opcode is b


def words_of(choice: Choice, width: int) -> Iterator[int]:
    free = [i for i in range(width) if not choice[0] >> i & 1]
    return (choice[1] | sum((n >> k & 1) << i for k, i in enumerate(free)) for n in range(1 << len(free)))


def test_the_search_finds_a_planted_collision() -> None:
    add, sub = TABLE.opcodes["ADD"], TABLE.opcodes["SUB"]
    difference = (add.value ^ sub.value) & add.mask & sub.mask
    assert difference and next(common_words(add, sub), None) is None
    planted = dataclasses.replace(add, mask=add.mask & ~difference, value=add.value & ~difference)
    assert next(common_words(planted, sub)) == (add.mask, sub.value)


def test_no_word_reads_as_two_formats() -> None:
    for a, b in combinations(TABLE.formats.values(), 2):
        shared = a.mask & b.mask
        assert (a.value ^ b.value) & shared & 15 or (a.bits == b.bits and (a.value ^ b.value) & shared), (a, b)


def test_first_bits_announce_the_size() -> None:
    """The rule of the instruction fetch, written out: the least significant bits, then the bytes of the bundle."""
    rule = {"0": 16, "0001": 2, "1001": 4, "101": 6, "0011": 8, "1011": 10, "0111": 12, "1111": 14}
    for low in range(256):
        sizes = {size for pattern, size in rule.items() if format(low, "08b").endswith(pattern)}
        assert sizes == {bundle_size(low)}
    for bundle_format in TABLE.formats.values():
        assert bundle_size(bundle_format.value & 255) == bundle_format.size


# --- every bit is accounted for -------------------------------------------------------------------------------------


def test_every_bit_of_a_format_is_fixed_or_of_one_slot() -> None:
    assert len(TABLE.formats) == 78
    for bundle_format in TABLE.formats.values():
        seen = bundle_format.mask
        for slot, lsb in bundle_format.lsb_of.items():
            bits = ((1 << TABLE.slots[slot].width) - 1) << lsb
            assert not seen & bits, (bundle_format, slot)
            seen |= bits
        assert seen == (1 << bundle_format.bits) - 1
        assert not bundle_format.value & ~bundle_format.mask


def test_formats_are_told_apart_by_their_slots() -> None:
    """So text, which names slots and not formats, determines the format."""
    assert len({frozenset(f.lsb_of) for f in TABLE.formats.values()}) == len(TABLE.formats)


def test_every_bit_of_an_opcode_is_fixed_or_ignored_or_of_one_operand() -> None:
    assert len(TABLE.opcodes) == 607
    for opcode in TABLE.opcodes.values():
        seen = opcode.mask
        assert not opcode.value & ~opcode.mask
        for operand in opcode.operands:
            if operand.tied_to is None:
                for lsb, width, _ in operand.segments:
                    bits = ((1 << width) - 1) << lsb
                    assert not seen & bits, (opcode, operand.name)
                    seen |= bits
                field = sum(((1 << width) - 1) << low for _, width, low in operand.segments)
                width = getattr(operand.type, "bits" if isinstance(operand.type, Immediate) else "width", 0)
                assert isinstance(operand.type, (Register, CountOf)) or field == (1 << width) - 1, (
                    opcode,
                    operand.name,
                )
        assert seen < 1 << TABLE.slots[opcode.slot].width


def test_register_views_are_made_of_storage() -> None:
    for register in TABLE.registers.values():
        assert sum(part.bits for part in register.storage) == register.bits or register.file == "d", register
        assert all(not part.parts for part in register.storage)


# --- the recorded facts ---------------------------------------------------------------------------------------------


def test_table_says_what_the_recorded_facts_say(facts: Path) -> None:
    recorded = json.loads((facts / "isa.json").read_text())
    _same_formats(recorded["formats"])
    assert {r["name"] for r in recorded["registers"]} == set(TABLE.registers)
    for row in recorded["registers"]:
        register = TABLE.registers[row["name"]]
        assert (register.text, register.bits, register.file) == (row["asm"], row["bits"], row["file"])
        parts = sorted(row.get("parts", []), key=lambda part: part[1])
        assert [part.name for part in register.parts] == [name for name, _ in parts]
    for name, row in recorded["classes"].items():
        found = TABLE.classes[name]
        codes = {code: register for register, code in row["codes"].items()} | dict(row.get("also", []))
        assert found.code_of == row["codes"] and found.width == row["bits"]
        assert {code: register.name for code, register in found.by_code.items()} == codes
    for row in recorded["slots"]:
        slot = TABLE.slots[row["name"]]
        assert (slot.width, slot.nop, list(slot.overlays)) == (row["width"], row["nop"], row.get("overlays", []))
    assert {o["name"] for o in recorded["opcodes"]} == set(TABLE.opcodes)
    for row in recorded["opcodes"]:
        _same_opcode(TABLE.opcodes[row["name"]], row)
    _same_itineraries(recorded["itineraries"])
    groups = sorted(sorted(row["opcodes"]) for row in recorded["alternatives"])
    assert sorted(sorted(group) for group in TABLE.alternatives) == groups
    rule = {(int(r["mask"], 16), int(r["value"], 16), r["bits"] // 8) for r in recorded["meta"]["length_rule"]}
    for low in range(256):
        assert {bundle_size(low)} == {size for mask, value, size in rule if low & mask == value}


# movx to a control register reads its scalar register; the recorded facts, after the public backend, call it written.
READ_NOT_WRITTEN = {("MOVX_mvx_scl", "mRx")}


def _same_formats(rows: list[dict]) -> None:  # type: ignore[type-arg]
    assert {row["name"] for row in rows} == set(TABLE.formats)
    for row in rows:
        found: Format = TABLE.formats[row["name"]]
        assert (found.mask, found.value, found.bits) == (int(row["mask"], 16), int(row["value"], 16), row["bits"])
        assert found.lsb_of == {slot["slot"]: slot["lsb"] for slot in row["slots"]}
        assert list(found.lsb_of) == [slot["slot"] for slot in row["slots"]]


def _same_opcode(opcode: Opcode, row: dict) -> None:  # type: ignore[type-arg]
    assert (opcode.mask, opcode.value) == (int(row["mask"], 16), int(row["value"], 16)), opcode
    assert (opcode.text, opcode.slot, opcode.itinerary.name) == (row["asm"], row["slot"], row["itinerary"])
    assert [r.name for r in opcode.implicit_defs] == row["implicit_defs"]
    assert [r.name for r in opcode.implicit_uses] == row["implicit_uses"]
    conditions = [({str(i): file for i, file in when}, it.name) for when, it in opcode.itinerary_by_file]
    assert conditions == [(w["when"], w["itinerary"]) for w in row.get("itinerary_by_file", [])]
    assert set(opcode.flags) == set(row["flags"]) - {"load", "store", "nop", "delay_slots"}
    assert opcode.is_branch == ("delay_slots" in row)
    memory = row.get("mem")
    assert (opcode.memory is None) == (memory is None)
    if memory and opcode.memory:
        seen = (opcode.memory.kind, opcode.memory.bytes, opcode.memory.mode, opcode.memory.space)
        assert seen == (memory["kind"], memory["bytes"], memory["mode"], memory.get("space")), opcode
    assert len(opcode.operands) == len(row["operands"])
    for operand, wanted in zip(opcode.operands, row["operands"], strict=True):
        _same_operand(opcode, operand, wanted)


# The record calls the source of "movx crX, rN" a definition; it is read.
CORRECTED = {("MOVX_mvx_scl", "mRx")}


def _same_operand(opcode: Opcode, operand: Operand, row: dict) -> None:  # type: ignore[type-arg]
    is_def = (row["role"] == "def") != ((opcode.name, operand.name) in CORRECTED)
    assert (operand.name, operand.is_def) == (row["name"], is_def)
    if row["kind"] != "fixed_reg":  # of a fixed register, both operands name it: no need to tie them
        assert operand.tied_to == row.get("tied_to")
    assert sorted(operand.segments) == sorted(tuple(segment) for segment in row.get("segs", []))
    if row["kind"] == "imm":
        assert isinstance(operand.type, Immediate)
        found = (operand.type.minimum, operand.type.maximum, operand.type.scale, operand.type.bits)
        assert found == (row["min"], row["max"], row.get("scale", 1), row["bits"])
    elif row["kind"] == "reg":
        assert isinstance(operand.type, RegisterClass) and operand.type.name == row["class"]
    elif row["kind"] == "fixed_reg":
        assert isinstance(operand.type, Register) and operand.type.name == row["reg"]
    else:
        half = {"low": 0, "high": 1}.get(row["derived"].split()[2])
        assert operand.type == CountOf(row["derived"].split()[-1], half)


def _same_itineraries(rows: dict[str, dict]) -> None:  # type: ignore[type-arg]
    assert set(rows) == set(TABLE.itineraries)
    for name, row in rows.items():
        found = TABLE.itineraries[name]
        assert list(found.cycles) == row["operand_cycles"] and list(found.memory_cycles) == row["memory_cycles"]
        ports = [[p.port, p.cycle, p.length, "required" if p.required else "reserved"] for p in found.ports]
        assert ports == row["resources"]
        assert list(found.bypasses[: len(row["bypass"])]) == row["bypass"]
        assert not any(found.bypasses[len(row["bypass"]) :])
