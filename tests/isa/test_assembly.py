"""Assembly text: both ways for everything, LLVM's text and bytes, programs with labels, and errors that teach."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isa_cases import TABLE, bundles, every_operand, instructions

import xattn.isa
from xattn.errors import FileFormatError, InputError
from xattn.isa.assembly import assemble, assemble_program
from xattn.isa.codec import Bundle, Instruction, decode_bundle, decode_program
from xattn.isa.disassembly import bundle_text, disassemble, disassemble_bundles
from xattn.isa.model import Immediate
from xattn.isa.syntax import Form, Place, forms, read_operation, summary, text_of

HERE = Place(1, 1)


def read(text: str) -> Instruction:
    return read_operation(text, HERE).resolve(lambda name: pytest.fail(f"unexpected symbol {name}"))


# --- both ways ------------------------------------------------------------------------------------------------------


def test_every_operand_of_every_opcode_is_written_and_read() -> None:
    for opcode in TABLE.opcodes.values():
        for instruction in every_operand(opcode):
            assert read(text_of(instruction)) == instruction


@given(instructions(), st.sampled_from([str.upper, str.lower, str.title]))
def test_case_does_not_matter(instruction: Instruction, case) -> None:  # type: ignore[no-untyped-def]
    assert read(case(text_of(instruction))) == instruction


def test_no_two_opcodes_share_a_text() -> None:
    """For all pairs of one mnemonic and shape, some place takes no register, word or integer of both."""
    by_shape: dict[tuple[str, str], list[Form]] = defaultdict(list)
    for mnemonic, found in forms().items():
        for form in found:
            by_shape[mnemonic, form.shape].append(form)
    for group in by_shape.values():
        for a, b in combinations(group, 2):
            assert any(accepted(a, i).isdisjoint(accepted(b, i)) for i in range(len(a.places))), (a.opcode, b.opcode)


def accepted(form: Form, position: int) -> set[str]:
    operand = form.operand(position)
    if operand is None:
        return {form.places[position].lower()}
    if isinstance(operand.type, Immediate):
        return {"an integer"}
    registers = getattr(operand.type, "registers", (operand.type,))
    return {register.text.lower() for register in registers}


@given(bundles(), st.booleans())
def test_text_of_a_bundle_assembles_to_its_bytes(bundle: Bundle, compact: bool) -> None:
    data = bundle.encode()
    assert assemble(bundle_text(decode_bundle(data), compact=compact)) == data


@given(st.lists(bundles(), max_size=8), st.booleans(), st.booleans())
def test_text_of_a_program_is_stable(program: list[Bundle], compact: bool, notes: bool) -> None:
    """Bytes to text to bytes to text, with labels for whatever addresses the branches happen to name."""
    data = b"".join(bundle.encode() for bundle in program)
    text = disassemble(data, 0x20, addresses=notes, show_bytes=notes, compact=compact)
    assert assemble(text, 0x20) == data


# --- what LLVM says -------------------------------------------------------------------------------------------------


def test_recorded_pairs_are_byte_exact_both_ways(facts: Path) -> None:
    with (facts / "encodings.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 843
    for row in rows:
        assert assemble(row["asm"]).hex() == row["bytes"], row
        assert bundle_text(decode_bundle(bytes.fromhex(row["bytes"]))).lower() == row["asm"], row


def test_recorded_programs_assemble(facts: Path) -> None:
    """All programs that were run on silicon: each line is a bundle, its text comes back, repeats count."""
    import gzip

    count = 0
    with gzip.open(facts / "silicon_points.jsonl.gz", "rt") as file:
        for line in file:
            point = json.loads(line)
            if "code" not in point:
                continue
            program = assemble_program("\n".join(point["code"]))
            repeats = [int(text.partition("*")[2] or 1) for text in point["code"]]
            assert len(program.bundles) == sum(repeats)
            under_test = program.bundles[sum(repeats[: point["line"]])].bundle
            assert [i.opcode.name for i in under_test.operations] == [point["op"]]
            count += 1
    assert count == 3087


def test_foreign_programs_survive_text(foreign_programs: list[Path]) -> None:
    from xattn.isa.elf import load_elf

    for path in foreign_programs:
        image = load_elf(path)
        for address, code in image.code():
            for compact in (False, True):
                text = disassemble(code, address, image.addresses(), addresses=True, show_bytes=True, compact=compact)
                assert assemble(text, address) == code, path


# --- programs -------------------------------------------------------------------------------------------------------

PROGRAM = """
// counts r0 down from N
.equ N, 12
.func count
    mova r0, #N; movxm ls, #first
    movxm le, #last
    movxm p0, #count + 0x20
    jl #done
    nop*5
.align 16
first:  add r1, r1, #-1
    nopa; nopb; nopx; nopm; nops
.align 16
last: nopb; nopa; nops; nopx; nopm; nopv
.func done
other:
    ret lr
    nop*5
"""


def test_labels_functions_constants_and_alignment() -> None:
    program = assemble_program(PROGRAM, base=0x40)
    assert program.symbols["count"] == 0x40
    assert {name: value % 16 for name, value in program.symbols.items()} == dict.fromkeys(program.symbols, 0)
    assert program.constants == {"N": 12}
    assert program.functions["done"] == (program.symbols["done"], 14)
    assert sum(size for _, size in program.functions.values()) == len(program.code)
    assert program.global_symbols == {"count", "done"}
    assert program.symbols["other"] == program.symbols["done"]
    assert [b.bundle for b in program.bundles] == [b for _, b in decode_program(program.code, 0x40)]
    values = {}
    for item in program.bundles:
        for instruction in (i for i in item.bundle.operations if i.values):
            values[text_of(instruction).split()[1].rstrip(",")] = instruction.values[-1]
    assert values["ls"] == program.symbols["first"]
    assert values["le"] == program.symbols["last"]
    assert values["p0"] == 0x60
    assert values["r0"] == 12
    lines = program.source
    assert all(lines[item.line - 1].strip() for item in program.bundles)
    assert [item.address for item in program.bundles] == [a for a, _ in decode_program(program.code, 0x40)]


def test_disassembly_names_branch_targets_and_loop_bounds() -> None:
    program = assemble_program(PROGRAM, base=0x40)
    text = disassemble(program.code, 0x40, program.symbols)
    assert "jl #done" in text and "ls, #first" in text and "le, #last" in text
    assert "count:\n" in text and "done:\nother:\n" in text
    assert assemble(text, 0x40) == program.code
    anonymous = disassemble(program.code, 0x40)
    target = f".L{program.symbols['done']:x}"
    assert f"jl #{target}" in anonymous and f"{target}:\n" in anonymous
    assert "// data = 0x60" in disassemble(program.code, 0x40, {"data": 0x60})


def test_compact_text_leaves_out_what_the_assembler_puts_back() -> None:
    wide = assemble("nopa; nopb; nopm; nops; nopv; ret lr")
    assert bundle_text(decode_bundle(wide), compact=True) == "nopb; nopa; nops; ret lr; nopm; nopv"
    assert bundle_text(decode_bundle(assemble("ret lr")), compact=True) == "ret lr"
    pair = assemble("lda r0, [p0], m0; st r1, [p1], m1; vadd cm0, cm0, cm1, r0; mov r2, r3")
    assert len(pair) == 14
    text = bundle_text(decode_bundle(pair), compact=True)
    assert "nop" not in text and assemble(text) == pair


@given(st.integers(0, 127).map(lambda n: 2 * n), st.sampled_from([2, 4, 8, 16, 32, 64, 128, 256]))
def test_align_fills_with_the_fewest_nops(before: int, step: int) -> None:
    text = "nop\n" * (before // 2) + f".align {step}\nend: nop"
    program = assemble_program(text)
    fill = -before % step
    assert program.symbols["end"] == before + fill
    assert len(program.bundles) == before // 2 + -(-fill // 16) + 1
    assert not any(item.bundle.operations for item in program.bundles)


def test_explicit_nops_claim_their_slot() -> None:
    assert len(assemble("add r0, r0, r1")) == 4
    assert len(assemble("add r0, r0, r1; nopm")) == 8
    assert len(assemble("nopb; nopa; nops; add r0, r0, r1; nopm; nopv")) == 16


def test_the_package_offers_both_directions() -> None:
    assert xattn.isa.disassemble(xattn.isa.assemble("add r0, r1, r2\nnop")) == "    add r0, r1, r2\n    nop\n"


def test_symbols_that_cannot_be_labels_are_left_out() -> None:
    code = assemble("nop\nnop")
    labels = [item.labels for item in disassemble_bundles(code, 0, {"r0": 0, "a b": 0, "fine": 2, "x@1": 2})]
    assert labels == [(), ("fine",)]


def test_a_branch_to_a_symbol_that_is_no_fetch_address_keeps_its_number() -> None:
    """The assembler takes labels as branch targets only at multiples of 16, so a name there would not assemble."""
    code = assemble("j #6\nnop*5")
    text = disassemble(code, 0, {"odd": 6, "even": 0})
    assert "j #6\nodd:" in text and "even:" in text
    assert assemble(text) == code


def test_references_say_what_an_object_must_relocate() -> None:
    program = assemble_program(".extern far\nhere: jl #far\n  movxm p0, #far + 8; nopb\n  j #here\n nop*5")
    assert [(r.address, r.slot, r.symbol, r.addend) for r in program.references] == [
        (0, "lng", "far", 0),
        (6, "lng", "far", 8),
        (16, "lng", "here", 0),
    ]
    with pytest.raises(InputError, match="far: external symbols need an object file"):
        assemble(".extern far\njl #far")


# --- errors ---------------------------------------------------------------------------------------------------------

ERRORS = [
    ("nop\n  vmacc cm0, cm0, x0, x1, r0", 2, 3, "unknown mnemonic 'vmacc'; did you mean vmac"),
    ("add r1, r2, #70", 1, 14, "add: found 70, expected r0–r31 or #-64 to #63"),
    ("lda r0, [p0, #3]", 1, 15, "lda: found 3, expected dj0–dj7 or #-128 to #124 in steps of 4"),
    ("add r1, q2, #7", 1, 9, "add: found q2, expected r0–r31"),
    ("vmac cm9, cm1, x0, x1, r2", 1, 6, "vmac: found cm9, which is no register, expected cm0–cm8"),
    ("vlda.3d wl0, [p0], d5", 1, 20, "vlda.3d: found d5, expected d0–d3"),
    ("sel.nez r0, r1, r2, r3", 1, 21, "sel.nez: found r3, expected r27"),
    ("add r1 r2", 1, 1, "operands do not have the form of any add, such as add r0, r0, r0; add r0, r0, #0"),
    ("nop\nadd r1, r2, @", 2, 13, "unexpected '@'"),
    ("padda [p0], #4; lda r0, [p0, #0]", 1, 17, "both operations of slot lda.*padda can be paddb \\(ldb\\)"),
    ("movxm r0, #1; mov r0, r1", 1, 1, "slots mv, lng together: lng lies over alu and mv"),
    ("nop; add r0, r0, r1", 1, 1, "the 16-bit nop stands alone or with nopxm"),
    ("loop: nop\n j #lop", 2, 5, "no label or constant of that name is defined; did you mean loop"),
    (
        "nop\na: nop\n j #a",
        3,
        5,
        "a is at 0x2; branch targets and loop bounds must be multiples of 16: write .align 16",
    ),
    ("nop\na: nop\n movxm le, #a", 3, 13, "a is at 0x2; .*multiples of 16"),
    ("a: nop\na: nop", 2, 1, "a is defined twice"),
    ("  R3: nop", 1, 3, "R3 is a register and cannot name a place"),
    (".foo 3", 1, 1, "unknown directive .foo, expected one of .align"),
    (".align 3", 1, 1, "power of two from 2 to 256, found 3"),
    (".align", 1, 1, "power of two from 2 to 256, found nothing"),
    (".equ N", 1, 1, ".equ takes a name and a value, found N"),
    (".equ N, x", 1, 1, "expected an integer, found 'x'"),
    (".global main", 1, 1, "main is declared global but not defined"),
    (".func 3x", 1, 1, "expected a symbol name, found 3x"),
    (".func a b", 1, 1, ".func takes one name, found 2"),
    ("a: nop\n.extern a", 2, 1, "a is defined here and cannot be external"),
    (".equ big, 5000\nmova r0, #big", 2, 11, "mova: big: immediate 5000 is out of range, expected -1024 to 1023"),
    ("  ;", 1, 3, "expected an operation"),
    ("  7", 1, 3, "expected a mnemonic, found '7'"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS, ids=[e[3][:40] for e in ERRORS])
def test_errors_say_where_what_and_what_else(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        assemble(text)
    found = str(caught.value)
    assert found.startswith(f"line {line}, column {column}: ")
    assert re.search(message, found), found
    assert "\n" not in found


@given(st.text(alphabet="advmoxlr .;:,#[]+-0123p//\n", max_size=60))
def test_any_text_assembles_or_is_refused(text: str) -> None:
    try:
        code = assemble(text)
    except InputError:
        return
    assert [b for _, b in decode_program(code)] == [i.bundle for i in assemble_program(text).bundles]


def test_bad_base_and_bad_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="0x4 is not a multiple of 16"):
        assemble_program("nop", base=4)
    with pytest.raises(FileFormatError, match="0x102 is cut off"):
        disassemble(b"\x01\x00\x19\x00", 0x100)


def test_register_lists_are_short() -> None:
    assert summary(["r1", "r0", "p3", "lr", "r7", "crSat", "dj0"]) == "r0–r1, r7, p3, lr, crSat, dj0"
