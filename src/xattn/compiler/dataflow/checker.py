"""Translation validation: the emitted bytes compute, value by value, what the program in order computes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from xattn.compiler.allocate import CALLEE_SAVED
from xattn.compiler.control import Section
from xattn.compiler.dataflow.difference import DataflowError, Difference
from xattn.compiler.dataflow.machine_order import MachineOrder
from xattn.compiler.dataflow.nest import counted_loops, trips_of
from xattn.compiler.dataflow.places import Code
from xattn.compiler.dataflow.program_order import Footprints, ProgramOrder
from xattn.compiler.dataflow.values import Names, on_entry
from xattn.compiler.ir import Operation, VirtualRegister
from xattn.isa.model import Register
from xattn.isa.table import instruction_table

if TYPE_CHECKING:
    from xattn.compiler.compile import CompiledKernel

EXECUTIONS = 100_000  # of operations, about 50,000 bundles; a longer program is followed for a few trips of each loop
SHOWN = 20  # differences


def check_dataflow(compiled: CompiledKernel, *, executions: int = EXECUTIONS, most: int = SHOWN) -> list[Difference]:
    """Every difference between a kernel's machine code and its program in order (the first `most`, in time).

    The code is decoded from its bytes and executed by the exposed timing; beside it, the operations of its sections
    are executed one after another. The n-th execution of an operation must read the same values in both, register leaf
    by register leaf and byte by byte; both must execute the same operations the same number of times, and leave the
    same values in memory, in the callee-saved registers and in the control registers.

    A program of more than `executions` operations is followed with two trips of each counted loop and, of each
    hardware loop, the iterations that start before the loop proper and three rounds of it; the same in both. Then a
    value or byte that is carried further than that (from the first trip to the third, say) is not seen.

    The map from places to operations is a witness and need not be trusted: an instruction must be a choice of its
    operation, immediates included. What is taken as given: the operations of the sections (also that an operation's
    choices do the same, and that memory references touch the bytes that they say), that the caller's arrays do not
    overlap, and that ports and memory banks are free when needed (the legality checker and the simulator see to that).
    """
    code = read_code(compiled)
    if code.differences:
        return code.differences[:most]
    found = [*_overlaps(compiled), *_unwritten(compiled, code.names)]
    for skip in (False, True) if _has_conditional_parts(compiled) else (False,):
        machine = follow(compiled, code, executions=executions, most=most, skip=skip)
        if not machine.stopped:
            machine.compare_counts()
            machine.compare_end(_kept_registers())
        found += [*_broken_promises(machine), *machine.differences]
    return found[:most]


def read_code(compiled: CompiledKernel) -> Code:
    """The kernel's code decoded, each instruction beside its operation. Look at its `differences` before following."""
    names = Names(operation for section in _sections(compiled) for operation in _operations(section))
    return Code(compiled.emitted.code, compiled.emitted.operations, names)


def follow(
    compiled: CompiledKernel, code: Code, *, executions: int = EXECUTIONS, most: int = SHOWN, skip: bool = False
) -> MachineOrder:
    """Execute the program in order and then its code, which collects the differences that show on the way.

    `skip`: without the conditional parts, with what is done otherwise.
    """
    sections, names = _sections(compiled), code.names
    loops = counted_loops(sections)
    trips = trips_of(sections, loops, _loop_counts(sections, code), executions)
    footprints = Footprints(compiled.arrays, names)
    meaning = ProgramOrder(names, sections, loops, trips, footprints, _arguments(compiled, names), skip).run()
    machine = MachineOrder(code, meaning, footprints, trips.reduced, most)
    machine.run()
    return machine


def assert_dataflow(compiled: CompiledKernel, *, executions: int = EXECUTIONS) -> None:
    """Raise DataflowError when `check_dataflow` finds anything."""
    differences = check_dataflow(compiled, executions=executions)
    if differences:
        raise DataflowError(compiled.name, differences)


def _has_conditional_parts(compiled: CompiledKernel) -> bool:
    sections = _sections(compiled)
    names = [section.name for section in sections]
    return any(section.target in names[place + 1 :] for place, section in enumerate(sections))


def _sections(compiled: CompiledKernel) -> list[Section]:
    return [scheduled.section for scheduled in compiled.sections]


def _operations(section: Section) -> Iterable[Operation]:
    return [*section.operations, *([section.branch] if section.branch is not None else [])]


def _loop_counts(sections: Sequence[Section], code: Code) -> dict[Section, int]:
    """What the code sets its loop counter to for each hardware loop."""
    counts = {}
    for section in sections:
        if section.loop is not None and section.count is not None:
            values = code.constants_of(code.names[section.count].number)
            if values:
                counts[section] = max(values)
    return counts


def _arguments(compiled: CompiledKernel, names: Names) -> dict[VirtualRegister, Register]:
    """The registers in which the caller passes pointers (p0, …) and integers (r0, …)."""
    table = instruction_table().registers
    found = {
        array.base: table[f"p{compiled.arguments.index(array.name)}"]
        for array in compiled.arrays
        if array.base is not None
    }
    touched = {register for one in names.numbered for register, _ in (*one.reads, *one.writes)}
    integers = sorted((r for r in touched if isinstance(r, VirtualRegister) and r.file == "r"), key=lambda r: r.serial)
    for position, name in enumerate(compiled.scalars):
        register = next((r for r in integers if r.name == name and r not in found), None)
        if register is not None:
            found[register] = table[f"r{position}"]
    return found


def _overlaps(compiled: CompiledKernel) -> list[Difference]:
    """Arrays that share bytes: then the order of their accesses would matter, which is followed array by array."""
    arrays = sorted(compiled.arrays, key=lambda array: compiled.addresses[array.name])
    found = []
    for one, following in itertools.pairwise(arrays):
        end, start = compiled.addresses[one.name] + one.size, compiled.addresses[following.name]
        if end > start:
            found.append(
                Difference("memory", "", 0, f"array {following.name}", f"a start behind {end - 1:#x}", f"{start:#x}")
            )
    return found


def _unwritten(compiled: CompiledKernel, names: Names) -> list[Difference]:
    """Registers of the program that are read but neither written nor arguments: any value would pass for theirs."""
    known = {register for one in names.numbered for register, _ in one.writes} | _arguments(compiled, names).keys()
    found = {}
    for one in names.numbered:
        for register, _ in one.reads:
            if isinstance(register, VirtualRegister) and register not in known:
                found[register] = one.operation
    return [
        Difference("operand", repr(operation), operation.line, repr(register), "a value", "nothing that writes it")
        for register, operation in found.items()
    ]


def _kept_registers() -> list[Register]:
    """What the caller relies on: callee-saved registers, the stack pointer, and the control registers."""
    registers = instruction_table().registers.values()
    return [r for r in registers if r.name in CALLEE_SAVED or r.name == "SP" or r.file == "control"]


def _broken_promises(machine: MachineOrder) -> list[Difference]:
    """What the program in order already gets wrong: callee-saved registers and the stack pointer, bytes of others."""
    table = instruction_table().registers
    meaning = machine.meaning
    found = []
    for name in sorted(CALLEE_SAVED):
        leaf = table[name]
        token = meaning.origin(meaning.register(leaf))
        if token != on_entry(leaf):
            expected = meaning.names.describe(on_entry(leaf))
            found.append(Difference("end", "", 0, leaf.text, expected, meaning.names.describe(token)))
    for number, byte in meaning.strays.items():
        operation = meaning.names.numbered[number].operation
        where = machine.footprints.name(byte)
        found.append(
            Difference("memory", repr(operation), operation.line, "an address", "bytes of its own array", where)
        )
    if meaning.pointer:
        found.append(Difference("end", "", 0, "sp", "where it was on entry", f"{meaning.pointer:+d} bytes from there"))
    return found
