"""Addresses: every addressing mode of every opcode, and the pointer updates that go with it.

Pointers, modifiers and counts have 20 bits and wrap. The 2-D and 3-D forms step through nested loops whose counts live
in registers: d = {m, dn, dj, dc}; dn is the number of steps before a wrap, dj the step, m the step at the wrap, dc the
count.
"""

from __future__ import annotations

from collections.abc import Callable

from xattn.isa.semantics.lanes import Value, select
from xattn.isa.semantics.meaning import ADDRESS_BITS, Operation, means

M, DN, DJ, DC = range(4)  # places in the parts of a 2-D modifier


def addressed(i: Operation) -> Value:
    """The address that a load or store uses (20 bits); records the update of its pointer and counts."""
    assert i.opcode.memory is not None
    return _MODES[i.opcode.memory.mode](i)


def _immediate(i: Operation) -> Value:
    return i.read("imm").trunc(ADDRESS_BITS)


def _then(i: Operation, step: Value, result: str = "ptr_out") -> Value:
    """Use the pointer as it is, then step it."""
    pointer = i.read("ptr")
    i.write(result, pointer + step)
    return pointer


def _next_2d(i: Operation) -> Value:
    m, dn, dj, dc = (i.read("mod", path=(k,)) for k in (M, DN, DJ, DC))
    inside = dc.ne(dn)
    i.write("count_out", select(inside, dc + 1, 0))
    return select(inside, dj, m)


def _next_3d(i: Operation) -> Value:
    m, dn, dj, dc = (i.read("mod", path=(0, k)) for k in (M, DN, DJ, DC))
    outer_dn, outer_dj, outer_dc = (i.read("mod", path=(1, k)) for k in (DN, DJ, DC))
    inside, outer_inside = dc.ne(dn), outer_dc.ne(outer_dn)
    i.write("count_lo_out", select(inside, dc + 1, 0))
    i.write("count_hi_out", select(inside, outer_dc, select(outer_inside, outer_dc + 1, 0)))
    return select(inside, dj, select(outer_inside, outer_dj, m))


_MODES: dict[str, Callable[[Operation], Value]] = {
    "idx_imm": lambda i: i.read("ptr") + _immediate(i),
    "idx_dj": lambda i: i.read("ptr") + i.read("dj"),
    "post_imm": lambda i: _then(i, _immediate(i)),
    "post_mod": lambda i: _then(i, i.read("mod")),
    "post_2d": lambda i: _then(i, _next_2d(i)),
    "post_3d": lambda i: _then(i, _next_3d(i)),
    "sp_imm": lambda i: i.register("SP") + _immediate(i),
    "ptr": lambda i: i.read("ptr"),
}


def gather_addresses(i: Operation, source: Value) -> tuple[Value, ...]:
    """The four addresses of a gather load: lanes of 32 bits of `source`, cut to 20 bits."""
    words = source.cut(32)
    assert i.opcode.memory is not None and i.opcode.memory.mode == "gather4"
    return tuple(words.lane(k).trunc(ADDRESS_BITS) for k in range(4))


@means("PADDA_lda_ptr_inc_idx_imm", "PADDB_ldb_ptr_inc_nrm_imm", "PADDS_st_ptr_inc_idx_imm")
def _add_immediate(i: Operation) -> None:
    _then(i, _immediate(i), "res")


@means("PADDA_lda_ptr_inc_idx", "PADDB_ldb_ptr_inc_nospill_nrm", "PADDS_st_ptr_inc_idx")
def _add_modifier(i: Operation) -> None:
    _then(i, i.read("mod"), "res")


@means("PADD?_2D")
def _add_2d(i: Operation) -> None:
    _then(i, _next_2d(i))


@means("PADD?_3D")
def _add_3d(i: Operation) -> None:
    _then(i, _next_3d(i))


@means("PADDA_sp_imm", "PADDB_sp_imm")
def _add_to_stack_pointer(i: Operation) -> None:
    i.set_register("SP", i.register("SP") + _immediate(i))
