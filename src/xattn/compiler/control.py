"""Loops become sections: straight pieces of code with labels, hardware loops and counted branches between them.

The innermost loops use the core's zero-overhead loop (registers ls, le, lc); loops around them count down in a register
and branch; conditional parts are branched over. Each section is scheduled on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xattn.compiler.ir import (
    Block,
    Choice,
    Label,
    Location,
    Loop,
    Operation,
    Program,
    Reference,
    Region,
    VirtualRegister,
    When,
)
from xattn.compiler.language.recorder import constant_choices
from xattn.isa.table import instruction_table


@dataclass(eq=False)
class Section:
    """Code that is entered at its top and left at its bottom. `loop`: it is the whole body of a hardware loop."""

    name: str
    operations: list[Operation]
    loop: Loop | None = None
    count: Operation | None = None  # sets how often the hardware loop runs
    branch: Operation | None = None  # to `target`, after everything else
    target: str | None = None
    closes: Loop | None = None  # the loop around others whose end the branch is
    successors: list[Section] = field(default_factory=list)
    keeps: tuple[Location, ...] = ()  # what the caller finds after a return
    calls: int = 1  # how often it is entered, conditions aside

    def __repr__(self) -> str:
        return self.name

    @property
    def always_branches(self) -> bool:
        """Whether control never goes on to the section behind this one: it returns, or jumps whatever the data."""
        return self.branch is not None and "conditional" not in self.branch.opcode.flags


def to_sections(program: Program) -> list[Section]:
    """Lay the program out in sections, in order of address, and connect them."""
    builder = _Builder(program.name)
    builder.region(program.body)
    builder.current.branch = Operation((Choice(instruction_table().opcodes["RET"], {}),))
    sections = [s for s in builder.sections if s.operations or s.branch or s.loop or s.name in builder.targets]
    by_name = {section.name: section for section in sections}
    for section, following in zip(sections, [*sections[1:], None], strict=True):
        if following is not None and not section.always_branches:
            section.successors.append(following)
        if section.loop is not None:
            section.successors.append(section)
        if section.target is not None:
            section.successors.append(by_name[section.target])
    return sections


class _Builder:
    def __init__(self, name: str) -> None:
        self.current = Section(name, [])
        self.sections = [self.current]
        self.targets: set[str] = set()
        self.count = 0
        self.calls = 1  # trips of the loops around

    def _start(self, name: str, loop: Loop | None = None) -> Section:
        self.current = Section(name, [], loop, calls=self.calls)
        self.sections.append(self.current)
        return self.current

    def _name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def region(self, items: Region) -> None:
        """Lay out blocks, loops and conditional parts in order."""
        for item in items:
            if isinstance(item, Block):
                self.current.operations.extend(item.operations)
            elif isinstance(item, When):
                self._conditional(item)
            elif item.is_innermost:
                self._hardware_loop(item)
            else:
                self._counted_loop(item)

    def _conditional(self, item: When) -> None:
        opcodes = instruction_table().opcodes
        after = self._name("unless")
        operands: dict[str, Reference] = {"mRx": item.condition, "cpmaddr": Label(after)}
        self._branch(Operation((Choice(opcodes["JZ"], operands),), origin=item.origin), after)
        self._start(self._name("when"))
        self.region(item.body)
        if item.otherwise:
            done = self._name("done")
            jump = Operation((Choice(opcodes["J_jump_imm"], {"cpmaddr": Label(done)}),), origin=item.origin)
            self._branch(jump, done)
            self._start(after)
            self.region(item.otherwise)
            after = done
        self._start(after)

    def _branch(self, branch: Operation, target: str) -> None:
        """End the present section in a branch ahead."""
        self.current.branch, self.current.target = branch, target
        self.targets.add(target)

    def _hardware_loop(self, loop: Loop) -> None:
        body = loop.body[0]
        assert isinstance(body, Block)
        name = self._name("loop")
        table = instruction_table()
        # le first: it is the last to be needed, and the distance from these writes to the loop's end is checked later
        for register, value in (("LS", Label(name)), ("LE", Label(f"{name}.end"))):
            operands: dict[str, Reference] = {"mMvSclDstCg": table.registers[register], "i": value}
            self._add(Operation((Choice(table.opcodes["MOVXM_lng_cg"], operands),), origin=loop.origin))
        count = Operation(constant_choices(table.registers["LC"], loop.trips), origin=loop.origin)
        self._add(count)
        section = self._start(name, loop)
        section.count = count
        section.operations = list(body.operations)
        self._start(self._name("after"))

    def _counted_loop(self, loop: Loop) -> None:
        counter = VirtualRegister("r", f"count of {loop.name}")
        self._add(Operation(constant_choices(counter, loop.trips), origin=loop.origin))
        name = self._name("around")
        self.targets.add(name)
        self.calls *= loop.trips
        self._start(name)
        self.region(loop.body)
        self.calls //= loop.trips
        table = instruction_table().opcodes
        decrement = (
            Choice(table["ADD_add_r_ri"], {"mRx": counter, "mRx0": counter, "c7s": -1}),
            Choice(table["ADD_NC"], {"dst": counter, "s0": counter, "imm": -1}),
        )
        self._add(Operation(decrement, origin=loop.origin))
        branch: dict[str, Reference] = {"mRx": counter, "cpmaddr": Label(name)}
        self.current.branch = Operation((Choice(table["JNZ"], branch),), origin=loop.origin)
        self.current.target, self.current.closes = name, loop
        self._start(self._name("after"))

    def _add(self, operation: Operation) -> None:
        self.current.operations.append(operation)
