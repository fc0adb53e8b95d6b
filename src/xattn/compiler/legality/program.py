"""The program under check: its bytes decoded, and for every bundle what it touches, as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

from xattn.isa.codec import Bundle, Instruction, decode_program
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import DELAY_SLOTS, port_cycles, timing_of

MOVES = frozenset({"mov", "mova", "movx", "movxm"})
STICKY_FILE = "status"  # flags that only ever gain bits, but for the three below
NOT_STICKY = frozenset({"srCarry", "srSS0", "srMS0"})


@lru_cache(maxsize=1)
def leaves() -> tuple[Register, ...]:
    """The registers that hold bits; a leaf's number is its place here."""
    return tuple(register for register in instruction_table().registers.values() if not register.parts)


@lru_cache(maxsize=1)
def _number() -> dict[Register, int]:
    return {register: number for number, register in enumerate(leaves())}


@lru_cache(maxsize=1024)
def numbers_of(register: Register) -> tuple[int, ...]:
    """The leaves that a register is made of."""
    return tuple(_number()[leaf] for leaf in register.storage)


def number_of(name: str) -> int:
    """The number of a leaf."""
    return _number()[instruction_table().registers[name]]


@lru_cache(maxsize=1)
def sticky() -> frozenset[int]:
    """Flags whose writes only add bits, so that the order of writes does not matter."""
    return frozenset(n for r, n in _number().items() if r.file == STICKY_FILE and r.name not in NOT_STICKY)


class Touch(NamedTuple):
    """A leaf read or written: in which cycle, over which bypass, as part of which register, by which instruction."""

    leaf: int
    cycle: int
    bypass: str | None
    register: Register
    by: Instruction
    needed: str = ""  # reads of a multiply that depend on its configuration word: "wide x" or "accumulator"
    config: int = -1  # the leaf that holds that word


class PortHold(NamedTuple):
    """A port held in one cycle after issue (0 is the cycle of issue)."""

    port: str
    cycle: int
    required: bool
    by: Instruction


class KnownWrite(NamedTuple):
    """A write whose value may be known: a constant, or what another leaf holds; neither when it is not."""

    leaf: int
    constant: int | None = None
    source: int | None = None


@dataclass(frozen=True, slots=True)
class Touches:
    """What one instruction reads, writes and holds."""

    reads: tuple[Touch, ...]
    writes: tuple[Touch, ...]
    ports: tuple[PortHold, ...]


@lru_cache(maxsize=65536)
def touches_of(instruction: Instruction) -> Touches:
    """The leaves and port cycles of an instruction."""
    timing = timing_of(instruction)
    writes = [
        Touch(leaf, access.cycle, access.bypass, access.register, instruction)
        for access in timing.writes
        for leaf in numbers_of(access.register)
    ]
    reads = list(_reads(instruction))
    holds = {PortHold(port, cycle, required, instruction) for port, cycle, required in port_cycles(timing)}
    return Touches(tuple(reads), tuple(writes), tuple(sorted(holds, key=lambda hold: (hold.cycle, hold.port))))


def _reads(instruction: Instruction) -> Iterator[Touch]:
    """The leaves read, each once per cycle and bypass; those of a multiply marked with what they depend on."""
    seen: set[tuple[int, int, str | None, str]] = set()
    config, wide, accumulator = _multiply_operands(instruction)
    for access in timing_of(instruction).reads:
        for leaf in numbers_of(access.register):
            needed = "wide x" if leaf in wide else "accumulator" if leaf in accumulator and access.cycle == 3 else ""
            if (key := (leaf, access.cycle, access.bypass, needed)) not in seen:
                seen.add(key)
                config_leaf = config if needed else -1
                yield Touch(leaf, access.cycle, access.bypass, access.register, instruction, needed, config_leaf)


def _multiply_operands(instruction: Instruction) -> tuple[int, frozenset[int], frozenset[int]]:
    """Of a dense integer multiply: configuration leaf, upper half of X, first accumulator; nothing of others."""
    position = instruction.opcode.position
    if not instruction.opcode.name.endswith("core_dense") or ".f" in instruction.opcode.mnemonic:
        return -1, frozenset(), frozenset()
    x, y, c = (instruction[name] for name in ("s1", "s2", "c"))
    assert isinstance(x, Register) and isinstance(y, Register) and isinstance(c, Register)
    wide = set(numbers_of(x)[len(numbers_of(x)) // 2 :]) - set(numbers_of(y))
    accumulator: set[int] = set()
    if "acc1" in position and "acc2" not in position:
        first = instruction["acc1"]
        assert isinstance(first, Register)
        accumulator = set(numbers_of(first))
    return numbers_of(c)[0], frozenset(wide), frozenset(accumulator)


@dataclass(frozen=True, slots=True)
class Facts:
    """One bundle of the program and what it touches."""

    index: int
    address: int
    bundle: Bundle
    reads: tuple[Touch, ...]
    writes: tuple[Touch, ...]
    ports: tuple[PortHold, ...]
    known_writes: tuple[KnownWrite, ...]
    memory: tuple[tuple[Instruction, int, int], ...]  # operation off the stack, first and last cycle in memory
    locks: tuple[Instruction, ...]
    branch: Instruction | None
    sets_loop: bool
    stops: bool

    @property
    def rewrites(self) -> int:
        """The leaves of `known_writes`, as bits."""
        return sum({1 << write.leaf for write in self.known_writes})

    @property
    def end(self) -> int:
        """The address behind the bundle."""
        return self.address + self.bundle.size

    @property
    def part_word_store(self) -> Instruction | None:
        """The part-word store of the bundle, if it has one."""
        return next((i for i, _, _ in self.memory if (m := i.opcode.memory) and m.kind == "rmw_store"), None)


class Program:
    """All bundles of a program. FileFormatError when a byte does not decode."""

    def __init__(self, code: bytes, base: int) -> None:
        decoded = list(decode_program(code, base))
        self.base, self.end = base, base + len(code)
        self.index_of = {address: index for index, (address, _) in enumerate(decoded)}
        self.tracked = _tracked([bundle for _, bundle in decoded])
        self.bundles = [
            _facts(index, address, bundle, self.tracked, _return_address(decoded, index))
            for index, (address, bundle) in enumerate(decoded)
        ]

    def __len__(self) -> int:
        return len(self.bundles)

    def __getitem__(self, index: int) -> Facts:
        return self.bundles[index]

    def where(self, address: int) -> str:
        """Why an address is not the start of a bundle."""
        if not self.base <= address < self.end:
            return f"{address:#x} lies outside the program ({self.base:#x} to {self.end:#x})"
        inside = max(start for start in self.index_of if start <= address)
        return f"{address:#x} lies inside the bundle at {inside:#x}"


def _return_address(decoded: list[tuple[int, Bundle]], index: int) -> int:
    """The address behind the delay slots of a branch at `index` (behind the program when it ends earlier)."""
    last = min(index + DELAY_SLOTS, len(decoded) - 1)
    return decoded[last][0] + decoded[last][1].size


def _facts(index: int, address: int, bundle: Bundle, tracked: frozenset[int], return_address: int) -> Facts:
    touches = [touches_of(instruction) for instruction in bundle.operations]
    writes = tuple(write for touch in touches for write in touch.writes)
    branch = next((i for i in bundle.operations if i.opcode.is_branch), None)
    return Facts(
        index,
        address,
        bundle,
        tuple(read for touch in touches for read in touch.reads),
        writes,
        tuple(port for touch in touches for port in touch.ports),
        tuple(_known_write(write, return_address) for write in writes if write.leaf in tracked),
        tuple((i, min(c), max(c)) for i in bundle.operations if (c := timing_of(i).memory_cycles) and not _on_stack(i)),
        tuple(i for i in bundle.operations if "lock" in i.opcode.flags),
        branch,
        any(write.leaf in _loop_registers() for write in writes),
        any(i.opcode.name == "DONE" for i in bundle.operations),
    )


def _on_stack(instruction: Instruction) -> bool:
    """Whether an operation addresses the stack, which no lock guards: it belongs to the core alone."""
    return instruction.opcode.memory is not None and instruction.opcode.memory.mode == "sp_imm"


@lru_cache(maxsize=1)
def _loop_registers() -> frozenset[int]:
    return frozenset(number_of(name) for name in ("LS", "LE", "LC"))


def _tracked(bundles: list[Bundle]) -> frozenset[int]:
    """Leaves whose constants decide where control goes or what is read, and those that are moved into them."""
    wanted = set(_loop_registers()) | {number_of("lr")}
    copies: list[tuple[int, int]] = []
    for instruction in (i for bundle in bundles for i in bundle.operations):
        if "indirect" in instruction.opcode.flags:
            wanted.update(
                n for v in instruction.values if isinstance(v, Register) and v.file == "p" for n in numbers_of(v)
            )
        wanted.update(read.config for read in touches_of(instruction).reads if read.config >= 0)
        if (copy := _copy(instruction)) is not None:
            copies.append(copy)
    while new := {source for target, source in copies if target in wanted} - wanted:
        wanted |= new
    return frozenset(wanted)


def _copy(instruction: Instruction) -> tuple[int, int] | None:
    """(target, source) of a plain move between registers of one leaf each."""
    if instruction.opcode.mnemonic not in MOVES or len(instruction.values) != 2:
        return None
    target, source = instruction.values
    if not isinstance(target, Register) or not isinstance(source, Register):
        return None
    return (numbers_of(target)[0], numbers_of(source)[0]) if len(target.storage) == len(source.storage) == 1 else None


def _known_write(write: Touch, return_address: int) -> KnownWrite:
    instruction = write.by
    if "call" in instruction.opcode.flags:
        return KnownWrite(write.leaf, constant=return_address)
    if instruction.opcode.mnemonic not in MOVES or len(instruction.values) != 2:
        return KnownWrite(write.leaf)
    if isinstance(instruction.values[1], int):
        mask = (1 << write.register.bits) - 1
        return KnownWrite(write.leaf, constant=instruction.values[1] & mask)
    copy = _copy(instruction)
    return KnownWrite(write.leaf, source=copy[1]) if copy else KnownWrite(write.leaf)


def clashes(facts: Facts) -> Iterator[tuple[PortHold, PortHold]]:
    """Pairs of operations of one bundle that need the same port in the same cycle."""
    for a, b in combinations(facts.ports, 2):
        if a.by is not b.by and (a.port, a.cycle) == (b.port, b.cycle) and (a.required or b.required):
            yield a, b


def double_writes(facts: Facts) -> Iterator[tuple[Touch, Touch]]:
    """Pairs of writes of one bundle that land in the same leaf in the same cycle."""
    for a, b in combinations(facts.writes, 2):
        if (a.leaf, a.cycle) == (b.leaf, b.cycle) and a.leaf not in sticky():
            yield a, b
