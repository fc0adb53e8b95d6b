"""Recording a program: operations go into the block that is being recorded, loops open and close around them."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xattn.compiler.ir import (
    Affine,
    Block,
    Choice,
    Loop,
    MemoryReference,
    Operation,
    Origin,
    Part,
    Program,
    Reference,
    Region,
    Stage,
    VirtualRegister,
    When,
)
from xattn.compiler.language.memory import Index
from xattn.errors import InputError
from xattn.isa.model import Register
from xattn.isa.table import instruction_table

if TYPE_CHECKING:
    from xattn.compiler.language.scalar import Scalar

_NOT_KERNELS = (str(Path(__file__).parent), contextlib.__file__)


class Recorder:
    """Holds the program and the place in it where the next operation goes."""

    def __init__(self, name: str) -> None:
        self.program = Program(name, [], [], [], [])
        self._regions: list[Region] = []
        # constants are made once, on entry to the program or to the conditional part that alone needs them
        self._constants: list[tuple[Block, dict[int, VirtualRegister]]] = []
        self._enter(self.program.body)
        self._stage: Stage | None = None

    # -- control flow ---------------------------------------------------------------------------------------------

    def loop(self, trips: int, unroll: int = 1, name: str = "") -> Iterator[Index]:
        """A counted loop. `unroll` records the body that many times in a row, for `trips / unroll` rounds."""
        if trips < 1 or trips % unroll:
            raise InputError(f"a loop of {trips} trips cannot be unrolled by {unroll}; take a divisor")
        rounds = trips // unroll
        if rounds == 1:
            yield from (Index(Affine(i)) for i in range(trips))
            return
        loop = self._open((rounds,), name)
        for i in range(unroll):
            yield Index.of(loop) * unroll + i
        self._regions.pop()

    def grid(self, *shape: int, name: str = "") -> Iterator[tuple[Index, ...]]:
        """Nested loops run as one: all combinations of the counters, the last one fastest."""
        if math.prod(shape) == 1:
            yield tuple(Index(Affine()) for _ in shape)
            return
        loop = self._open(shape, name)
        yield tuple(Index.of(loop, axis) for axis in range(len(shape)))
        self._regions.pop()

    @contextlib.contextmanager
    def when(self, condition: Scalar) -> Iterator[None]:
        """`with k.when(flag):` what follows is done only where the scalar is not zero."""
        item = When(condition.register, origin=self._origin())
        self._regions[-1].append(item)
        self._enter(item.body)
        yield
        self._leave()

    @contextlib.contextmanager
    def otherwise(self) -> Iterator[None]:
        """`with k.otherwise():` right behind a `with k.when(flag):` what follows is done only where that is not."""
        before = self._regions[-1][-1] if self._regions[-1] else None
        if not isinstance(before, When) or before.otherwise:
            raise InputError("k.otherwise() stands right behind the k.when() to which it is the other way")
        self._enter(before.otherwise)
        yield
        self._leave()

    @contextlib.contextmanager
    def stage(self, name: str, part: str = "") -> Iterator[None]:
        """`with k.stage("softmax", "max"):` what follows belongs to a stage of the computation, or to a part of it.

        Of stages in each other the innermost counts. Stages change no code: profiles go by them.
        """
        before, self._stage = self._stage, Stage(name, part)
        yield
        self._stage = before

    def _enter(self, region: Region) -> None:
        entry = Block()
        region += [entry, Block()]
        self._regions.append(region)
        self._constants.append((entry, {}))

    def _leave(self) -> None:
        self._regions.pop()
        self._constants.pop()

    def _open(self, shape: tuple[int, ...], name: str) -> Loop:
        origin = self._origin()
        loop = Loop(shape, name=name or f"line {origin.line}", origin=origin)
        self._regions[-1].append(loop)
        self._regions.append(loop.body)
        return loop

    # -- recording ------------------------------------------------------------------------------------------------

    def emit(self, opcode: str, operands: Mapping[str, Reference], memory: MemoryReference | None = None) -> Operation:
        """Record one operation by its opcode's name."""
        return self.emit_choices((Choice(instruction_table().opcodes[opcode], dict(operands)),), memory)

    def emit_choices(self, choices: tuple[Choice, ...], memory: MemoryReference | None = None) -> Operation:
        """Record one operation that several opcodes can do."""
        operation = Operation(choices, memory, self._origin())
        region = self._regions[-1]
        if not region or not isinstance(region[-1], Block):
            region.append(Block())
        block = region[-1]
        assert isinstance(block, Block)
        block.operations.append(operation)
        return operation

    def _origin(self) -> Origin:
        """The line of the kernel's source that is being recorded, and its stage."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_KERNELS):
            frame = frame.f_back
        return Origin(frame.f_code.co_filename, frame.f_lineno, self._stage)

    def new_register(self, file: str, name: str = "") -> VirtualRegister:
        """A fresh virtual register."""
        return VirtualRegister(file, name)

    # -- registers -----------------------------------------------------------------------------------------------------

    def in_register(self, value: Scalar | int) -> VirtualRegister:
        """The register that holds a scalar; a constant is put into one on entry, to the program or a part of it."""
        if not isinstance(value, int):
            return value.register
        for _, constants in self._constants:
            if value in constants:
                return constants[value]
        entry, constants = self._constants[-1]
        register = constants[value] = self.new_register("r", f"const {value}")
        entry.operations.append(Operation(constant_choices(register, value), origin=self._origin()))
        return register

    def copy_into(self, register: VirtualRegister | Register, value: Scalar | int | Register) -> None:
        """Set a register to a value."""
        if isinstance(value, int):
            self.emit_choices(constant_choices(register, value))
            return
        source: Reference = value if isinstance(value, Register) else value.register
        table = instruction_table().opcodes
        self.emit_choices(
            (
                Choice(table["OR"], {"mRx": register, "mRx0": source, "mRy": source}),
                Choice(table["MOV_mv_scl"], {"mMvSclDst": register, "mMvSclSrc": source}),
            )
        )


def constant_choices(register: VirtualRegister | Register | Part, value: int) -> tuple[Choice, ...]:
    """The ways to put a constant into a register."""
    table = instruction_table().opcodes
    file = register.file if isinstance(register, (VirtualRegister, Register)) else register.example.file
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
