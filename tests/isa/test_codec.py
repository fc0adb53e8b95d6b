"""Encode and decode agree with each other for everything, and with LLVM's bytes for what is recorded."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_cases import TABLE, bundles, every_operand, instructions

from xattn.errors import FileFormatError, InputError
from xattn.isa.codec import (
    Bundle,
    Instruction,
    decode_bundle,
    decode_program,
    decode_slot,
    matching,
    nop,
    smallest_format,
)
from xattn.isa.model import Format


def reread(instruction: Instruction) -> list[Instruction]:
    """All readings of the instruction's word, but for those of an opcode that it yields to."""
    found = matching(instruction.opcode.slot, instruction.word)
    return [i for i in found if i.opcode.name != instruction.opcode.yields_to]


def test_every_operand_of_every_opcode_round_trips() -> None:
    opcodes = set()
    for opcode in TABLE.opcodes.values():
        for instruction in every_operand(opcode):
            assert reread(instruction) == [instruction]
            assert instruction.word >> TABLE.slots[opcode.slot].width == 0
            opcodes.add(opcode.name)
    assert len(opcodes) == 607


@given(instructions())
def test_random_operands_round_trip(instruction: Instruction) -> None:
    assert reread(instruction) == [instruction]
    decoded = decode_slot(instruction.opcode.slot, instruction.word)
    assert decoded == instruction or (decoded and decoded.opcode.name == instruction.opcode.yields_to)


def test_an_opcode_that_yields_is_read_as_the_other() -> None:
    """LLVM decodes the words that both match as vmov."""
    wh0, x0 = TABLE.registers["wh0"], TABLE.registers["x0"]
    pack = TABLE.opcodes["VPACK_D4_D8"]
    names = [operand.name for operand in pack.operands]
    instruction = Instruction.of(pack, **dict(zip(names, (wh0, x0), strict=True)))
    decoded = decode_slot("st", instruction.word)
    assert decoded is not None and decoded.opcode.name == "VMOV_mv_mcd"


@pytest.mark.parametrize("bundle_format", TABLE.formats.values(), ids=str)
def test_bundles_of_every_format_round_trip(bundle_format: Format) -> None:
    @settings(max_examples=30)  # times 78 formats
    @given(bundles(bundle_format))
    def check(bundle: Bundle) -> None:
        data = bundle.encode()
        decoded = decode_bundle(data)
        assert len(data) == bundle_format.size == bundle.size
        assert decoded.encode() == data
        assert decoded == bundle

    check()


@given(st.lists(bundles(), max_size=6))
def test_programs_are_read_bundle_by_bundle(program: list[Bundle]) -> None:
    data = b"".join(bundle.encode() for bundle in program)
    read = list(decode_program(data, 0x100))
    assert b"".join(bundle.encode() for _, bundle in read) == data
    address = 0x100
    for (found, _), bundle in zip(read, program, strict=True):
        assert found == address
        address += bundle.size


@given(st.binary(max_size=48))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read = list(decode_program(data))
    except FileFormatError:
        return
    assert sum(bundle.size for _, bundle in read) == len(data)


def test_many_random_bytes_are_read_or_refused() -> None:
    """Uniform bytes reach what Hypothesis's small examples do not; what is read keeps its meaning when written."""
    source = random.Random(2)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(20_000):
        data = source.randbytes(16)
        try:
            bundle = decode_bundle(data)
        except FileFormatError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert decode_bundle(bundle.encode()) == bundle
    assert all(count > 500 for count in outcomes.values()), outcomes


@given(bundles(), st.data())
def test_a_bundle_cut_short_is_refused(bundle: Bundle, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, bundle.size - 1))
    with pytest.raises(FileFormatError, match=r"ends at 0x40|cut off"):
        decode_bundle(bundle.encode()[:cut], 0x40)


def test_smallest_format_is_as_small_as_can_be() -> None:
    for bundle_format in TABLE.formats.values():
        slots = frozenset(bundle_format.lsb_of)
        assert smallest_format(slots) is bundle_format
        for slot in slots:
            assert smallest_format(slots - {slot}).bits <= bundle_format.bits if len(slots) > 1 else True
    everything = frozenset(("ldb", "lda", "st", "alu", "mv", "vec"))
    assert smallest_format(everything).bits == 128


def test_empty_slots_hold_their_nop() -> None:
    add = next(every_operand(TABLE.opcodes["ADD"]))
    bundle = Bundle.of([add], TABLE.formats["I128_LDB_LDA_ST_ALU_MV_VEC"])
    assert bundle.operations == (add,)
    assert [i for i in bundle.instructions if i is not add] == [nop(s) for s in ("ldb", "lda", "st", "mv", "vec")]


def test_bad_operands_and_bundles_are_refused_with_what_is_expected() -> None:
    add, r0 = TABLE.opcodes["ADD"], TABLE.registers["r0"]
    with pytest.raises(InputError, match="p0 cannot stand here, expected one of r0, r1"):
        Instruction.of(add, mRx=TABLE.registers["p0"], mRx0=r0, mRy=r0)
    with pytest.raises(InputError, match="needs operand mRy"):
        Instruction.of(add, mRx=r0, mRx0=r0)
    with pytest.raises(InputError, match="has no operand extra"):
        Instruction.of(add, mRx=r0, mRx0=r0, mRy=r0, extra=r0)
    with pytest.raises(InputError, match="immediate 64 is out of range, expected -64 to 63"):
        Instruction.of(TABLE.opcodes["ADD_add_r_ri"], mRx=r0, mRx0=r0, c7s=64)
    one = Instruction.of(add, mRx=r0, mRx0=r0, mRy=r0)
    with pytest.raises(InputError, match="slot alu cannot hold both add and add"):
        Bundle.of([one, one])
    with pytest.raises(InputError, match="no bundle format holds slots alu, lng"):
        Bundle.of([one, nop("lng")])
    with pytest.raises(InputError, match="I32_VEC has no slot alu"):
        Bundle.of([one], TABLE.formats["I32_VEC"])


def test_recorded_bytes_are_read_and_written_again(facts: Path) -> None:
    with (facts / "encodings.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 843
    for row in rows:
        data = bytes.fromhex(row["bytes"])
        assert decode_bundle(data).encode() == data, row


def test_foreign_programs_are_read_and_written_again(foreign_programs: list[Path]) -> None:
    from xattn.isa.elf import load_elf

    count = 0
    for path in foreign_programs:
        for address, code in load_elf(path).code():
            read = list(decode_program(code, address))
            assert b"".join(bundle.encode() for _, bundle in read) == code, path
            count += len(read)
    print(f"{len(foreign_programs)} programs, {count} bundles")
    assert count > 0
