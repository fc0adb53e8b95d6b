"""Moves between the scalar register files, of immediates, and to and from the control and status registers."""

from __future__ import annotations

from xattn.isa.semantics.meaning import Operation, means


@means("MOVA_lda_cg")
def _mova(i: Operation) -> None:
    i.write("mLdaCg", i.read("c11s"))


@means("MOVX_alu_cg")
def _movx_immediate(i: Operation) -> None:
    i.write("dst", i.read("i"))


@means("MOVX_mvx_scl")
def _movx_to_control(i: Operation) -> None:
    i.write("mCRm", i.read("mRx"))


@means("MOVXM_lng_cg")
def _movxm(i: Operation) -> None:
    i.write("mMvSclDstCg", i.read("i"))


@means("MOV_mv_cg")
def _mov_immediate(i: Operation) -> None:
    i.write("dst", i.read("i"))


@means("MOV_mv_scl")
def _mov(i: Operation) -> None:
    i.write("mMvSclDst", i.read("mMvSclSrc"))


@means("MOV_D1", "MOV_D2", "MOV_D3", "MOV_D4", "MOV_D5", "MOV_D6")
def _mov_delayed(i: Operation) -> None:
    """The delay is in the itinerary: the result lands 1 to 6 cycles later than a mov's."""
    i.write("dst", i.read("src"))


@means("MOV_CNTR")
def _mov_counter(i: Operation) -> None:
    i.write("dst", i.register("tile_cntr"))


@means("ADD_NC")
def _add_no_carry(i: Operation) -> None:
    i.write("dst", i.read("s0") + i.read("imm"))
