"""Relocations of AIE2 object files: which operand of which bundle each type patches, and how.

Facts from the public llvm-aie linker (lld): a type names a bundle size and the bit positions, counted from the most
significant bit, into which the value's bits go. All values are symbol + addend, absolute. A type is therefore found
from the place of an operand in the bundle's format, and the table below is all that has to be known.
"""

from __future__ import annotations

from functools import lru_cache

from xattn.errors import InputError
from xattn.isa.codec import Bundle
from xattn.isa.model import Immediate, Operand

# Fields: (number of bits, distance of their most significant bit from that of the first field), high bits first.
_ADDRESS = ((20, 0),)  # branch targets (lng slot)
_MOVA = ((11, 0),)  # lda slot
_MOVX = ((5, 0), (6, 11))  # alu slot
_MOV = ((9, 0), (1, 11))  # mv slot
_MOVXM = ((20, 0), (12, 27))  # lng slot

# Type number of the first entry, the fields, and for each entry: (bytes of the bundle, position of the first field).
_BUNDLE_TYPES = (
    (0, _ADDRESS, ((16, 63), (6, 5), (8, 15), (10, 31), (10, 10), (12, 47), (12, 26), (12, 22), (14, 42))),
    (9, _MOVA, ((16, 16), (4, 5), (6, 0), (8, 0), (10, 0), (12, 0), (14, 0))),
    (
        16,
        _MOVX,
        (
            (16, 58),
            (4, 5),
            (6, 21),
            (8, 10),
            (8, 37),
            (10, 53),
            (10, 26),
            (10, 5),
            (12, 42),
            (12, 21),
            (12, 17),
            (14, 37),
        ),
    ),
    (
        28,
        _MOV,
        (
            *((16, 85), (4, 12), (6, 28), (8, 37), (8, 12), (10, 53), (10, 28)),
            *((10, 32), (12, 69), (12, 44), (12, 48), (14, 65), (14, 64)),
        ),
    ),
    (41, _MOVXM, ((16, 58), (6, 0), (8, 10), (10, 26), (10, 5), (12, 42), (12, 21), (12, 17), (14, 37))),
)
R_AIE_WORD_ADDRESS = 50  # the low 20 bits of a data word
R_AIE_WORD = 51  # a whole data word
_WORD_BITS = {50: 20, 51: 32, 52: 20, 53: 32}

Fields = tuple[tuple[int, int], ...]  # (bits, position from the most significant bit), high bits of the value first


@lru_cache(maxsize=1)
def _types() -> dict[int, tuple[int, Fields]]:
    """Type number to bytes patched and where the value goes."""
    types: dict[int, tuple[int, Fields]] = {}
    for first, fields, places in _BUNDLE_TYPES:
        for number, (size, position) in enumerate(places, start=first):
            types[number] = size, tuple((bits, position + offset) for bits, offset in fields)
    for number, bits in _WORD_BITS.items():
        types[number] = 4, ((bits, 32 - bits),)
    return types


@lru_cache(maxsize=1)
def _numbers() -> dict[tuple[int, Fields], int]:
    return {place: number for number, place in _types().items() if number < R_AIE_WORD_ADDRESS}


def relocation_type(bundle: Bundle, slot: str, operand: str) -> int:
    """The relocation type (R_AIE_n) for an operand of the operation in `slot`; InputError when it has none."""
    instruction = next(i for i in bundle.instructions if i.opcode.slot == slot)
    found = instruction.opcode.operands[instruction.opcode.position[operand]]
    number = _numbers().get(_place(bundle, slot, found))
    if number is None:
        raise InputError(
            f"operand {operand} of {instruction.opcode.mnemonic} in format {bundle.format.name} cannot name a symbol "
            "of an object file; branches, movxm, mova, movx and mov can"
        )
    return number


def _place(bundle: Bundle, slot: str, operand: Operand) -> tuple[int, Fields]:
    """Size of the bundle and where the bits of an immediate operand lie in it."""
    if not isinstance(operand.type, Immediate):
        return bundle.size, ()
    return bundle.size, tuple(
        (width, bundle.format.bits - (bundle.format.lsb_of[slot] + lsb) - width)
        for lsb, width, _ in sorted(operand.segments, key=lambda segment: -segment[2])
    )


def relocated_operand(bundle: Bundle, number: int) -> tuple[str, str] | None:
    """(slot, operand) that relocation type `number` patches in the bundle, or None when it patches none."""
    for instruction in bundle.operations:
        for operand in instruction.opcode.operands:
            if _place(bundle, instruction.opcode.slot, operand) == _types().get(number):
                return instruction.opcode.slot, operand.name
    return None


def patched_bytes(number: int) -> int:
    """How many bytes relocation type `number` patches; InputError for a type that is not known."""
    if number not in _types():
        raise InputError(f"relocation type {number} is not known; AIE2 has types 0 to {max(_types())}")
    return _types()[number][0]


def apply_relocation(code: bytearray, offset: int, number: int, value: int) -> None:
    """Write `value` (symbol + addend) into `code` at `offset`, as type `number` says. InputError if it does not fit."""
    size = patched_bytes(number)
    fields = _types()[number][1]
    if offset < 0 or offset + size > len(code):
        raise InputError(f"relocation at {offset:#x} patches {size} bytes, but the section ends at {len(code):#x}")
    left = sum(bits for bits, _ in fields)
    limit = (
        32 if number in (R_AIE_WORD, 53) else min(20, left - (left < 20))
    )  # addresses have 20 bits; mov sign-extends
    if not 0 <= value < 1 << limit:
        raise InputError(f"relocation at {offset:#x} (type {number}): value {value:#x} does not fit {limit} bits")
    word = int.from_bytes(code[offset : offset + size], "little")
    for bits, position in fields:
        left -= bits
        lsb = 8 * size - position - bits
        mask = (1 << bits) - 1
        word = word & ~(mask << lsb) | (value >> left & mask) << lsb
    code[offset : offset + size] = word.to_bytes(size, "little")
