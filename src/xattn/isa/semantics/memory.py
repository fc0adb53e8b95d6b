"""Loads and stores that move bits as they are: scalars, part words, vectors, accumulators and sparsity masks.

Those that also convert (ups, srs, pack, unpack, conv) stand with the conversions.
"""

from __future__ import annotations

from xattn.isa.semantics.address import gather_addresses
from xattn.isa.semantics.lanes import Value, concat
from xattn.isa.semantics.meaning import Operation, means


@means("LDA_dms_*", "LDA_?D_dms_lda")
def _load_scalar(i: Operation) -> None:
    i.write("mLdaScl", i.load())


@means("LDA_S8_*", "LDA_S16_*", "LDA_?D_S8_*", "LDA_?D_S16_*")
def _load_signed_part_word(i: Operation) -> None:
    i.write("mRa", i.load().sext(32))


@means("LDA_U8_*", "LDA_U16_*", "LDA_?D_U8_*", "LDA_?D_U16_*")
def _load_unsigned_part_word(i: Operation) -> None:
    i.write("mRa", i.load().zext(32))


@means("ST_dms_*", "ST_?D_dms_sts")
def _store_scalar(i: Operation) -> None:
    i.store(i.read("mSclSt"))


@means("ST_S8_*", "ST_?D_S8")
def _store_byte(i: Operation) -> None:
    i.store(i.read("mRv").trunc(8))


@means("ST_S16_*", "ST_?D_S16")
def _store_half_word(i: Operation) -> None:
    i.store(i.read("mRv").trunc(16))


@means(
    "VLDA_dmw_lda_*",
    "VLDA_?D_dmw_lda_*",
    "VLDB_dmw_ldb_*",
    "VLDB_2D",
    "VLDB_3D",
    "LDA_dmv_lda_q_*",
    "LDA_?D_dmv_lda_q",
)
def _load_vector(i: Operation) -> None:
    i.write("dst", i.load())


@means("VLDA_128", "VLDB_128_*", "VLDB_?D_128")
def _load_half_vector(i: Operation) -> None:
    """128 bits go to the low half of the register."""
    i.write("dst", i.load().zext(256))


@means("VST_dmw_sts_*", "VST_?D_dmw_sts_*", "ST_dmv_sts_q_*", "ST_?D_dmv_sts_q")
def _store_vector(i: Operation) -> None:
    i.store(i.read("src"))


@means("VST_128_*", "VST_?D_128")
def _store_half_vector(i: Operation) -> None:
    i.store(i.read("src").trunc(128))


_GATHER_ALIGNMENT = {"16": 4, "32": 8, "64": 16}


@means("VLDB_4x*")
def _gather(i: Operation) -> None:
    """Four 64-bit pieces; odd ones come from the other 16-byte half of the bank: the second copy of a table."""
    size, half = i.opcode.name.removeprefix("VLDB_4x").split("_")
    source = i.read("src", 128).lane(half == "HI")
    mask = -_GATHER_ALIGNMENT[size] & 0xFFFFF
    pieces: list[Value] = []
    for k, address in enumerate(gather_addresses(i, source)):
        aligned = address & mask
        pieces.append(i.load_at(aligned | 16 if k % 2 else aligned, 8))
    i.write("dst", concat(*pieces))
