"""What the engine knows of each bundle of a program: its bound functions, its ports, and what it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from xattn.isa.codec import Bundle, Instruction
from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Effects
from xattn.isa.table import ports
from xattn.isa.timing import DELAY_SLOTS, port_cycles, timing_of
from xattn.sim.accesses import Access, Accesses, issue_order, leaves, roots, union
from xattn.sim.compile import Run, factory
from xattn.sim.findings import Kind
from xattn.sim.stages import leaf_key, place_key
from xattn.sim.state import mask_of

if TYPE_CHECKING:
    from xattn.sim.engine import Engine

PORT_BITS = 64  # bits a cycle in a mask of ports: two for each port (held by a requirer; held by anyone)


class Site:
    """One operation of one bundle in a program: what its code reports to."""

    def __init__(self, engine: Engine, entry: Entry, instruction: Instruction):
        self.engine, self.entry, self.instruction = engine, entry, instruction
        self.accesses = Accesses(instruction)
        self.effects: Effects = self.accesses.effects
        self.early_reads = self.accesses.early_reads
        self.carried = _carried(self.accesses)

    def bind(self, direct: bool) -> Run:
        """The function that does the operation."""
        return factory(self.accesses.shape, direct).bind(self.engine, self, self.accesses)

    def return_address(self) -> int:
        """The address behind the delay slots that follow this bundle."""
        entry = self.entry
        address = entry.address + entry.bundle.size
        for _ in range(DELAY_SLOTS):
            address += self.engine.program.bundle(address).size
        return address

    def report(self, kind: Kind, cause: str) -> None:
        """Report a finding of this operation."""
        self.engine.report(kind, self.entry, f"{self.instruction.opcode.mnemonic}: {cause}")

    def undefined_late(self, mask: int) -> None:
        """A read after cycle 1 found registers that hold no value."""
        for access in self.accesses.reads:
            if access.cycle > 1 and mask_of(access.register) & ~mask == 0:
                self.report(Kind.UNDEFINED_REGISTER, f"reads {access.register.text}, which nothing has written")

    def undefined_result(self, why: str) -> None:
        """The operation is used in a way whose result is not defined."""
        self.report(Kind.UNDEFINED_RESULT, why)

    def loads_undefined(self, address: int, size: int, now: int) -> None:
        """A load found bytes that nothing has written: its register becomes undefined, if it does no more than load."""
        targets = [target for key, found in self.carried.items() if key[0] == "load" for target in found]
        if targets:
            self.spread(targets, now)
        else:
            self.report(Kind.UNDEFINED_MEMORY, f"reads {size} bytes at {address:#x}, where nothing has been written")

    def spread(self, targets: Sequence[Access | None], now: int) -> None:
        """Make the places undefined that undefined bits were carried to (None: memory)."""
        for target in targets:
            if target is None:
                assert self.effects.store
                self.engine.undefine_store_after(now, self.effects.store.bytes)
            else:
                self.engine.undefine_after(now, target.cycle, mask_of(target.register))


def _carried(accesses: Accesses) -> dict[Any, list[Access | None]]:
    """Leaves whose bits the operation only carries on, unchanged, and where to (None: to memory)."""
    effects = accesses.effects
    carried: dict[Any, list[Access | None]] = {}
    ends: list[tuple[Value, Access | None]] = [
        (write.value, accesses.all[place_key(write.place)]) for write in effects.writes if not write.sticky
    ]
    if effects.store and not effects.store.part_word:
        ends.append((effects.store.value, None))
    simple = {id(value) for value, _ in ends}
    used = set(leaves([root for root in roots(effects) if id(root) not in simple]))
    for value, access in ends:
        inner = value
        while inner.op in ("cast", "zext", "trunc"):
            inner = inner.args[0]
        if inner.op in ("operand", "register", "load"):
            carried.setdefault(leaf_key(inner), []).append(access)
        else:
            used |= set(leaves([inner]))
    for leaf in used:
        carried.pop(leaf_key(leaf), None)
    return carried


class Entry:
    """One bundle at its address, ready to run in one core."""

    __slots__ = (
        "address",
        "all_reads",
        "all_writes",
        "branches",
        "bundle",
        "count",
        "fixed_conflict",
        "holds",
        "keeps",
        "late_writes",
        "next",
        "ops",
        "part_word",
        "probes",
        "read_list",
        "reads",
        "sites",
        "special",
        "stalls",
        "write_list",
        "writes",
        "writes_loop",
        "writes_stack",
    )

    def __init__(self, engine: Engine, address: int, bundle: Bundle):
        self.address, self.bundle = address, bundle
        self.next: Entry | None = None
        self.count = self.stalls = 0
        self.sites = [Site(engine, self, instruction) for instruction in bundle.operations]
        order, direct = issue_order([site.accesses for site in self.sites])
        self.ops = tuple(self.sites[k].bind(direct) for k in order)
        self.reads = union(mask for site in self.sites for mask, _ in site.early_reads)
        writes = [access for site in self.sites for access in site.accesses.writes]
        self.write_list = [(mask_of(access.register), access) for access in writes]
        self.late_writes = [(mask, access) for mask, access in self.write_list if access.cycle > 1]
        self.read_list = [(mask_of(access.register), access) for site in self.sites for access in site.accesses.reads]
        self.all_reads = union(mask for mask, _ in self.read_list)
        self.all_writes = union(mask for mask, _ in self.write_list)
        self.writes = union(mask for mask, access in self.write_list if access.cycle == 1)
        self.keeps = ~self.writes
        self.branches = any(site.effects.branch for site in self.sites)
        self.part_word = any(site.effects.store and site.effects.store.part_word for site in self.sites)
        names = {access.register.name for access in writes}
        self.writes_loop = bool(names & {"LS", "LE", "LC"})
        self.writes_stack = "SP" in names
        stops = any(site.effects.done or site.effects.lock for site in self.sites)
        self.special = self.branches or self.writes_loop or self.writes_stack or stops
        self.probes, self.holds, self.fixed_conflict = _ports(bundle)


@lru_cache(maxsize=1)
def _port_numbers() -> dict[str, int]:
    return {name: 2 * k for k, name in enumerate(ports())}


@lru_cache(maxsize=65536)
def _ports(bundle: Bundle) -> tuple[int, int, str]:
    """Ports that must be free and ports that are held from this cycle on, and conflicts inside the bundle itself."""
    probes = holds = 0
    conflict = ""
    for instruction in bundle.operations:
        probe = hold = 0
        for port, offset, required in port_cycles(timing_of(instruction)):
            anyone = 1 << (PORT_BITS * offset + _port_numbers()[port])
            requirer = anyone << 1
            hold |= anyone | requirer if required else anyone
            probe |= anyone if required else requirer
        if holds & probe:
            conflict = conflict_text(holds & probe)
        probes |= probe
        holds |= hold
    return probes, holds, conflict


def conflict_text(mask: int) -> str:
    """The ports of a mask and when they are wanted twice."""
    numbers = {number // 2: name for name, number in _port_numbers().items()}
    places = [divmod(position, PORT_BITS) for position in range(mask.bit_length()) if mask >> position & 1]
    return ", ".join(dict.fromkeys(f"{numbers[place // 2]} in cycle {cycle + 1}" for cycle, place in places))
