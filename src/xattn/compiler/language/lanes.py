"""Lane operations of the kernel language: maxima, differences, sums, masks, rotations, widening and narrowing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xattn.compiler.ir import Reference, VirtualRegister
from xattn.compiler.language.types import VectorType, int8, int16, int32, uint8, uint16
from xattn.compiler.language.vector import SHUFFLES, Accumulator, Narrowed, Vector, VectorOperations, widening
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.compiler.language.scalar import Scalar


class LaneOperations(VectorOperations):
    """Vector arithmetic lane by lane; operands are whole 64-byte vectors."""

    def maximum(self, a: Vector, b: Vector) -> Vector:
        """The larger of signed lanes."""
        return self._with_mask(f"VMAX_LT_S{_bits(a)}", a, b)

    def minimum(self, a: Vector, b: Vector) -> Vector:
        """The smaller of signed lanes."""
        return self._with_mask(f"VMIN_GE_S{_bits(a)}", a, b)

    def maximum_and_rise(self, a: Vector, b: Vector) -> tuple[Vector, VirtualRegister]:
        """The larger of signed 16-bit lanes, and a scalar with a bit for each lane in which b is the larger."""
        target, rise = self.new_register("x"), self.new_register("r", "rise")
        self.emit("VMAX_LT_S16", {"d": target, "s1": a.register, "s2": b.register, "cmp": rise})
        return Vector(target, a.type), rise

    def magnitude(self, a: Vector) -> Vector:
        """|a| of int16 lanes as uint16, so that −32,768 has one too."""
        mask = VirtualRegister("r", "mask")
        absolute = self._lanes("VABS_GTZ_S16", a, {"s1": a.register, "cmp": mask})
        return absolute.read_as(VectorType(uint16, 32))

    def excess(self, a: Vector, b: Vector) -> Vector:
        """max(a − b, 0). The D forms compare unsigned lanes: kernels leave crVaddSign 0."""
        return self._with_mask(f"VMAXDIFF_LT_{'S' if a.type.element.signed else 'D'}{_bits(a)}", a, b)

    def lesser(self, a: Vector, b: Vector) -> Vector:
        """The smaller of unsigned lanes."""
        return self._with_mask(f"VMIN_GE_D{_bits(a)}", a, b)

    def _with_mask(self, opcode: str, a: Vector, b: Vector) -> Vector:
        """These operations also give a comparison mask, which nobody reads."""
        mask = VirtualRegister("r" if _bits(a) > 8 else "l", "mask")
        return self._lanes(opcode, a, {"s1": a.register, "s2": b.register, "cmp": mask})

    def add(self, a: Vector, b: Vector) -> Vector:
        """Sum of lanes, wrapping."""
        return self._lanes(f"VADD_{_bits(a)}", a, {"s1": a.register, "s2": b.register})

    def subtract(self, a: Vector, b: Vector) -> Vector:
        """Difference of lanes, wrapping."""
        return self._lanes(f"VSUB_{_bits(a)}", a, {"s1": a.register, "s2": b.register})

    def bit_and(self, a: Vector, b: Vector) -> Vector:
        """Bitwise and."""
        return self._lanes("VBAND", a, {"s1": a.register, "s2": b.register})

    def rotate(self, a: Vector, by: int) -> Vector:
        """Rotate the 64 bytes down by `by` bytes: byte 0 of the result is byte `by`."""
        operands: dict[str, Reference] = {"s1": a.register, "s2": a.register, "shift": self.in_register(by)}
        return self._lanes("VSHIFT", a, operands)

    def _lanes(self, opcode: str, like: Vector, operands: dict[str, Reference]) -> Vector:
        if like.type.bytes != 64:
            raise InputError(f"{opcode.lower()} works on 64-byte vectors, found {like.type}")
        target = self.new_register("x")
        self.emit(opcode, {"d": target, **operands})
        return Vector(target, like.type)

    def widened(self, value: Narrowed) -> Vector:
        """An accumulator's 32 lanes, shifted and saturated to 16 bits, as a vector."""
        if value.type is not int16:
            raise InputError(f"an accumulator fills a vector as int16, found {value.type}")
        target = self.new_register("x")
        operands: dict[str, Reference] = {"dst": target, "src": value.source.register, "shft": value.shift}
        self.emit("VSRS_S16_S32_mv_x_srs", operands)
        return Vector(target, VectorType(int16, 32))

    def unpacked(self, lanes: Vector) -> tuple[Vector, Vector]:
        """64 lanes of 8 bits as int16: low and high 32 lanes."""
        halves = []
        for half in (0, 1):
            target = self.new_register("x")
            self.emit(f"VUNPACK_{widening(lanes.type)}", {"dst": target, "src": lanes.register.part(half)})
            halves.append(Vector(target, VectorType(int16, 32)))
        return halves[0], halves[1]

    def raised(self, lanes: Vector, shift: VirtualRegister) -> tuple[Accumulator, Accumulator]:
        """64 lanes of 8 bits, times 2^shift, in accumulators: low and high 32 lanes. The D form is unsigned: kernels
        leave crUPSSign 0."""
        halves = []
        for half in (0, 1):
            target = self.new_register("cm")
            operands: dict[str, Reference] = {"dst": target, "src": lanes.register.part(half), "shft": shift}
            self.emit(f"VUPS_S32_{'S' if lanes.type.element.signed else 'D'}8_mv_ups_w2c", operands)
            halves.append(Accumulator(self, target))
        return halves[0], halves[1]

    def raise_words(self, target: Accumulator, lanes: Vector, shift: VirtualRegister) -> None:
        """Put 32 lanes of int16, times 2^shift, into an accumulator."""
        if lanes.type != VectorType(int16, 32):
            raise InputError(f"an accumulator takes 32 lanes of int16, found {lanes.type}")
        operands: dict[str, Reference] = {"dst": target.register, "src": lanes.register, "shft": shift}
        self.emit("VUPS_S32_S16_mv_ups_x2c", operands)

    def from_scalars(self, values: Sequence[Scalar]) -> Vector:
        """int16 lanes: the scalars' low bits from lane 0 on, then the last one again and again."""
        *first, last = values
        target = self.new_register("x")
        self.emit("VBCST_16", {"dst": target, "s0": last.register})
        for value in reversed(first):
            pushed = self.new_register("x")
            self.emit("VPUSH_LO_16", {"d": pushed, "s1": value.register, "s2": target})
            target = pushed
        return Vector(target, VectorType(int16, 32))

    def side_by_side(self, low: Narrowed, high: Narrowed) -> Vector:
        """Two accumulators' 32 lanes each, shifted and saturated to 8 bits, as one vector."""
        if low.type is not int8 or high.type is not int8:
            raise InputError(f"two accumulators fill a vector as int8, found {low.type} and {high.type}")
        target = self.new_register("x")
        for half, value in enumerate((low, high)):
            operands: dict[str, Reference] = {"src": value.source.register, "shft": value.shift}
            self.emit("VSRS_S8_S32_mv_w_srs", {"dst": target.part(half), **operands})
        return Vector(target, VectorType(int8, 64))

    def floor_of_bfloat(self, bits: Vector, shift: VirtualRegister) -> tuple[Vector, Vector]:
        """floor(x · 2^shift) as int32 of 32 lanes read as bfloat16: low and high sixteen lanes."""
        halves = []
        for half in (0, 1):
            target = self.new_register("x")
            operands: dict[str, Reference] = {"dst": target, "src": bits.register.part(half), "shft": shift}
            self.emit("VFLOOR_S32_BF16_mFl2FxSrc_W", operands)
            halves.append(Vector(target, VectorType(int32, 16)))
        return halves[0], halves[1]

    def low_words(self, low: Vector, high: Vector) -> Vector:
        """The low 16 bits of 32 lanes of 32 bits that lie in two vectors."""
        return self._shuffled("T16_32x2_lo", low, high, VectorType(int16, 32))

    def scaled_bytes(self, lanes: Vector, zero: Vector) -> tuple[Vector, Vector]:
        """64 lanes of 8 bits times 256 as int16: low and high 32 lanes. `zero`: a vector of zeros."""
        type = VectorType(int16, 32)
        return self._shuffled("T8_2x64_lo", zero, lanes, type), self._shuffled("T8_2x64_hi", zero, lanes, type)

    def high_bytes(self, low: Vector, high: Vector) -> Vector:
        """The high bytes of 64 lanes of 16 bits that lie in two vectors, unsigned."""
        return self._shuffled("T8_64x2_hi", low, high, VectorType(uint8, 64))

    def _shuffled(self, mode: str, low: Vector, high: Vector, type: VectorType) -> Vector:
        target = self.new_register("x")
        operands: dict[str, Reference] = {"s1": low.register, "s2": high.register}
        self.emit("VSHUFFLE", {"dst": target, **operands, "mod": self.in_register(SHUFFLES[mode])})
        return Vector(target, type)


def _bits(vector: Vector) -> int:
    return vector.type.element.bytes * 8
