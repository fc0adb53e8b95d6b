"""The words an AIE2 instruction table is written in: registers, operands, opcodes, slots, bundle formats, itineraries.

Everything here is immutable data. `table.py` reads it from the files in `tables/`; `codec.py` gives it its bits.
Cycles count from 1, the cycle of issue: a definition with cycle d of a bundle issued at time t is visible to reads at
times >= t + d, and a use with cycle u reads at time t + u - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, eq=False, slots=True)
class Register:
    """A register or a view of several. `storage` are the registers that hold its bits, least significant first."""

    name: str
    text: str
    bits: int
    file: str
    parts: tuple[Register, ...] = ()
    storage: tuple[Register, ...] = ()

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class RegisterClass:
    """What a register field of `width` bits can name: codes to registers, and the code written for each register."""

    name: str
    width: int
    by_code: dict[int, Register] = field(repr=False)
    code_of: dict[str, int] = field(repr=False)

    @cached_property
    def registers(self) -> tuple[Register, ...]:
        """Every register of the class, in the order of the table."""
        by_name = {r.name: r for r in self.by_code.values()}
        return tuple(by_name[name] for name in self.code_of)


@dataclass(frozen=True)
class Immediate:
    """An immediate field: `bits` wide, in units of `scale`, unsigned, signed, or the low bits of a negative number."""

    bits: int
    kind: str  # 'u' unsigned, 's' signed, 'n' negative only, 'a' absolute byte address in program memory
    scale: int = 1

    @property
    def minimum(self) -> int:
        """The smallest value that can be encoded."""
        return {"u": 0, "a": 0, "s": -(1 << (self.bits - 1)), "n": -(1 << self.bits)}[self.kind] * self.scale

    @property
    def maximum(self) -> int:
        """The largest value that can be encoded."""
        unsigned = (1 << self.bits) - 1
        return {"u": unsigned, "a": unsigned, "s": unsigned >> 1, "n": -1}[self.kind] * self.scale


@dataclass(frozen=True)
class CountOf:
    """The count register(s) dc that a 2-D or 3-D post-modify updates: of its modifier operand, or of one half of it."""

    operand: str
    half: int | None  # None: a 2-D modifier; 0, 1: the low and high half of a 3-D one


@dataclass(frozen=True)
class Operand:
    """One operand in machine order (definitions, then uses)."""

    name: str
    is_def: bool
    type: RegisterClass | Immediate | Register | CountOf
    segments: tuple[tuple[int, int, int], ...] = ()  # (lsb in the slot word, width, lsb in the field)
    tied_to: str | None = None


@dataclass(frozen=True)
class PortUse:
    """A port or unit held for `length` cycles from `cycle`; two uses of a port conflict unless neither is required."""

    port: str
    cycle: int
    length: int
    required: bool


@dataclass(frozen=True)
class Itinerary:
    """When an operation touches what: cycles per operand, then implicit definitions, then uses; and its ports."""

    name: str
    cycles: tuple[int, ...]
    bypasses: tuple[str | None, ...]
    ports: tuple[PortUse, ...]
    memory_cycles: tuple[int, ...]

    def cycle(self, position: int) -> int:
        """Cycle of the operand at `position`; operands past the end of the list are touched in cycle 1."""
        return self.cycles[position] if position < len(self.cycles) else 1

    def bypass(self, position: int) -> str | None:
        """Name of the bypass that the operand at `position` uses."""
        return self.bypasses[position] if position < len(self.bypasses) else None


@dataclass(frozen=True)
class MemoryAccess:
    """How an opcode touches memory. `bytes` is None where it depends on the data (sparse and FIFO loads)."""

    kind: str  # load, store, rmw_store
    bytes: int | None
    mode: str  # idx_imm, idx_dj, post_imm, post_mod, post_2d, post_3d, sp_imm, ptr, gather4, fifo
    space: str | None = None


@dataclass(frozen=True, eq=False)
class Opcode:
    """One operation of one slot: its bits, its text, its operands and its timing."""

    name: str
    slot: str
    mask: int
    value: int
    text: str
    operands: tuple[Operand, ...]
    itinerary: Itinerary
    itinerary_by_file: tuple[tuple[tuple[tuple[int, str], ...], Itinerary], ...] = ()
    implicit_defs: tuple[Register, ...] = ()
    implicit_uses: tuple[Register, ...] = ()
    memory: MemoryAccess | None = None
    flags: frozenset[str] = frozenset()
    yields_to: str | None = None

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def mnemonic(self) -> str:
        """The first word of the assembly text."""
        return self.text.split(" ", 1)[0]

    @cached_property
    def position(self) -> dict[str, int]:
        """Operand name to its place in machine order."""
        return {operand.name: i for i, operand in enumerate(self.operands)}

    @property
    def is_nop(self) -> bool:
        """Whether the opcode does nothing."""
        return self.name.startswith("NOP")

    @property
    def is_branch(self) -> bool:
        """Whether the opcode can change the flow of control (five delay slots follow)."""
        return "branch" in self.flags


@dataclass(frozen=True, eq=False)
class Slot:
    """One of the places of a bundle. `overlays` names the slots whose bits it shares (lng lies over alu and mv)."""

    name: str
    width: int
    nop: str
    overlays: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Format:
    """A bundle format: fixed bits, and where each slot word lies."""

    name: str
    bits: int
    mask: int
    value: int
    lsb_of: dict[str, int]

    def __repr__(self) -> str:
        return self.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bits // 8
