"""The calls of kernels in core programs, and the integers that go with them.

A kernel is what a function calls that works with locks: there the buffers are waited for and handed on. Integers go to
r0, r1, …; one counts as known where the same stretch of code, up to the call's delay slots, puts a constant there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xattn.isa.codec import Bundle
from xattn.isa.timing import DELAY_SLOTS
from xattn.lint.code import Function, written
from xattn.lint.programs import CoreProgram
from xattn.sim.core import INTEGER_REGISTERS

_MOVES = frozenset({"mov", "mova", "movx", "movxm"})


@dataclass(frozen=True)
class KernelCall:
    """A call at `address` of the function at `target`, and the constants in r0, r1, … (None: not known)."""

    address: int
    target: int
    integers: tuple[int | None, ...]


def kernel_calls(program: CoreProgram) -> Iterator[KernelCall]:
    """Every call of a kernel in a program; calls of a compiler's helpers (`__divsi3`, …) are none."""
    for function in program.functions().values():
        if not any("lock" in i.opcode.flags for bundle in function.bundles.values() for i in bundle.operations):
            continue
        for call in function.calls:
            if call.target is not None and not program.names.get(call.target, "").startswith("__"):
                stretch = list(_stretch(function, call.address))
                integers = tuple(_constant(stretch, name) for name in INTEGER_REGISTERS)
                yield KernelCall(call.address, call.target, integers)


def _stretch(function: Function, call: int) -> Iterator[Bundle]:
    """The bundles that are executed before the call is taken, last first, as far as no other way leads there."""
    addresses = sorted(function.bundles)
    position = addresses.index(call)
    targets = {
        value
        for bundle in function.bundles.values()
        for i in bundle.operations
        if i.opcode.is_branch
        for value in i.values
        if isinstance(value, int)
    }
    for address in reversed(addresses[: position + DELAY_SLOTS + 1]):
        bundle = function.bundles[address]
        branches = any(i.opcode.is_branch for i in bundle.operations)
        if branches and address != call:
            return
        yield bundle
        if address in targets:
            return


def _constant(stretch: list[Bundle], register: str) -> int | None:
    for bundle in stretch:
        for instruction in bundle.operations:
            if register in written(instruction):
                value = instruction.values[-1]
                plain = instruction.opcode.mnemonic in _MOVES and isinstance(value, int)
                return value if plain and isinstance(value, int) else None
    return None
