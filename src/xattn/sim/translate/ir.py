"""Text of LLVM IR: names, types, constants, and the few shapes of instruction that are needed again and again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


def integer_type(bits: int) -> str:
    """iBITS."""
    return f"i{bits}"


def vector_type(count: int, bits: int) -> str:
    """<COUNT x iBITS>."""
    return f"<{count} x i{bits}>"


def constant(numbers: Sequence[int], bits: int) -> str:
    """A constant vector of unsigned numbers."""
    return _constant(tuple(numbers), bits)


@lru_cache(maxsize=4096)
def _constant(numbers: tuple[int, ...], bits: int) -> str:
    if not any(numbers):
        return "zeroinitializer"
    if len(set(numbers)) == 1:
        return f"splat (i{bits} {'true' if bits == 1 else numbers[0]})"
    if bits == 1:
        return f"<{', '.join('i1 true' if n else 'i1 false' for n in numbers)}>"
    return f"<{', '.join(f'i{bits} {n}' for n in numbers)}>"


class Writer:
    """Lines of one function. `intrinsics` collects the declarations that they need, for the whole module."""

    def __init__(self, intrinsics: dict[str, str], features: frozenset[str] = frozenset(), prefix: str = "v"):
        self.lines: list[str] = []
        self.intrinsics, self.features = intrinsics, features
        self._prefix, self._count = prefix, 0

    def fresh(self) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"%{self._prefix}{self._count}"

    def line(self, text: str) -> str:
        """Add an instruction that gives a result; the result's name."""
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Add an instruction without a result."""
        self.lines.append(text)

    def intrinsic(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The text of a call of an intrinsic, which gets declared."""
        self.intrinsics[name] = f"declare {result} @{name}({', '.join(type_ for type_, _ in arguments)})"
        return f"call {result} @{name}({', '.join(f'{type_} {value}' for type_, value in arguments)})"

    def shuffled(self, name: str, type_: str, order: Sequence[int]) -> str:
        """Elements of one vector in another order, or some of them."""
        mask = f"{vector_type(len(order), 32)} {constant(order, 32)}"
        return self.line(f"shufflevector {type_} {name}, {type_} poison, {mask}")

    def repeated(self, name: str, type_: str, count: int) -> str:
        """A scalar in every element."""
        vector = f"<{count} x {type_}>"
        one = self.line(f"insertelement {vector} poison, {type_} {name}, i32 0")
        return self.line(f"shufflevector {vector} {one}, {vector} poison, {vector_type(count, 32)} zeroinitializer")

    def resized(self, name: str, before: int, after: int, *, zeros: bool = False) -> str:
        """A vector of bytes cut to its first `after`, or made longer with zeros (or with anything)."""
        if before == after:
            return name
        type_ = vector_type(before, 8)
        order = [min(k, before) if zeros else min(k, before - 1) for k in range(after)]
        other = "zeroinitializer" if zeros else "poison"
        mask = f"{vector_type(after, 32)} {constant(order, 32)}"
        return self.line(f"shufflevector {type_} {name}, {type_} {other}, {mask}")

    def joined(self, a: str, a_count: int, b: str, b_count: int, bits: int) -> tuple[str, int]:
        """Two vectors of elements of `bits` behind each other, and their elements together."""
        longest = max(a_count, b_count)
        a, b = (
            self.shuffled(name, vector_type(count, bits), [min(k, count - 1) for k in range(longest)])
            if count < longest
            else name
            for name, count in ((a, a_count), (b, b_count))
        )
        order = [*range(a_count), *range(longest, longest + b_count)]
        type_ = vector_type(longest, bits)
        mask = f"{vector_type(len(order), 32)} {constant(order, 32)}"
        return self.line(f"shufflevector {type_} {a}, {type_} {b}, {mask}"), len(order)
