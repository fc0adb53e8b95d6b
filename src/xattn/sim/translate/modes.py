"""Modes that are only known when the code runs: what it calls then, made one mode at a time when it is first met.

The code of a vector operation is made for one mode (a configuration word, a shuffle mode, a number of bytes). Where the
mode is not known beforehand, the code looks it up in a table of functions, and asks for one that is not there yet.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.cache import FileCache
from xattn.errors import XattnError
from xattn.isa.semantics.lanes import Switch, Value
from xattn.isa.semantics.meaning import meaning_of
from xattn.isa.table import instruction_table
from xattn.sim.accesses import roots
from xattn.sim.translate.ir import Writer
from xattn.sim.translate.lanes import LaneCode, type_of
from xattn.sim.translate.layout import RESOLVER, TABLE
from xattn.sim.translate.native import Code, Cpu, compiled_object

PLACES = 64  # of each choice in the table; modes that share one replace each other
NEVER = (1 << 64) - 1  # no mode
Choice = tuple[str, int]
"""What is chosen from: an opcode by name, and which of its choices."""


@lru_cache(maxsize=1024)
def choices_of(opcode: str) -> tuple[Value, ...]:
    """The `switch` nodes of an opcode's meaning."""
    found: dict[Value, None] = {}
    seen: set[Value] = set()
    waiting = roots(meaning_of(instruction_table().opcode(opcode)))
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            waiting.extend(value.args)
            if value.op == "switch":
                found[value] = None
    return tuple(found)


def result_types(switch: Switch) -> list[str]:
    """LLVM types of what a switch gives, whatever is chosen."""
    return [type_of(value) for value in switch.case(0)]


def looked_up(code: LaneCode, node: Value, number: int, state: str, bad: str) -> list[str]:
    """The results of choice `number`, by the table of functions; `bad` is set where there is no function to call."""
    writer, inputs = code.writer, node.args[1:]
    given = f"{{{', '.join(map(type_of, inputs))}}}"
    types = result_types(node.data)
    made = f"{{{', '.join(types)}}}"
    source, target = writer.fresh(), writer.fresh()
    writer.lines[:0] = [f"{source} = alloca {given}, align 64", f"{target} = alloca {made}, align 64"]
    line, do = writer.line, writer.do
    for k, value in enumerate(inputs):
        place = line(f"getelementptr {given}, ptr {source}, i32 0, i32 {k}")
        do(f"store {type_of(value)} {code.name(value)}, ptr {place}")
    mode, bits = code.name(node.args[0]), node.args[0].bits
    wide = mode if bits == 64 else line(f"zext i{bits} {mode} to i64")
    table = line(f"load ptr, ptr {line(f'getelementptr i8, ptr {state}, i64 {TABLE}')}")
    place = line(f"add i64 {line(f'and i64 {wide}, {PLACES - 1}')}, {number * PLACES}")
    entry = line(f"getelementptr {{i64, ptr}}, ptr {table}, i64 {place}")
    held = line(f"load i64, ptr {entry}")
    function_place = line(f"getelementptr {{i64, ptr}}, ptr {entry}, i32 0, i32 1")
    label = writer.fresh()[1:]
    do(f"br i1 {line(f'icmp eq i64 {held}, {wide}')}, label %{label}.call, label %{label}.ask")
    do(f"{label}.ask:")
    resolver = line(f"load ptr, ptr {line(f'getelementptr i8, ptr {state}, i64 {RESOLVER}')}")
    asked = line(f"call ptr {resolver}(i64 {number}, i64 {wide})")
    do(f"br i1 {line(f'icmp eq ptr {asked}, null')}, label %{label}.none, label %{label}.got")
    do(f"{label}.got:")
    do(f"store i64 {wide}, ptr {entry}")
    do(f"store ptr {asked}, ptr {function_place}")
    do(f"br label %{label}.call")
    do(f"{label}.call:")
    do(f"call void {line(f'load ptr, ptr {function_place}')}(ptr {source}, ptr {target})")
    do(f"br label %{label}.on")
    do(f"{label}.none:")
    do(f"store {made} zeroinitializer, ptr {target}")
    do(f"store i32 1, ptr {bad}")
    do(f"br label %{label}.on")
    do(f"{label}.on:")
    return [
        line(f"load {type_}, ptr {line(f'getelementptr {made}, ptr {target}, i32 0, i32 {k}')}")
        for k, type_ in enumerate(types)
    ]


def case_text(switch: Switch, number: int, cpu: Cpu) -> str:
    """The module of the function for one mode: void case(inputs, results)."""
    declared: dict[str, str] = {}
    writer = Writer(declared, cpu.enabled)
    given = f"{{{', '.join(map(type_of, switch.parameters))}}}"
    made = f"{{{', '.join(result_types(switch))}}}"

    def leaf(value: Value) -> str:
        place = writer.line(f"getelementptr {given}, ptr %in, i32 0, i32 {value.data}")
        return writer.line(f"load {type_of(value)}, ptr {place}")

    code = LaneCode(writer, leaf, _no_choice)
    for k, value in enumerate(switch.case(number)):
        name = code.name(value)
        place = writer.line(f"getelementptr {made}, ptr %out, i32 0, i32 {k}")
        writer.do(f"store {type_of(value)} {name}, ptr {place}")
    body = "\n".join(writer.lines)
    return "\n".join(
        [*declared.values(), f"define void @case(ptr noalias %in, ptr noalias %out) {{\n{body}\nret void\n}}"]
    )


def _no_choice(code: LaneCode, node: Value) -> Sequence[str]:
    raise TypeError(f"a choice within a choice: {node} {code}")


class Modes:
    """The table of functions of one translation, and what makes them."""

    def __init__(self, choices: Sequence[Choice], cpu: Cpu, files: FileCache):
        self.choices, self.cpu, self.files = choices, cpu, files
        self.table: NDArray[np.uint64] = np.full((max(1, len(choices)) * PLACES, 2), NEVER, np.uint64)
        self.why_not = ""
        self._codes: dict[tuple[int, int], Code] = {}
        self._callback: Any = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)(self._resolve)

    @property
    def resolver(self) -> int:
        """The address of the function that the code asks."""
        return int(ctypes.cast(self._callback, ctypes.c_void_p).value or 0)

    def _resolve(self, choice: int, number: int) -> int:
        try:
            if (choice, number) not in self._codes:
                opcode, position = self.choices[choice]
                switch = choices_of(opcode)[position].data
                self._codes[choice, number] = self._made(case_text(switch, number, self.cpu))
            return self._codes[choice, number].address("case")
        except XattnError as error:  # an undefined or unknown mode: the interpreter says what is wrong
            self.why_not = str(error)
            return 0

    def _made(self, text: str) -> Code:
        key = hashlib.sha256(f"{text}\n{self.cpu.key}".encode()).hexdigest()
        return Code(self.files.kept(key, lambda: compiled_object(text, self.cpu)), ("case",))
