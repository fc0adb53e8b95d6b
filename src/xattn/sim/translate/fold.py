"""Constant folding of scalar lane expressions: what a translator knows beforehand of addresses, modes and loop ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from xattn.isa.semantics.lanes import Value

Known = Callable[[Value], "int | None"]

_FOLDED: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << min(b, 64),
    "lshr": lambda a, b: a >> min(b, 64),
    "umin": min,
    "umax": max,
}
_LEAVES = ("operand", "register", "immediate", "load", "parameter")


@lru_cache(maxsize=65536)
def is_foldable(value: Value) -> bool:
    """Whether `folded` can give a number for a value, if its leaves are known."""
    if value.lanes != 1 or value.bits > 64 or value.op == "load":
        return False
    if value.op == "const" or value.op in _LEAVES:
        return True
    return (value.op in _FOLDED or value.op in ("zext", "sext", "trunc", "cast")) and all(map(is_foldable, value.args))


def folded(value: Value, known: Known) -> int | None:
    """The number of a foldable value, where all leaves that it depends on are `known`; else None."""
    if value.op in _LEAVES:
        return known(value)
    if value.op == "const":
        return value.data if isinstance(value.data, int) else int(value.data[0])
    numbers = []
    for argument in value.args:
        number = folded(argument, known)
        if number is None:
            return None
        numbers.append(number)
    mask = (1 << value.bits) - 1
    if value.op == "sext":
        sign = 1 << (value.args[0].bits - 1)
        return ((numbers[0] ^ sign) - sign) & mask
    if value.op in _FOLDED:
        return _FOLDED[value.op](*numbers) & mask
    return numbers[0] & mask
