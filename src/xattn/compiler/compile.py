"""The compiler's way from a kernel function to machine code, step by step."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from xattn.compiler.addresses import assign_addresses
from xattn.compiler.allocate import CALLEE_SAVED, allocate
from xattn.compiler.control import Section, to_sections
from xattn.compiler.dataflow import assert_dataflow
from xattn.compiler.dead import remove_dead
from xattn.compiler.emit import Emitted, emit, separate_loop_setup
from xattn.compiler.ir import Array, Choice, Location, Operation, Program, VirtualRegister, locations
from xattn.compiler.language.kernel import Kernel
from xattn.compiler.language.recorder import constant_choices
from xattn.compiler.legality import assert_legal, state_at_reset
from xattn.compiler.limits import OutOfRegistersError, require_room, too_crowded
from xattn.compiler.liveness import Liveness, analyse, fits, pressure, shared_file
from xattn.compiler.place import place_arrays
from xattn.compiler.schedule import KnownSchedules, Policy, known_loop, minimal_loop, schedule_section
from xattn.compiler.scheduled import PipelinedLoop, ScheduledSection, StraightSection
from xattn.errors import InputError
from xattn.isa.codec import Bundle
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import FETCH_BYTES, PROGRAM_MEMORY_BYTES

# Tried in turn until every value has a register.
_POLICIES = (
    Policy(pipeline=True),
    *(Policy(pipeline=False, window=window) for window in (None, 32, 16, 8, 4, 1)),
)
_MANY_LOOPS = 12  # above that, not every set of loops is looked at
_FRAME_STEP = 32  # the stack pointer moves in steps of 32 bytes


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel as machine code, callable by the public AIE2 C convention (pointers in p0…, integers in r0…)."""

    name: str
    emitted: Emitted
    arrays: tuple[Array, ...]
    addresses: dict[str, int]
    arguments: tuple[str, ...]
    scalars: tuple[str, ...]
    stack_bytes: int
    sections: tuple[ScheduledSection, ...]

    @property
    def code(self) -> bytes:
        """Program memory contents, from address 0."""
        return self.emitted.code

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """The program's bundles."""
        return self.emitted.bundles


def compile_kernel(
    function: Callable[[Kernel], None], name: str, known: KnownSchedules = lambda _: ()
) -> CompiledKernel:
    """Record a kernel function and compile it. Errors name the array, loop or limit that stands in the way.

    `known` gives schedules for loops, which are taken where they are shorter than those found here.
    """
    kernel = Kernel(name)
    function(kernel)
    program = kernel.program
    remove_dead(program)
    addresses = place_arrays(program.arrays)
    assign_addresses(program)
    arguments = _argument_registers(program)
    scheduled, registers, saved = _schedule_and_allocate(program, arguments, known)
    emitted = emit(scheduled, registers)
    _prove_legal(emitted, arguments)
    compiled = CompiledKernel(
        name,
        emitted,
        tuple(program.arrays),
        addresses,
        tuple(pointer.name for pointer in program.pointers),
        tuple(scalar.name for scalar in program.scalars),
        _frame_bytes(saved),
        tuple(scheduled),
    )
    assert_dataflow(compiled)
    return compiled


def _prove_legal(emitted: Emitted, arguments: dict[VirtualRegister, Register]) -> None:
    """Check the machine code, knowing nothing of how it came about; LegalityError names what is wrong."""
    given = {register.name for register in arguments.values()}
    defined = state_at_reset() | given | {"SP", "lr"} | CALLEE_SAVED
    assert_legal(emitted.code, defined_at_entry=frozenset(defined), allow_in_flight_reads=True)


@dataclass
class _Restraint:
    """What has been given up so that registers and program memory suffice, by section."""

    known: KnownSchedules
    level: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # place in _POLICIES
    refused: set[str] = field(default_factory=set)  # known schedules
    loops: dict[object, ScheduledSection] = field(default_factory=dict)  # that have been scheduled already

    def loop(self, section: Section, live: Liveness) -> ScheduledSection:
        """As `schedule`, each loop once."""
        where = _virtual(live.into[section]), _virtual(live.out_of[section])
        key = section.loop, self.level[section.name], section.name in self.refused, where
        if key not in self.loops:
            self.loops[key] = self.schedule(section, live)
            self.loops[section.loop, self.level[section.name], key[2], where] = self.loops[key]
        found = self.loops[key]
        found.section = section
        return found

    def schedule(self, section: Section, live: Liveness) -> ScheduledSection:
        """By the first policy, from the present level on, under which the section's values have registers."""

        def has_registers(candidate: ScheduledSection) -> bool:
            return fits(candidate, live)

        taken = section.loop is not None and section.name not in self.refused
        if taken and (known := minimal_loop(section, self.known, has_registers)):
            return known
        for level in range(self.level[section.name], len(_POLICIES)):
            scheduled = schedule_section(section, _POLICIES[level], has_registers)
            self.level[section.name] = level
            if has_registers(scheduled):
                break
        if not taken:
            return scheduled
        return known_loop(scheduled, self.known, has_registers) or scheduled

    def can_rise(self, scheduled: ScheduledSection) -> bool:
        """Whether there is anything left to give up."""
        return _is_known(scheduled) or self.level[scheduled.section.name] + 1 < len(_POLICIES)

    def rise_where_crowded(self, scheduled: list[ScheduledSection], live: Liveness, file: str) -> None:
        """In the section that takes most registers of a file. OutOfRegistersError when nothing is left to give up."""
        file = shared_file(file)
        need = {section: pressure(section, live).get(file, 0) for section in scheduled}
        able = [section for section in scheduled if self.can_rise(section)]
        if not able:
            raise too_crowded(max(scheduled, key=lambda s: (need[s], s.section.loop is not None)), live, file)
        self.rise(max(able, key=lambda s: (_is_known(s), need[s], s.length)))

    def rise(self, scheduled: ScheduledSection) -> None:
        """Give up the section's known schedule, or some of its freedom."""
        if _is_known(scheduled):
            self.refused.add(scheduled.section.name)
        else:
            self.level[scheduled.section.name] += 1


def _virtual(found: set[Location]) -> frozenset[Location]:
    """Without the registers that are the caller's: no loop has to make room for these."""
    return frozenset(location for location in found if isinstance(location[0], VirtualRegister))


def _is_known(scheduled: ScheduledSection) -> bool:
    return isinstance(scheduled, PipelinedLoop) and scheduled.is_known


def _schedule_and_allocate(
    program: Program, arguments: dict[VirtualRegister, Register], known: KnownSchedules
) -> tuple[list[ScheduledSection], dict[VirtualRegister, Register], tuple[Register, ...]]:
    """Schedule freely; where registers run out, with more and more restraint, section by section.

    Known schedules are given up first: with them a kernel never becomes worse than without.
    """
    saved: tuple[Register, ...] = ()
    restraint = _Restraint(known)
    require_room(to_sections(program))
    while True:
        sections = to_sections(program)
        _save_registers(sections, saved)
        live = analyse(sections)
        scheduled = _schedule(sections, live, restraint)
        try:
            registers = allocate(scheduled, arguments, live)
        except OutOfRegistersError as error:
            restraint.rise_where_crowded(scheduled, live, error.file)
            continue
        too_long = _too_long(scheduled)
        if too_long:
            for loop in too_long:
                restraint.rise(loop)
            continue
        used = {leaf for register in registers.values() for leaf in register.storage if leaf.name in CALLEE_SAVED}
        if used <= set(saved):
            return scheduled, registers, saved
        saved = tuple(sorted(used | set(saved), key=lambda r: r.name))


def _too_long(scheduled: list[ScheduledSection]) -> list[PipelinedLoop]:
    """The pipelined loops that the kernel misses least of those whose room it needs; none when the program fits."""
    excess = sum(section.length for section in scheduled) - PROGRAM_MEMORY_BYTES // FETCH_BYTES
    loops = [section for section in scheduled if isinstance(section, PipelinedLoop) and section.room > 0]
    if excess <= 0 or not loops:
        return []
    if len(loops) > _MANY_LOOPS:
        return [min(loops, key=lambda loop: loop.gain / loop.room)]
    sets = itertools.chain.from_iterable(itertools.combinations(loops, size) for size in range(1, len(loops) + 1))
    enough = [chosen for chosen in sets if sum(loop.room for loop in chosen) >= excess]
    return list(min(enough, key=lambda chosen: sum(loop.gain for loop in chosen), default=loops))


def _schedule(sections: list[Section], live: Liveness, restraint: _Restraint) -> list[ScheduledSection]:
    """Loops first: how far their iterations overlap decides the count that is set before them."""
    scheduled = {section: restraint.loop(section, live) for section in sections if section.loop is not None}
    for section, loop in scheduled.items():
        if isinstance(loop, PipelinedLoop) and section.count is not None:
            section.count.choices = constant_choices(instruction_table().registers["LC"], loop.rounds)
    result = [scheduled.get(section) or restraint.schedule(section, live) for section in sections]
    _wait_after_loops(result)
    separate_loop_setup(result)
    return result


def _argument_registers(program: Program) -> dict[VirtualRegister, Register]:
    table = instruction_table().registers
    for what, values, limit in (("pointer", program.pointers, 6), ("integer", program.scalars, 8)):
        if len(values) > limit:
            raise InputError(f"kernel {program.name} has {len(values)} {what} arguments; registers take {limit}")
    pointers = {pointer: table[f"p{i}"] for i, pointer in enumerate(program.pointers)}
    return pointers | {scalar: table[f"r{i}"] for i, scalar in enumerate(program.scalars)}


def _frame_bytes(saved: tuple[Register, ...]) -> int:
    return -(-4 * len(saved) // _FRAME_STEP) * _FRAME_STEP


def _save_registers(sections: list[Section], saved: tuple[Register, ...]) -> None:
    """Keep the caller's registers on the stack, which grows upwards, and put them back before the return."""
    if not saved:
        return
    table = instruction_table().opcodes
    frame = _frame_bytes(saved)
    first, last = sections[0], sections[-1]
    push = [Operation((Choice(table["PADDA_sp_imm"], {"imm": frame}), Choice(table["PADDB_sp_imm"], {"imm": frame})))]
    pop = []
    for place, register in enumerate(saved):
        offset = -frame + 4 * place
        push.append(Operation((Choice(table["ST_dms_spill"], {"mSclSt": register, "imm": offset}),)))
        pop.append(Operation((Choice(table["LDA_dms_spill"], {"mLdaScl": register, "imm": offset}),)))
    first.operations[:0] = push
    pop.append(
        Operation((Choice(table["PADDA_sp_imm"], {"imm": -frame}), Choice(table["PADDB_sp_imm"], {"imm": -frame})))
    )
    last.operations.extend(pop)
    last.keeps = tuple(location for register in saved for location in locations(register))


def _wait_after_loops(scheduled: list[ScheduledSection]) -> None:
    """The section after a hardware loop starts when nothing of the loop is under way any more."""
    for before, after in itertools.pairwise(scheduled):
        if before.section.loop is not None and isinstance(after, StraightSection):
            after.delay(before.drained)
