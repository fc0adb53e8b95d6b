"""The registry of meanings, and what every meaning must keep to."""

from __future__ import annotations

import pytest

from xattn.isa.semantics.lanes import by_value, concat, const, matmul, select, splat
from xattn.isa.semantics.meaning import Operation, UnimplementedOpcodeError, implemented, meaning_of, means
from xattn.isa.table import instruction_table
from xattn.sim.accesses import leaves, roots

TABLE = instruction_table()


def test_no_opcode_has_two_meanings() -> None:
    implemented()
    with pytest.raises(ValueError, match="ADD has two meanings, _add and again"):

        @means("ADD")
        def again(i: Operation) -> None:
            del i


def test_a_meaning_needs_an_opcode() -> None:
    with pytest.raises(ValueError, match="no opcode is called ADDD"):
        means("ADDD")(print)


def test_missing_meanings_are_told() -> None:
    missing = next(o for o in TABLE.opcodes.values() if o.name not in implemented())
    with pytest.raises(UnimplementedOpcodeError, match=missing.name):
        meaning_of(missing)


def test_all_scalar_integer_opcodes_have_a_meaning() -> None:
    streams = {n for n, o in TABLE.opcodes.items() if "stream" in o.flags} | {"LDA_TM", "ST_TM"}
    scalar = {n for n, o in TABLE.opcodes.items() if o.slot in ("alu", "lng") or not n.startswith("V")}
    assert scalar - streams <= implemented()


@pytest.mark.parametrize("name", sorted(implemented()))
def test_a_meaning_touches_what_the_table_says(name: str) -> None:
    opcode = TABLE.opcode(name)
    effects = meaning_of(opcode)
    # every result that the table lists is written, once, and nothing else
    written = [w.place.operand or w.place.register for w in effects.writes]
    assert len(set(written)) == len(written)
    results = {o.name for o in opcode.operands if o.is_def} | {r.name for r in opcode.implicit_defs}
    assert set(written) <= results
    assert {o.name for o in opcode.operands if o.is_def} <= set(written)
    # every register that is read is one that the table lists
    for leaf in leaves(roots(effects)):
        if leaf.op == "register" and leaf.data != "return address":
            assert leaf.data in {r.name for r in opcode.implicit_uses}, leaf
        if leaf.op == "operand":
            assert not opcode.operands[opcode.position[leaf.data[0]]].is_def, leaf
    assert (effects.branch is not None) == opcode.is_branch
    assert (effects.lock is not None) == ("lock" in opcode.flags)
    if opcode.memory is not None:
        assert bool(effects.loads) == (opcode.memory.kind == "load")
        assert (effects.store is not None) == (opcode.memory.kind != "load")


def test_reading_what_the_opcode_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError):
        Operation(TABLE.opcode("ADD")).read("imm")


def test_shapes_are_checked_when_a_meaning_is_written() -> None:
    a, b = const(1, 8, lanes=4), const(1, 16, lanes=4)
    for wrong in (
        lambda: a + b,
        lambda: a.zext(4),
        lambda: b.trunc(32),
        lambda: a.cast(4, 16),
        lambda: a.take([4]),
        lambda: a.insert(0, const(1, 16)),
        lambda: select(a, a, a),
        lambda: concat(a, b),
        lambda: splat(a, 8),
        lambda: matmul(a, a, 2, 2, 3),
        lambda: by_value(a, lambda _: a),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_constants_stand_for_their_low_bits() -> None:
    assert const(-1, 4).data == 15 and const([-1, 3], 2).data == (3, 3)
