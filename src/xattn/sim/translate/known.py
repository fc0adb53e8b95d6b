"""What is known beforehand of a program's numbers, and the pipeline's domain of known numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from xattn.isa.model import Register
from xattn.isa.semantics.lanes import Value
from xattn.sim.accesses import leaves
from xattn.sim.stages import leaf_key
from xattn.sim.state import storage_index
from xattn.sim.translate.fold import folded, is_foldable
from xattn.sim.translate.operations import Operation, Output

Entry = str
"""The number that a register held when the run began, whatever it was: the register's index, as text."""
Number = int | Entry | None  # None: not known


@dataclass
class Known:
    """What is known when a node is reached: numbers of registers and symbols, and which functions may be running."""

    numbers: dict[int, int | Entry]
    symbols: list[Number]
    functions: frozenset[int]

    def merged(self, other: Known) -> Known | None:
        """What is known whichever way was taken; None when that is nothing new."""
        less = not self.numbers.items() <= other.numbers.items()
        if not less and self.symbols == other.symbols and other.functions <= self.functions:
            return None
        numbers = dict(self.numbers.items() & other.numbers.items()) if less else self.numbers
        symbols = [a if a == b else None for a, b in zip(self.symbols, other.symbols, strict=True)]
        functions = self.functions | other.functions
        if not less and symbols == self.symbols and functions == self.functions:
            return None
        return Known(numbers, symbols, functions)


class Follows(Protocol):
    """What explores a program."""

    followed: frozenset[int]
    """Scalar registers whose numbers are followed."""

    def return_address(self, address: int) -> int | None:
        """The address behind the delay slots that follow a bundle."""


class KnownNumbers:
    """The pipeline's domain while exploring: symbols are known numbers."""

    def __init__(self, follows: Follows, numbers: dict[int, int | Entry], address: int):
        self.follows, self.numbers, self.address = follows, numbers, address
        self.needed: set[int] = set()  # registers whose first number chooses a mode

    def leaf(self, operation: Operation, leaf: Value, kept: Mapping[Value, Number]) -> Number:
        """The number of a leaf in the cycle in which it is read."""
        if leaf in kept:
            return kept[leaf]
        if leaf.op == "immediate":
            return operation.immediate(leaf.data)
        if leaf.op == "register" and leaf.data == "return address":
            return self.follows.return_address(self.address)
        if leaf.op in ("load", "parameter"):
            return None
        register = operation.register(leaf_key(leaf))
        index = storage_index().get(register.name)
        return None if index is None else self.numbers.get(index)

    def number(self, operation: Operation, value: Value, kept: Mapping[Value, Number]) -> Number:
        """The number of a value."""
        if value in kept:
            return kept[value]
        if not value.args and value.op != "const":
            return self.leaf(operation, value, kept)
        if not is_foldable(value):
            return None

        def known(leaf: Value) -> int | None:
            found = self.leaf(operation, leaf, kept)
            return found if isinstance(found, int) else None

        return folded(value, known)

    def addresses(self, operation: Operation) -> list[Number]:
        """Not followed."""
        return [None] * len(operation.effects.loads)

    def load(self, size: int, address: Number) -> Number:
        """Not followed."""
        del size, address
        return None

    def outputs(
        self, operation: Operation, stage: int, kept: Sequence[Number], loaded: Sequence[Number]
    ) -> dict[Output, Number]:
        """The numbers of what is written to scalar registers, handed on, and branched to."""
        del loaded
        stages, found = operation.stages, _Outputs()
        known = dict(zip(stages.carried_into(stage), kept, strict=True))
        for selector in operation.selectors:
            for leaf in selector_leaves(selector):
                if stages.stage_of(leaf) == stage and isinstance(entry := self.leaf(operation, leaf, known), str):
                    self.needed.add(int(entry))
        if stages.following(stage) is not None:
            for k, value in enumerate(stages.needed_later(stage)):
                found[Output("kept", k)] = self.number(operation, value, known)
        for k, landing in enumerate(stages.landings(stage)):
            if landing.spot.kind == "scalar" and operation.indices(landing.key)[0] in self.follows.followed:
                number = self.number(operation, landing.write.value, known)
                if isinstance(number, int):
                    number &= (1 << landing.spot.bits) - 1
                found[Output("landing", k)] = number
        if stage == 1 and operation.effects.branch:
            found[Output("target")] = self.number(operation, operation.effects.branch.target, known)
        return found

    def land_scalar(self, index: int, sticky: bool, value: Number) -> None:
        """Remember or forget."""
        if sticky or value is None:
            self.numbers.pop(index, None)
        elif index in self.follows.followed:
            self.numbers[index] = value

    def land_vector(self, register: Register, bypassed: bool, value: Number) -> None:
        """Not followed."""

    def store(self, size: int, address: Number, value: Number) -> None:
        """Not followed."""

    def read_word(self, address: Number) -> Number:
        """Not followed."""
        del address
        return None

    def store_part(self, size: int, address: Number, old: Number, value: Number) -> None:
        """Not followed."""

    def lock(self, condition: Number) -> None:
        """Not followed."""

    def signal(self, value: Number) -> None:
        """Not followed."""


class _Outputs(dict[Output, Number]):
    def __missing__(self, output: Output) -> Number:
        return None


@lru_cache(maxsize=8192)
def selector_leaves(selector: Value) -> tuple[Value, ...]:
    """The registers that a mode is made of."""
    return tuple(leaf for leaf in leaves([selector]) if leaf.op in ("operand", "register"))
