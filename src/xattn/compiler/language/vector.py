"""Vectors and accumulators of the kernel language: one call, one instruction of the core.

A `Vector` of 32 bytes is half a vector register, one of 64 bytes a whole; an `Accumulator` is 32 lanes of 32 bits.
A block product multiplies a 4×8 block (32 bytes, row-major) by an 8×8 block (64 bytes, row-major) into a 4×8
accumulator: 256 multiply-accumulates in one cycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xattn.compiler.ir import Choice, Half, LowHalf, MemoryReference, Part, Reference, VirtualRegister
from xattn.compiler.language.recorder import Recorder
from xattn.compiler.language.types import ScalarType, VectorType, int16
from xattn.errors import InputError
from xattn.isa.table import instruction_table

if TYPE_CHECKING:
    from xattn.compiler.language.memory import View
    from xattn.compiler.language.scalar import Scalar

# Multiply configuration words (see the opcode's `c` operand): 4×8×8, by signedness of the 4×8 and the 8×8 side.
_BLOCK_PRODUCT = {(True, True): 0x308, (False, True): 0x108, (False, False): 0x008, (True, False): 0x208}
_LANE_PRODUCT = 0x338  # 32 lanes of int16, each by its own

# vshuffle: "transpose rows × columns of elements of that many bits, within the pair of sources; low or high half".
SHUFFLES = {
    "T64_2x8_lo": 14, "T64_2x8_hi": 15, "T128_2x4_lo": 12, "T128_2x4_hi": 13, "T256_2x2_lo": 10, "T256_2x2_hi": 11,
    "T64_8x2_lo": 6, "T64_8x2_hi": 7, "T8_8x8": 35,
    "T16_32x2_lo": 2, "T16_32x2_hi": 3, "T16_2x32_lo": 18, "T32_16x2_lo": 4, "T32_16x2_hi": 5,
    "T32_2x16_lo": 16, "T32_2x16_hi": 17, "T8_64x2_lo": 0, "T8_64x2_hi": 1, "T8_2x64_lo": 20, "T8_2x64_hi": 21,
}  # fmt: skip


@dataclass(frozen=True)
class Vector:
    """32 or 64 bytes in (the low half of) a vector register."""

    register: VirtualRegister
    type: VectorType

    def read_as(self, type: VectorType) -> Vector:
        """The same bits with lanes of another type."""
        return Vector(self.register, type)


class Accumulator:
    """32 lanes of 32 bits. `+=` with a product accumulates in place."""

    def __init__(self, kernel: VectorOperations, register: VirtualRegister) -> None:
        self.kernel = kernel
        self.register = register

    def __iadd__(self, product: Product) -> Accumulator:
        self.kernel.accumulate(self, product)
        return self

    def set(self, product: Product) -> None:
        """Start anew with a product."""
        self.kernel.start(self, product)


@dataclass(frozen=True)
class Product:
    """A 4×8 block times an 8×8 block, or 32 lanes times 32 lanes; not yet computed."""

    x: Vector
    y: Vector

    @property
    def configuration(self) -> int:
        """The multiply configuration word."""
        if self.x.type.element.bytes > 1:
            return _LANE_PRODUCT
        return _BLOCK_PRODUCT[self.x.type.element.signed, self.y.type.element.signed]


@dataclass(frozen=True)
class Narrowed:
    """An accumulator shifted right, rounded and saturated to 8 or 16 bits; computed when stored or used."""

    source: Accumulator
    shift: VirtualRegister
    type: ScalarType


def product(x: Vector, y: Vector) -> Product:
    """The block product of a 4×8 and an 8×8 block of 8-bit integers."""
    if x.type.bytes != 32 or y.type.bytes != 64 or x.type.element.bytes != 1 or y.type.element.bytes != 1:
        raise InputError(f"a block product takes 32 and 64 elements of 8 bits, found {x.type} and {y.type}")
    return Product(x, y)


def lane_product(x: Vector, y: Vector) -> Product:
    """The products of 32 lanes of int16, lane by lane."""
    for vector in (x, y):
        if vector.type != VectorType(int16, 32):
            raise InputError(f"a product of lanes takes 32 lanes of int16, found {vector.type}")
    return Product(x, y)


class VectorOperations(Recorder):
    """The vector half of the kernel builder."""

    # -- memory ---------------------------------------------------------------------------------------------------

    def load_vector(self, element: View) -> Vector:
        """Load a vector; a 64-byte one in two halves. Either load port will do."""
        assert isinstance(element.type, VectorType)
        register = self.new_register("x")
        for half in range(element.type.bytes // 32):
            self._load_half(register, half, element, 32 * half)
        return Vector(register, element.type)

    def load_halves(self, low: View, high: View) -> Vector:
        """Load two vectors of 32 bytes side by side."""
        assert isinstance(low.type, VectorType)
        if low.type != high.type or low.type.bytes != 32:
            raise InputError(f"two vectors of 32 bytes and one type fill one of 64, found {low.type} and {high.type}")
        register = self.new_register("x")
        self._load_half(register, 0, low)
        self._load_half(register, 1, high)
        return Vector(register, VectorType(low.type.element, 2 * low.type.lanes))

    def _load_half(self, register: VirtualRegister, half: int, element: View, ahead: int = 0) -> None:
        table = instruction_table().opcodes
        target = {"dst": register.part(half)}
        choices = (Choice(table["VLDB_dmw_ldb_ag_idx"], target), Choice(table["VLDA_dmw_lda_w_ag_idx"], target))
        self.emit_choices(choices, MemoryReference(element.array, element.offset + ahead, 32, False))

    def load_widened(self, element: View) -> Vector:
        """Load 32 bytes as 32 lanes of int16. Only the one load port can."""
        assert isinstance(element.type, VectorType)
        if element.type.bytes != 32 or element.type.element.bytes != 1:
            raise InputError(f"32 lanes of 8 bits are widened as they are loaded, found {element.type}")
        register = self.new_register("x")
        memory = MemoryReference(element.array, element.offset, 32, False)
        self.emit(f"VLDB_UNPACK_{widening(element.type)}_ag_idx", {"dst": register}, memory)
        return Vector(register, VectorType(int16, 32))

    def store_vector(self, element: View, value: object) -> None:
        """Store a vector, or an accumulator on its way through shift, rounding and saturation."""
        assert isinstance(element.type, VectorType)
        if isinstance(value, Narrowed):
            self._store_narrowed(element, value)
            return
        if isinstance(value, HalfVector):
            memory = MemoryReference(element.array, element.offset, 32, True)
            self.emit("VST_dmw_sts_w_ag_idx", {"src": value.register}, memory)
            return
        if not isinstance(value, Vector) or value.type.bytes != element.type.bytes:
            raise InputError(f"{element.array.name} holds {element.type}; found {getattr(value, 'type', value)}")
        for half in range(element.type.bytes // 32):
            memory = MemoryReference(element.array, element.offset + 32 * half, 32, True)
            self.emit("VST_dmw_sts_w_ag_idx", {"src": value.register.part(half)}, memory)

    def _store_narrowed(self, element: View, value: Narrowed) -> None:
        assert isinstance(element.type, VectorType)
        if element.type.bytes != 32 or element.type.element.bytes != 1:
            raise InputError(f"an accumulator narrows to 32 elements of 8 bits in memory; found {element.type}")
        name = "VST_SRS_S8_S32_ag_idx" if value.type.signed else "VST_SRS_D8_S32_ag_idx"
        memory = MemoryReference(element.array, element.offset, 32, True)
        self.emit(name, {"src": value.source.register, "shft": value.shift}, memory)

    def load_accumulator(self, element: View) -> Accumulator:
        """Load a 4×8 accumulator, row by row."""
        target = self.accumulator()
        self.reload(target, element)
        return target

    def reload(self, target: Accumulator, element: View) -> None:
        """Load a 4×8 accumulator into one that there is already: the nine of the core are the scarcest registers."""
        for row in range(4):
            memory = MemoryReference(element.array, element.offset + 32 * row, 32, False)
            self.emit("VLDA_dmw_lda_am_ag_idx", {"dst": target.register.part(row)}, memory)

    def load_shifted(
        self, elements: tuple[View, View], zero: VirtualRegister, amounts: Iterable[VirtualRegister]
    ) -> tuple[Accumulator, Accumulator]:
        """Load two 4×8 accumulators whose rows are shifted right on the way, by the rules of narrowing: row i of both
        by `amounts[i]`, each of which is asked for when its turn comes. `zero`: a shift amount of 0.

        A row becomes 64 bits wide as it is loaded. The same row of both is then one shift, two rows of one a shuffle.
        Until its own rows come, the second accumulator is where rows are wide: no other is needed.
        """
        first, second = self.accumulator(), self.accumulator()
        rows = []
        for row, amount in enumerate(amounts):
            for place, element in enumerate(elements):
                memory = MemoryReference(element.array, element.offset + 32 * row, 32, False)
                self.emit("VLDA_UPS_S64_S32_ag_idx", {"dst": Half(second.register, place), "shft": zero}, memory)
            rows.append(self.new_register("x"))
            self.emit("VSRS_S32_S64_mv_x_srs", {"dst": rows[-1], "src": second.register, "shft": amount})
        for target, mode in ((first, "T256_2x2_lo"), (second, "T256_2x2_hi")):
            for half in (0, 1):
                sources = {"s1": rows[2 * half], "s2": rows[2 * half + 1], "mod": self.in_register(SHUFFLES[mode])}
                self.emit("VSHUFFLE", {"dst": Half(target.register, half), **sources})
        return first, second

    def store_accumulator(self, element: View, value: Accumulator) -> None:
        """Store a 4×8 accumulator, row by row."""
        for row in range(4):
            memory = MemoryReference(element.array, element.offset + 32 * row, 32, True)
            self.emit("VST_dmw_sts_am_ag_idx", {"src": value.register.part(row)}, memory)

    def reload_row(self, target: Accumulator, row: int, element: View) -> None:
        """Load eight int32 into a row of an accumulator."""
        memory = MemoryReference(element.array, element.offset, 32, False)
        self.emit("VLDA_dmw_lda_am_ag_idx", {"dst": target.register.part(row)}, memory)

    def store_row(self, element: View, value: Accumulator, row: int) -> None:
        """Store a row of an accumulator: eight int32."""
        memory = MemoryReference(element.array, element.offset, 32, True)
        self.emit("VST_dmw_sts_am_ag_idx", {"src": value.register.part(row)}, memory)

    # -- products -------------------------------------------------------------------------------------------------

    def accumulator(self) -> Accumulator:
        """An accumulator without a value yet; give it one with `set`."""
        return Accumulator(self, self.new_register("cm"))

    def start(self, target: Accumulator, value: Product) -> None:
        """target = product."""
        self.emit("VMUL_vmac_cm_core_dense", self._product(target, value))

    def accumulate(self, target: Accumulator, value: Product) -> None:
        """target += product."""
        self.emit("VMAC_vmac_cm_core_dense", {"acc1": target.register, **self._product(target, value)})

    def plus(self, constant: Accumulator, value: Product) -> Accumulator:
        """constant + product, in an accumulator of its own."""
        target = self.accumulator()
        self.emit("VMAC_vmac_cm_core_dense", {"acc1": constant.register, **self._product(target, value)})
        return target

    def minus(self, constant: Accumulator, value: Product) -> Accumulator:
        """constant − product, in an accumulator of its own."""
        target = self.accumulator()
        self.emit("VMSC_vmac_cm_core_dense", {"acc1": constant.register, **self._product(target, value)})
        return target

    def _product(self, target: Accumulator, value: Product) -> dict[str, Reference]:
        configuration = self.in_register(value.configuration)
        left = value.x.register
        return {
            "dst": target.register,
            "s1": left if value.x.type.bytes == 64 else LowHalf(left),
            "s2": value.y.register,
            "c": configuration,
        }

    def narrow(self, source: Accumulator, shift: VirtualRegister, type: ScalarType) -> Narrowed:
        """Shift right, round by crRnd, saturate by crSat."""
        return Narrowed(source, shift, type)

    # -- lanes ----------------------------------------------------------------------------------------------------

    def shuffle(self, mode: str, low: Vector, high: Vector | None = None) -> Vector:
        """Rearrange the 128 bytes of two vectors (see SHUFFLES); without `high` the mode works inside 64 bytes."""
        target = self.new_register("x")
        operands = {
            "dst": target,
            "s1": low.register,
            "s2": (high or low).register,
            "mod": self.in_register(SHUFFLES[mode]),
        }
        self.emit("VSHUFFLE", operands)
        return Vector(target, low.type)

    def halves(self, vector: Vector, type: VectorType) -> tuple[HalfVector, HalfVector]:
        """The two halves of a 64-byte vector, to be stored."""
        return HalfVector(vector.register.part(0), type), HalfVector(vector.register.part(1), type)

    # -- control --------------------------------------------------------------------------------------------------

    def shift_amount(self, value: Scalar | int) -> VirtualRegister:
        """A shift register for narrowing."""
        register = self.new_register("s")
        if isinstance(value, int):
            self.copy_into(register, value)
        else:
            self.emit("MOV_mv_scl", {"mMvSclDst": register, "mMvSclSrc": value.register})
        return register

    def byte_amount(self, lanes: Vector, place: int) -> VirtualRegister:
        """A byte of a vector as a shift amount. The number of the byte is made for it: few registers can hold one."""
        number, register = self.new_register("r"), self.new_register("s")
        self.copy_into(number, place)
        self.emit("VEXTRACT_D8", {"dst": register, "s1": lanes.register, "idx": number})
        return register

    def set_control(self, name: str, value: int) -> None:
        """Set a control register (crSat, crRnd, …). Kernels put 0 back before they return."""
        control = instruction_table().registers[name]
        self.emit("MOVX_mvx_scl", {"mCRm": control, "mRx": self.in_register(value)})


def widening(type: VectorType) -> str:
    """How opcodes name the step from lanes of 8 bits to lanes of 16. The D forms are unsigned: kernels leave
    crUnpackSign 0."""
    return "S16_S8" if type.element.signed else "D16_D8"


@dataclass(frozen=True)
class HalfVector:
    """32 bytes of a vector register."""

    register: Part
    type: VectorType
