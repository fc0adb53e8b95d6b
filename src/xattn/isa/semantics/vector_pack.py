"""Pack and unpack: 512 bits of lanes to 256 bits of lanes half as wide, and back; in registers and on loads and stores.

The forms whose type starts with s are signed; those with d follow crPackSign and crUnpackSign (0: unsigned, source and
result alike). Packing saturates as crSat says. Lanes of 4 bits stand low nibble first.
"""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value, by_value, select
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_saturation import narrowed

VECTOR_BITS = 512


def _widths(i: Operation) -> tuple[bool, int, int]:
    """(sign follows a control register, bits of the result's lanes, bits of the source's lanes)."""
    result, source = i.opcode.mnemonic.split(".")[-2:]
    return result.startswith("d"), int(result[1:]), int(source[1:])


def _packed(i: Operation) -> Value:
    dynamic, narrow, wide = _widths(i)
    source = i.read("src", wide)
    # one bit more, so that the sign of a signed lane and the top of an unsigned one are both plain numbers
    as_signed = source.sext(wide + 1)
    value = select(i.register("crPackSign"), as_signed, source.zext(wide + 1)) if dynamic else as_signed
    signed = (i.register("crPackSign"),) if dynamic else ()

    def build(mode: int, lanes: Value, *sign: Value) -> Value:
        return narrowed(lanes, narrow, mode, sign[0] if sign else None)

    result = by_value(i.register("crSat"), build, value, *signed)
    assert isinstance(result, Value)
    return result


def _unpacked(i: Operation, source: Value) -> Value:
    dynamic, wide, narrow = _widths(i)
    lanes = source.cut(narrow)
    if dynamic:
        return select(i.register("crUnpackSign"), lanes.sext(wide), lanes.zext(wide))
    return lanes.sext(wide)


@means("VPACK_*")
def _pack(i: Operation) -> None:
    i.write("dst", _packed(i))


@means("VST_PACK_*", "VST_?D_PACK_*")
def _pack_and_store(i: Operation) -> None:
    i.store(_packed(i))


@means("VUNPACK_*")
def _unpack(i: Operation) -> None:
    i.write("dst", _unpacked(i, i.read("src")))


@means("VLDB_UNPACK_*", "VLDB_?D_UNPACK_*")
def _load_and_unpack(i: Operation) -> None:
    i.write("dst", _unpacked(i, i.load()))
