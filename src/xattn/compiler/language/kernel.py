"""The kernel builder: running a kernel's Python function once against a `Kernel` records its program.

    def double(k):
        a = k.argument("a", int8, (64,))
        out = k.argument("out", int8, (64,))
        for i in k.loop(64):
            out[i] = a[i] + a[i]

`for i in k.loop(n)` becomes a loop on the core (its body is recorded once); a plain Python `for` is unrolled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xattn.compiler.ir import (
    Affine,
    Array,
    Block,
    Choice,
    Loop,
    MemoryReference,
    Operation,
    Program,
    Reference,
    VirtualRegister,
)
from xattn.compiler.language.memory import ElementType, Index, View, view
from xattn.compiler.language.scalar import Condition, Scalar, Variable
from xattn.compiler.language.types import ScalarType, VectorType
from xattn.compiler.language.vector import VectorOperations
from xattn.errors import InputError
from xattn.isa.model import Register
from xattn.isa.table import instruction_table

_OWN_FOLDER = str(Path(__file__).parent)

# Operation, opcode on two registers, opcode with an immediate (and its other slot), range of the immediate.
_BINARY = {"add": "ADD", "sub": "SUB", "mul": "MUL_mul_r_rr", "and": "AND", "or": "OR"}


class Kernel(VectorOperations):
    """Records a kernel's program."""

    def __init__(self, name: str) -> None:
        self.program = Program(name, [], [], [], [])
        self._entry = Block()  # constants are made once, on entry
        self.program.body.append(self._entry)
        self.program.body.append(Block())
        self._regions: list[list[Block | Loop]] = [self.program.body]
        self._constants: dict[int, VirtualRegister] = {}

    # -- arguments and memory -------------------------------------------------------------------------------------

    def argument(self, name: str, type: ElementType, shape: Sequence[int], bank: int | None = None) -> View:
        """Memory that the caller passes by pointer (p0, p1, … in order of declaration)."""
        pointer = VirtualRegister("p", name)
        self.program.pointers.append(pointer)
        return self._array(name, type, shape, pointer, bank)

    def arguments(self, name: str, type: ElementType, shape: Sequence[int], bank: int | None = None) -> list[View]:
        """Several arrays of one shape that lie one after another behind one pointer; `shape` starts with their number."""
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

    def _array(
        self, name: str, type: ElementType, shape: Sequence[int], base: VirtualRegister | None, bank: int | None
    ) -> View:
        if any(array.name == name for array in self.program.arrays):
            raise InputError(f"kernel {self.program.name} has two arrays called {name}")
        size = type.bytes * int(np.prod(shape))
        array = Array(name, size, base, bank=bank)
        self.program.arrays.append(array)
        return view(self, array, type, shape)

    # -- control flow ---------------------------------------------------------------------------------------------

    def loop(self, trips: int, unroll: int = 1, name: str = "") -> Iterator[Index]:
        """A counted loop. `unroll` records the body that many times in a row, for `trips / unroll` rounds."""
        if trips < 1 or trips % unroll:
            raise InputError(f"a loop of {trips} trips cannot be unrolled by {unroll}; take a divisor")
        rounds = trips // unroll
        if rounds == 1:
            yield from (Index(Affine(i)) for i in range(trips))
            return
        line = self._line()
        loop = Loop(rounds, name=name or f"line {line}", line=line)
        self._regions[-1].append(loop)
        self._regions.append(loop.body)
        for i in range(unroll):
            yield Index.of(loop) * unroll + i
        self._regions.pop()

    # -- recording ------------------------------------------------------------------------------------------------

    def emit(self, opcode: str, operands: Mapping[str, Reference], memory: MemoryReference | None = None) -> Operation:
        """Record one operation by its opcode's name."""
        return self.emit_choices((Choice(instruction_table().opcodes[opcode], dict(operands)),), memory)

    def emit_choices(self, choices: tuple[Choice, ...], memory: MemoryReference | None = None) -> Operation:
        """Record one operation that several opcodes can do."""
        operation = Operation(choices, memory, self._line())
        region = self._regions[-1]
        if not region or not isinstance(region[-1], Block):
            region.append(Block())
        block = region[-1]
        assert isinstance(block, Block)
        block.operations.append(operation)
        return operation

    def _line(self) -> int:
        """The line of the kernel's source that is being recorded."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN_FOLDER):
            frame = frame.f_back
        return frame.f_lineno

    def new_register(self, file: str, name: str = "") -> VirtualRegister:
        """A fresh virtual register."""
        return VirtualRegister(file, name)

    # -- scalars --------------------------------------------------------------------------------------------------

    def variable(self, value: Scalar | int = 0) -> Variable:
        """A scalar that can be changed, with its first value."""
        variable = Variable(self, self.new_register("r"))
        variable.set(value)
        return variable

    def in_register(self, value: Scalar | int) -> VirtualRegister:
        """The register that holds a scalar; a constant is put into one on entry."""
        if isinstance(value, Scalar):
            return value.register
        if value not in self._constants:
            register = self._constants[value] = self.new_register("r", f"const {value}")
            self._entry.operations.append(Operation(constant_choices(register, value), line=self._line()))
        return self._constants[value]

    def copy_into(self, register: VirtualRegister | Register, value: Scalar | int | Register) -> None:
        """Set a register to a value."""
        if isinstance(value, int):
            self.emit_choices(constant_choices(register, value))
            return
        source: Reference = value.register if isinstance(value, Scalar) else value
        table = instruction_table().opcodes
        self.emit_choices(
            (
                Choice(table["OR"], {"mRx": register, "mRx0": source, "mRy": source}),
                Choice(table["MOV_mv_scl"], {"mMvSclDst": register, "mMvSclSrc": source}),
            )
        )

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
        target = self.new_register("r")
        self._scalar_access(element, target, is_store=False, offset=element.offset, dj=None)
        return Scalar(self, target)

    def load_at(self, table: View, index: Scalar) -> Scalar:
        """Load the element whose number is a run-time scalar."""
        assert isinstance(table.type, ScalarType) and len(table.shape) == 1
        scaled = index if table.type.bytes == 1 else index << (table.type.bytes.bit_length() - 1)
        offset = self.new_register("dj")
        self.emit("MOV_mv_scl", {"mMvSclDst": offset, "mMvSclSrc": scaled.register})
        target = self.new_register("r")
        self._scalar_access(table, target, is_store=False, offset=None, dj=offset)
        return Scalar(self, target)

    def store(self, element: View, value: object) -> None:
        """Store into the element that a fully indexed view names."""
        if isinstance(element.type, VectorType):
            self.store_vector(element, value)
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


def constant_choices(register: Reference, value: int) -> tuple[Choice, ...]:
    """The ways to put a constant into a register."""
    table = instruction_table().opcodes
    file = register.file if isinstance(register, (VirtualRegister, Register)) else ""
    value = (value + (1 << 31)) % (1 << 32) - (1 << 31)
    choices = []
    if -1024 <= value <= 1023 and file in ("r", "p", "m", "dn", "dj", "dc"):
        choices.append(Choice(table["MOVA_lda_cg"], {"mLdaCg": register, "c11s": value}))
    if -1024 <= value <= 1023 and file == "r":
        choices.append(Choice(table["MOVX_alu_cg"], {"dst": register, "i": value}))
    if -512 <= value <= 511:
        choices.append(Choice(table["MOV_mv_cg"], {"dst": register, "i": value}))
    if not choices:
        choices.append(Choice(table["MOVXM_lng_cg"], {"mMvSclDstCg": register, "i": value}))
    return tuple(choices)
