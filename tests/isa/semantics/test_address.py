"""Addressing modes against nested loops."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lane_evaluator import Evaluator, execute

from xattn.isa.semantics.meaning import meaning_of
from xattn.isa.table import instruction_table

SPACE = 1 << 20
steps = st.integers(-(1 << 19), (1 << 19) - 1).map(lambda n: n % SPACE)
pointers = st.integers(0, SPACE - 1)


@given(pointers, steps)
def test_plain_steps(pointer: int, step: int) -> None:
    assert execute("PADDA_lda_ptr_inc_idx", ptr=pointer, mod=step)["res"] == (pointer + step) % SPACE
    assert execute("PADDB_sp_imm", {"SP": pointer}, imm=-64 % (1 << 32))["SP"] == (pointer - 64) % SPACE


@given(pointers, steps, steps, st.integers(0, 5), st.integers(0, 3))
def test_two_dimensions_are_two_nested_loops(start: int, inner: int, outer: int, last: int, rows: int) -> None:
    visited, pointer, count = [], start, 0
    for _ in range((last + 1) * (rows + 1)):
        visited.append(pointer)
        modifier = {"mod[0]": outer, "mod[1]": last, "mod[2]": inner, "mod[3]": count}
        after = execute("PADDA_2D", ptr=pointer, **modifier)
        pointer, count = after["ptr_out"], after["count_out"]
    expected, place = [], start
    for _ in range(rows + 1):
        for k in range(last + 1):
            expected.append(place)
            place = (place + (inner if k < last else outer)) % SPACE
    assert visited == expected and count == 0


@given(pointers, steps, steps, steps, st.integers(0, 3), st.integers(0, 3))
def test_three_dimensions_are_three(start: int, inner: int, middle: int, outer: int, last: int, rows: int) -> None:
    visited, pointer, low, high = [], start, 0, 0
    for _ in range((last + 1) * (rows + 1) * 2):
        visited.append(pointer)
        modifier = {"mod[0, 0]": outer, "mod[0, 1]": last, "mod[0, 2]": inner, "mod[0, 3]": low}
        modifier |= {"mod[1, 1]": rows, "mod[1, 2]": middle, "mod[1, 3]": high}
        after = execute("PADDB_3D", ptr=pointer, **modifier)
        pointer, low, high = after["ptr_out"], after["count_lo_out"], after["count_hi_out"]
    expected, place = [], start
    for _ in range(2):
        for row in range(rows + 1):
            for k in range(last + 1):
                expected.append(place)
                step = inner if k < last else middle if row < rows else outer
                place = (place + step) % SPACE
    assert visited == expected and (low, high) == (0, 0)


def test_every_load_and_store_has_an_address() -> None:
    for opcode in instruction_table().opcodes.values():
        if opcode.memory is None or opcode.memory.mode in ("fifo", "gather4") or opcode.name in ("LDA_TM", "ST_TM"):
            continue
        if opcode.name.startswith(("VLDA_CONV", "VLDA_2D_CONV", "VLDA_3D_CONV", "VST_CONV")):
            continue  # float conversions may be without meaning
        effects = meaning_of(opcode)
        (address,) = [load.address for load in effects.loads] or [effects.store.address]
        modifier = {
            f"mod{list(path)}": 0 for path in [(k,) for k in range(4)] + [(h, k) for h in (0, 1) for k in range(4)]
        }
        known = Evaluator({"ptr": 0x70100, "dj": 0x20, "imm": -64 % (1 << 32), "mod": 4, **modifier}, {"SP": 0x70200})
        expected = {"idx_imm": 0x700C0, "idx_dj": 0x70120, "sp_imm": 0x701C0}.get(opcode.memory.mode, 0x70100)
        assert known.lanes(address) == [expected], opcode


def test_a_gather_reads_odd_pieces_from_the_other_half() -> None:
    source = sum((0x70003 + 0x100 * k) << (32 * k) for k in range(8))
    for name, half, aligned in (("VLDB_4x16_LO", 0, 4), ("VLDB_4x32_HI", 4, 8), ("VLDB_4x64_HI", 4, 16)):
        effects = meaning_of(instruction_table().opcode(name))
        known = Evaluator({"src": source})
        found = [known.lanes(load.address)[0] for load in effects.loads]
        bases = [0x70000 + 0x100 * (half + k) + 3 // aligned * aligned for k in range(4)]
        assert found == [base | 16 * (k % 2) for k, base in enumerate(bases)]
        assert [load.bytes for load in effects.loads] == [8] * 4
