"""What a lint wants to know of an MLIR design's text: cores with their stack, object and calls; device; tiles; time.

Only these lines are read, in the forms that mlir-aie has had since 2024; the rest of the text is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DEFAULT_STACK_BYTES = 0x400  # what mlir-aie gives a core that says nothing

_TILE = re.compile(r"(%\w+) = aie\.tile\((\d+), (\d+)\)")
_CORE = re.compile(r"aie\.core\((%\w+)[^)]*\)[^{]*\{")
_CALL = re.compile(r"\bcall @([\w.$]+)\(([^)]*)\)")
_CONSTANT = re.compile(r"(%\w+) = arith\.constant (-?\w+) : i32")
_DEVICE = re.compile(r"aie\.device\((\w+)\)")
_FUNCTION = re.compile(r"func\.func private @([\w.$]+)\([^)]*\)([^\n]*)")
_LINK = re.compile(r'link_with\s*=\s*"([^"]+)"')
_STACK = re.compile(r"stack_size\s*=\s*(\d+)")


@dataclass(frozen=True)
class MlirCall:
    """A call of a kernel: its name, and its integer arguments that are constants, in order (None: computed)."""

    function: str
    integers: tuple[int | None, ...]


@dataclass(frozen=True)
class MlirCore:
    """A core of the design."""

    column: int
    row: int
    calls: tuple[MlirCall, ...]
    stack_bytes: int
    states_stack: bool
    link_with: str | None


@dataclass(frozen=True)
class MlirText:
    """The design. `functions`: kernel to the object that it is said to come from, if the function says it."""

    device: str
    tiles: tuple[tuple[int, int], ...]
    cores: tuple[MlirCore, ...]
    functions: dict[str, str | None]
    old_sequence: bool  # aiex.runtime_sequence, as until 2025

    def object_of(self, core: MlirCore, function: str) -> str | None:
        """The object in which a core's kernel is looked for."""
        return self.functions.get(function) or core.link_with


def read_mlir(text: str) -> MlirText | None:
    """The design in a text; None when there is no aie.device in it."""
    text = re.sub(r"//[^\n]*", "", text)
    device = _DEVICE.search(text)
    if device is None:
        return None
    tiles = {name: (int(column), int(row)) for name, column, row in _TILE.findall(text)}
    functions: dict[str, str | None] = {}
    for name, rest in _FUNCTION.findall(text):
        link = _LINK.search(rest)
        functions[name] = link[1] if link else None
    cores = tuple(_cores(text, tiles))
    return MlirText(device[1], tuple(sorted(set(tiles.values()))), cores, functions, "aiex.runtime_sequence" in text)


def _cores(text: str, tiles: dict[str, tuple[int, int]]) -> Iterator[MlirCore]:
    for found in _CORE.finditer(text):
        if found[1] not in tiles:
            continue
        end = _closing(text, found.end())
        body = text[found.end() : end]
        attributes = re.match(r"\}\s*\{([^}]*)\}", text[end:])
        said = attributes[1] if attributes else ""
        stack, link = _STACK.search(said), _LINK.search(said)
        size = int(stack[1]) if stack else DEFAULT_STACK_BYTES
        constants = {name: int(value, 0) for name, value in _CONSTANT.findall(body) if _is_number(value)}
        calls = tuple(_call(name, arguments, constants) for name, arguments in _CALL.findall(body))
        yield MlirCore(*tiles[found[1]], calls, size, stack is not None, link[1] if link else None)


def _call(name: str, arguments: str, constants: dict[str, int]) -> MlirCall:
    """A pointer argument is no i32 constant either; those before the first constant are taken for pointers."""
    values = [constants.get(argument.strip()) for argument in arguments.split(",")]
    while values and values[0] is None:
        values.pop(0)
    return MlirCall(name, tuple(values))


def _is_number(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


def _closing(text: str, start: int) -> int:
    """The place of the brace that closes what is open at `start`, or the end."""
    depth = 1
    for match in re.finditer(r"[{}]", text[start:]):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return start + match.start()
    return len(text)
