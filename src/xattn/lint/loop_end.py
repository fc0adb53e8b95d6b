"""Part-word stores in the last bundle of a hardware loop, which the core may drop when it goes back to the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xattn.isa.codec import Bundle, Instruction
from xattn.lint.code import Function, written
from xattn.lint.finding import Found
from xattn.lint.programs import core_programs, names_of, object_program
from xattn.lint.subject import Subject

LOOP_END = "LE"


def part_word_stores(subject: Subject) -> Iterator[Found]:
    """st.s8 and st.s16 in the bundle that a constant in le names."""
    for program in core_programs(subject):
        names = {address: name for address, name in program.names.items() if not name.startswith(".")}
        yield from _in_functions(program.where, program.functions(), names)
    for named in subject.objects:
        for image in named.content:
            code = object_program(image)
            names = {address: name for name, address in code.functions.items()} or names_of(image)
            for start in code.functions.values():
                yield from _in_functions(named.name, code.graph(start), names)


def _in_functions(where: str, graph: Mapping[int, Function], names: Mapping[int, str]) -> Iterator[Found]:
    for start, function in graph.items():
        for address, store in _stores_at_ends(function.bundles):
            inside = names.get(start, f"{start:#x}")
            yield Found(
                f"{where}, {address:#x}",
                f"{store.opcode.mnemonic} in {inside} stands in the last bundle of a hardware loop: the core may drop "
                "it when the loop goes back, and a value is lost in all turns but the last; move the store up by a "
                "bundle, or put a nop behind it",
            )


def _stores_at_ends(bundles: Mapping[int, Bundle]) -> Iterator[tuple[int, Instruction]]:
    ends = {
        value
        for bundle in bundles.values()
        for instruction in bundle.operations
        if LOOP_END in written(instruction)
        for value in instruction.values
        if isinstance(value, int)
    }
    for address in sorted(ends & bundles.keys()):
        for instruction in bundles[address].operations:
            memory = instruction.opcode.memory
            if memory is not None and memory.kind == "rmw_store":
                yield address, instruction
