"""Flow of control, locks and events."""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Operation, means


@means("NOP*")
def _nop(i: Operation) -> None:
    del i


@means("J_jump_imm")
def _jump(i: Operation) -> None:
    i.branch(i.read("cpmaddr"))


@means("J_jump_ind")
def _jump_indirect(i: Operation) -> None:
    i.branch(i.read("mPm"))


@means("JL")
def _call(i: Operation) -> None:
    i.branch(i.read("cpmaddr"))
    i.set_register("lr", i.link_address)


@means("JL_IND")
def _call_indirect(i: Operation) -> None:
    i.branch(i.read("mPm"))
    i.set_register("lr", i.link_address)


@means("RET")
def _return(i: Operation) -> None:
    i.branch(i.register("lr"))


@means("JZ")
def _jump_if_zero(i: Operation) -> None:
    i.branch(i.read("cpmaddr"), i.read("mRx").eq(0))


@means("JNZ")
def _jump_if_not_zero(i: Operation) -> None:
    i.branch(i.read("cpmaddr"), i.read("mRx").ne(0))


@means("JNZD")
def _jump_if_not_zero_and_decrement(i: Operation) -> None:
    """Tests the register before it is decremented: compilers start the count at trips - 1 (llvm-aie, loop lowering)."""
    count = i.read("mRx0")
    i.write("mRx", count - 1)
    i.set_register("srCarry", count.eq(0))
    i.branch(i.read("mPm"), count.ne(0))


@means("DONE")
def _done(i: Operation) -> None:
    i.done()


@means("EVENT")
def _event(i: Operation) -> None:
    i.event(i.read("val"))


def _lock(i: Operation) -> tuple[Value, Value, Value | None]:
    number = i.read("id" if i.has("id") else "mRx").trunc(6)
    return number, i.read("mRy"), i.read("s2").ne(0) if i.has("s2") else None


@means("ACQ_*")
def _acquire(i: Operation) -> None:
    i.acquire(*_lock(i))


@means("REL_*")
def _release(i: Operation) -> None:
    i.release(*_lock(i))
