"""What the target CPU has for int8 attention, and the few operations that depend on it.

Each operation has a portable form, which LLVM can compile for every CPU, and one instruction where there is one. Both
give the same lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

from xattn.cpu.emit import Code, Value

INT32 = "<16 x i32>"
INT16 = "<32 x i16>"
BYTES = "<64 x i8>"

_ROWS = range(4)  # 128-bit rows of a 512-bit vector: packing instructions stay within them


@dataclass(frozen=True)
class Target:
    """`vnni`: 512-bit dot products of bytes (AVX-512 VNNI). `words`: 512-bit vectors of 16-bit lanes (AVX-512 BW)."""

    vnni: bool
    words: bool

    @classmethod
    def of(cls, features: dict[str, bool]) -> Target:
        """The target with LLVM's feature names."""
        has = features.get
        return cls(bool(has("avx512vnni") and has("avx512bw")), bool(has("avx512bw")))

    def dot4(self, code: Code, total: Value, unsigned: Value, signed: Value) -> Value:
        """Each int32 lane plus the sum of four products of uint8 and int8: lanes 4i to 4i + 3 go to lane i."""
        if self.vnni:
            return code.call("llvm.x86.avx512.vpdpbusd.512", INT32, total, unsigned, signed)
        pairs = []  # every second product and its neighbour: LLVM knows the sum as one instruction on many CPUs
        for odd in (0, 1):
            chosen = [2 * i + odd for i in range(32)]
            a, b = (code.shuffle(x, x, chosen) for x in (unsigned, signed))
            pairs.append(code.convert("zext", a, "<32 x i32>") * code.convert("sext", b, "<32 x i32>"))
        both = pairs[0] + pairs[1]
        halves = [code.shuffle(both, both, [2 * i + odd for i in range(16)]) for odd in (0, 1)]
        return total + (halves[0] + halves[1])

    def saturate_to_int16(self, code: Code, low: Value, high: Value) -> Value:
        """Two vectors of int32 as one of int16, clamped; in each row of 128 bits four of `low`, then four of `high`."""
        if self.words:
            return code.call("llvm.x86.avx512.packssdw.512", INT16, low, high)
        halves = []
        for half in (low, high):
            above = code.call("llvm.smax.v16i32", INT32, half, code.constant(INT32, -32768))
            within = code.call("llvm.smin.v16i32", INT32, above, code.constant(INT32, 32767))
            halves.append(code.convert("trunc", within, "<16 x i16>"))
        return code.shuffle(
            halves[0], halves[1], [16 * part + 4 * row + i for row in _ROWS for part in (0, 1) for i in range(4)]
        )

    def shift_right(self, code: Code, value: Value, amount: Value) -> Value:
        """uint16 lanes shifted right by a lane's own amount; 16 and more give 0."""
        if self.words:
            return code.call("llvm.x86.avx512.psrlv.w.512", INT16, value, amount)
        inside = code.compare("ult", amount, 16)
        return code.select(inside, code.binary("lshr", value, code.select(inside, amount, 0)), 0)

    def high_bytes(self, code: Code, low: Value, high: Value) -> Value:
        """The high bytes of 16-bit lanes; in each row of 128 bits those of `low`, then those of `high`."""
        halves = [code.convert("bitcast", half, BYTES) for half in (low, high)]
        order = [64 * part + 16 * row + 2 * i + 1 for row in _ROWS for part in (0, 1) for i in range(8)]
        return code.shuffle(halves[0], halves[1], order)
