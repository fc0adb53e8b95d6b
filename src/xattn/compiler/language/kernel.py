"""The kernel builder: running a kernel's Python function once against a `Kernel` records its program.

    def double(k):
        a = k.argument("a", int8, (64,))
        out = k.argument("out", int8, (64,))
        for i in k.loop(64):
            out[i] = a[i] + a[i]

`for i in k.loop(n)` becomes a loop on the core (its body is recorded once); a plain Python `for` is unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xattn.compiler.ir import (
    Affine,
    Array,
    Choice,
    MemoryReference,
    Reference,
    VirtualRegister,
)
from xattn.compiler.language.lanes import LaneOperations
from xattn.compiler.language.memory import ElementType, View, view
from xattn.compiler.language.scalar import ByteOffset, Condition, Scalar, Variable
from xattn.compiler.language.types import AccumulatorType, ScalarType, VectorType, int32
from xattn.compiler.language.vector import Accumulator, Vector
from xattn.errors import InputError
from xattn.isa.table import instruction_table

# Operation, opcode on two registers, opcode with an immediate (and its other slot), range of the immediate.
_BINARY = {"add": "ADD", "sub": "SUB", "mul": "MUL_mul_r_rr", "and": "AND", "or": "OR"}


class Kernel(LaneOperations):
    """Records a kernel's program."""

    # -- arguments and memory -------------------------------------------------------------------------------------

    def argument(self, name: str, type: ElementType, shape: Sequence[int], bank: int | None = None) -> View:
        """Memory that the caller passes by pointer (p0, p1, … in order of declaration)."""
        pointer = VirtualRegister("p", name)
        self.program.pointers.append(pointer)
        return self._array(name, type, shape, pointer, bank)

    def arguments(self, name: str, type: ElementType, shape: Sequence[int], bank: int | None = None) -> list[View]:
        """Several arrays of one shape, one after another behind one pointer; `shape` starts with their number."""
        packed = self.argument(name, type, shape, bank)
        return [packed[i] for i in range(shape[0])]

    def scalar(self, name: str) -> Scalar:
        """A 32-bit integer that the caller passes (r0, r1, …)."""
        register = VirtualRegister("r", name)
        self.program.scalars.append(register)
        return Scalar(self, register)

    def scratch(self, name: str, type: ElementType, shape: Sequence[int], bank: int | None = None) -> View:
        """Memory of the kernel's own. `bank` (0–3) asks for one of the four 16 KB banks."""
        return self._array(name, type, shape, None, bank)

    def constant(self, name: str, values: npt.NDArray[np.generic], type: ScalarType, bank: int | None = None) -> View:
        """A table that is part of the program."""
        table = self._array(name, type, values.shape, None, bank)
        table.array.contents = values.astype(type.name).tobytes()
        return table

    def vector_constant(self, name: str, values: npt.NDArray[np.generic], type: ScalarType) -> Vector:
        """A constant vector of 64 bytes, loaded here."""
        table = self.constant(name, values, type)
        return self.load_vector(table.blocks(VectorType(type, 64 // type.bytes), 1).element(0))

    def _array(
        self, name: str, type: ElementType, shape: Sequence[int], base: VirtualRegister | None, bank: int | None
    ) -> View:
        if any(array.name == name for array in self.program.arrays):
            raise InputError(f"kernel {self.program.name} has two arrays called {name}")
        size = type.bytes * int(np.prod(shape))
        array = Array(name, size, base, bank=bank)
        self.program.arrays.append(array)
        return view(self, array, type, shape)

    # -- scalars --------------------------------------------------------------------------------------------------

    def variable(self, value: Scalar | int = 0) -> Variable:
        """A scalar that can be changed, with its first value."""
        variable = Variable(self, self.new_register("r"))
        variable.set(value)
        return variable

    def binary(self, operation: str, a: Scalar | int, b: Scalar | int, into: VirtualRegister | None = None) -> Scalar:
        """a `operation` b, into a fresh register or a given one."""
        target = into or self.new_register("r")
        if operation == "sub" and isinstance(b, int):
            operation, b = "add", -b
        if operation in ("add", "mul", "and", "or") and isinstance(a, int):
            a, b = b, a
        table = instruction_table().opcodes
        if operation == "add" and isinstance(b, int) and isinstance(a, Scalar) and -64 <= b <= 63:
            choices = [Choice(table["ADD_add_r_ri"], {"mRx": target, "mRx0": a.register, "c7s": b})]
            if -32 <= b <= 31:
                choices.append(Choice(table["ADD_NC"], {"dst": target, "s0": a.register, "imm": b}))
            self.emit_choices(tuple(choices))
        else:
            operands: dict[str, Reference] = {"mRx": target, "mRx0": self.in_register(a), "mRy": self.in_register(b)}
            self.emit(_BINARY[operation], operands)
        return Scalar(self, target)

    def shift(self, value: Scalar, amount: Scalar | int, left: bool) -> Scalar:
        """Shift left, or right arithmetically. The core's shift goes right for negative amounts."""
        signed = amount if left else -amount
        target = self.new_register("r")
        operands = {"mRx": target, "mRx0": value.register, "mRy": self.in_register(signed)}
        self.emit("LSHL" if left else "ASHL", operands)
        return Scalar(self, target)

    def select(self, condition: Condition, if_true: Scalar | int, if_false: Scalar | int) -> Scalar:
        """`if_true` where the condition holds, else `if_false`. The selecting operation reads its condition in r27."""
        true, false = self.in_register(if_true), self.in_register(if_false)
        a, b = self.in_register(condition.a), self.in_register(condition.b)
        r27 = instruction_table().registers["r27"]
        self.emit(condition.opcode, {"mRx": r27, "mRx0": a, "mRy": b})
        target = self.new_register("r")
        self.emit("SELNEZ", {"mRx": target, "mRx0": true, "mRy": false})
        return Scalar(self, target)

    # -- memory ---------------------------------------------------------------------------------------------------

    def load(self, element: View) -> object:
        """Load the element that a fully indexed view names."""
        if isinstance(element.type, VectorType):
            return self.load_vector(element)
        if isinstance(element.type, AccumulatorType):
            return self.load_accumulator(element)
        target = self.new_register("r")
        self._scalar_access(element, target, is_store=False, offset=element.offset, dj=None)
        return Scalar(self, target)

    def load_offset(self, element: View) -> ByteOffset:
        """Load an int32 into a register that addresses: no move on the way to a table, but no arithmetic either."""
        if element.type != int32:
            raise InputError(f"an offset is loaded from int32, found {element.type}")
        target = self.new_register("dj")
        self._scalar_access(element, target, is_store=False, offset=element.offset, dj=None)
        return ByteOffset(target)

    def load_at(self, table: View, index: Scalar | ByteOffset) -> Scalar:
        """Load the element whose number is a run-time scalar, or that lies so many bytes from the start."""
        assert isinstance(table.type, ScalarType) and len(table.shape) == 1
        target = self.new_register("r")
        if isinstance(index, ByteOffset):
            self._scalar_access(table, target, is_store=False, offset=None, dj=index.register)
            return Scalar(self, target)
        scaled = index if table.type.bytes == 1 else index << (table.type.bytes.bit_length() - 1)
        offset = self.new_register("dj")
        self.emit("MOV_mv_scl", {"mMvSclDst": offset, "mMvSclSrc": scaled.register})
        self._scalar_access(table, target, is_store=False, offset=None, dj=offset)
        return Scalar(self, target)

    def store(self, element: View, value: object) -> None:
        """Store into the element that a fully indexed view names."""
        if isinstance(element.type, VectorType):
            self.store_vector(element, value)
            return
        if isinstance(element.type, AccumulatorType):
            assert isinstance(value, Accumulator), value
            self.store_accumulator(element, value)
            return
        assert isinstance(value, (Scalar, int)), value
        self._scalar_access(element, self.in_register(value), is_store=True, offset=element.offset, dj=None)

    def _scalar_access(
        self,
        element: View,
        register: VirtualRegister,
        is_store: bool,
        offset: Affine | None,
        dj: VirtualRegister | None,
    ) -> None:
        assert isinstance(element.type, ScalarType)
        memory = MemoryReference(element.array, offset, element.type.bytes, is_store)
        opcode = instruction_table().opcodes[_scalar_opcode(element.type, is_store)]
        operands: dict[str, Reference] = {opcode.operands[0].name: register}
        if dj is not None:
            operands["dj"] = dj
        self.emit_choices((Choice(opcode, operands),), memory)


def _scalar_opcode(type: ScalarType, is_store: bool) -> str:
    """The register-indexed form; other addressing forms are chosen when addresses are."""
    letter = "S" if type.signed or is_store else "U"
    if type.bytes == 4:
        return "ST_dms_sts_idx" if is_store else "LDA_dms_lda_idx"
    return f"ST_{letter}{8 * type.bytes}_ag_idx" if is_store else f"LDA_{letter}{8 * type.bytes}_ag_idx"
