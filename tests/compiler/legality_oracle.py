"""An independent judge: replays every path of a small program cycle by cycle and looks at absolute times.

It knows nothing of states and joins. A path is the list of bundles that one run would execute; the paths come from the
structure that the program was built from, not from its branches. What is judged: reads in flight, writes that collide
or overtake, ports, undefined reads, writes under way at the end.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product

from xattn.isa.codec import Bundle, Instruction, formats_holding
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import timing_of

Finding = tuple[str, int]  # rule, address
STICKY = {"srSRS_of", "srUPS_of", "srCompr_uf", "srSparse_of", "srFPFlags", "srF2IFlags", "srF2FFlags"}


@dataclass(frozen=True)
class Write:
    """Lands (for reads without a bypass) at `lands`."""

    leaf: Register
    issued: int
    lands: int
    bypass: str | None

    def visible(self, bypass: str | None) -> int:
        return self.lands - (self.bypass is not None and self.bypass == bypass)


@dataclass(frozen=True)
class Read:
    leaf: Register
    issued: int
    time: int
    bypass: str | None


def _events(path: Sequence[Bundle]) -> tuple[list[Write], list[Read]]:
    writes, reads = [], []
    for now, bundle in enumerate(path):
        for timing in map(timing_of, bundle.operations):
            writes += [Write(leaf, now, now + a.cycle, a.bypass) for a in timing.writes for leaf in a.register.storage]
            reads += [Read(leaf, now, now + a.cycle - 1, a.bypass) for a in timing.reads for leaf in a.register.storage]
    return writes, reads


def judge(
    bundles: Sequence[Bundle], paths: Iterable[Sequence[int]], defined: Iterable[str], *, strict: bool, returns: bool
) -> set[Finding]:
    """The findings on any of the paths; each is a list of indices into `bundles`, all of 16 bytes from address 0."""
    registers = instruction_table().registers
    known = {leaf for name in defined for leaf in registers[name].storage}
    findings: set[Finding] = set()
    overtaken: dict[tuple[object, ...], tuple[int, Write, Write]] = {}
    offsets: dict[int, set[tuple[Register, int, str | None]]] = defaultdict(set)
    for path in paths:
        writes, reads = _events([bundles[index] for index in path])
        address = [16 * index for index in path]
        findings |= {("in-flight-read", address[r.issued]) for r in _early(writes, reads) if strict}
        findings |= set(_undefined(writes, reads, known, address, strict=strict, returns=returns))
        findings |= set(_ports(bundles, path))
        for first, second in _write_pairs(writes):
            if first.lands == second.lands:
                findings.add(("same-cycle-write", address[second.issued]))
            elif first.issued < second.issued and first.lands > second.lands:
                times = (second.issued - first.issued, first.lands - second.issued, second.lands - second.issued)
                bypasses = (first.bypass, second.bypass)
                key = (first.leaf, path[first.issued], path[second.issued], times, bypasses)
                overtaken[key] = (path[second.issued], first, second)
        for now, index in enumerate(path):
            offsets[index] |= {(r.leaf, r.time - now, r.bypass) for r in reads if r.time >= now}
        if returns:
            findings |= {("exit-in-flight", address[-1]) for w in writes if w.lands > len(path)}
    for index, first, second in overtaken.values():
        now = second.issued
        seen = any(
            leaf is second.leaf and second.visible(bypass) <= now + offset < first.visible(bypass)
            for leaf, offset, bypass in offsets[index]
        )
        if not seen:
            findings.add(("overtaken-write", 16 * index))
    return findings


def _early(writes: list[Write], reads: list[Read]) -> Iterator[Read]:
    to = _by_leaf(writes)
    for r in reads:
        if any(w.issued < r.issued and w.visible(r.bypass) > r.time for w in to[r.leaf]):
            yield r


def _by_leaf(writes: list[Write]) -> dict[Register, list[Write]]:
    to: dict[Register, list[Write]] = defaultdict(list)
    for write in writes:
        to[write.leaf].append(write)
    return to


def _undefined(
    writes: list[Write], reads: list[Read], known: set[Register], address: list[int], *, strict: bool, returns: bool
) -> Iterator[Finding]:
    to = _by_leaf(writes)
    for r in reads:
        mine = to[r.leaf]
        if r.leaf in known or any(w.visible(r.bypass) <= r.time for w in mine):
            continue
        if r.time > r.issued:  # told where the read happens, or where the program ends before
            if r.time < len(address):
                yield "undefined-read", address[r.time]
            elif returns:
                yield "undefined-read", address[-1]
        elif not (strict and any(w.issued < r.issued for w in mine)):
            yield "undefined-read", address[r.issued]


def _write_pairs(writes: list[Write]) -> Iterator[tuple[Write, Write]]:
    for leaf, mine in _by_leaf(writes).items():
        if leaf.name not in STICKY:
            yield from combinations(mine, 2)


def _ports(bundles: Sequence[Bundle], path: Sequence[int]) -> Iterator[Finding]:
    held: dict[tuple[str, int], list[tuple[int, bool]]] = defaultdict(list)
    number = 0
    for now, index in enumerate(path):
        for instruction in bundles[index].operations:
            number += 1
            for use in timing_of(instruction).ports:
                for cycle in range(use.cycle, use.cycle + use.length):
                    users = held[use.port, now + cycle]
                    if any(other != number and (required or use.required) for other, required in users):
                        yield "port", 16 * index
                    users.append((number, use.required))


class Layout:
    """Bundles in program order, all of 16 bytes; the methods add a piece and return the ways through it."""

    def __init__(self) -> None:
        self.bundles: list[Bundle] = []

    @property
    def code(self) -> bytes:
        return b"".join(bundle.encode() for bundle in self.bundles)

    def straight(self, groups: Iterable[Sequence[Instruction]]) -> list[list[int]]:
        first = len(self.bundles)
        self.bundles += [full_bundle(group) for group in groups]
        return [list(range(first, len(self.bundles)))]

    def diamond(self, slots: list, then: list, slots_behind: list, other: list) -> list[list[int]]:  # type: ignore[type-arg]
        """if … else …, with five delay slots behind each branch."""
        branch = self.straight([()])[0]
        head = branch + self.straight(slots)[0]
        left = self.straight(then)[0]
        jump = self.straight([()])[0] + self.straight(slots_behind)[0]
        right = self.straight(other)[0]
        self._set(branch[0], "JNZ", mRx="r3", cpmaddr=16 * right[0])
        self._set(jump[0], "J_jump_imm", cpmaddr=16 * len(self.bundles))
        return [head + left + jump, head + right]

    def hardware_loop(self, ways: "Layout", inside: list[list[int]], trips: Iterable[int]) -> list[list[int]]:
        """The piece in `ways`, repeated; its last bundle must lie on every way."""
        set_up = self.straight([()] * 10)[0]
        first = len(self.bundles)
        moved = [[first + index for index in way] for way in inside]
        self.bundles += ways.bundles
        self._set(set_up[0], "MOVXM_lng_cg", mMvSclDstCg="LS", i=16 * first)
        self._set(set_up[1], "MOVXM_lng_cg", mMvSclDstCg="LE", i=16 * (len(self.bundles) - 1))
        self._set(set_up[2], "ADD_NC", **_count_operands())
        return [set_up + list(chain(*rounds)) for count in trips for rounds in product(moved, repeat=count)]

    def end(self, *, returns: bool) -> list[list[int]]:
        if not returns:
            return self.straight([(instruction("DONE"),)])
        return self.straight([(instruction("RET"),), *[()] * 5])

    def _set(self, index: int, opcode: str, **operands: object) -> None:
        self.bundles[index] = full_bundle([instruction(opcode, **operands)])


def through(*pieces: list[list[int]]) -> list[list[int]]:
    """All ways through pieces that follow one another."""
    return [list(chain(*ways)) for ways in product(*pieces)]


def instruction(opcode: str, **operands: object) -> Instruction:
    """An instruction by opcode name; registers by name."""
    table = instruction_table()
    values = {k: table.registers[v] if isinstance(v, str) else v for k, v in operands.items()}
    return Instruction.of(table.opcodes[opcode], **values)  # type: ignore[arg-type]


def _count_operands() -> dict[str, object]:
    target, source, step = (operand.name for operand in instruction_table().opcodes["ADD_NC"].operands)
    return {target: "LC", source: "r4", step: 0}


def full_bundle(instructions: Sequence[Instruction]) -> Bundle:
    """A bundle in a 16-byte format."""
    slots = frozenset(i.opcode.slot for i in instructions)
    return Bundle.of(instructions, next(f for f in formats_holding(slots) if f.size == 16))
