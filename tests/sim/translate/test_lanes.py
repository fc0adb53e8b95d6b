"""Native code for lane expressions gives what the plain evaluator gives."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lane_evaluator import Evaluator, cut, join
from test_expressions import bits_of, expressions

from xattn.isa.semantics.lanes import Value, matmul, undefined

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

from xattn.sim.translate.ir import Writer
from xattn.sim.translate.lanes import LaneCode, UntranslatableError, type_of
from xattn.sim.translate.native import Code, compiled_object, cpu

TARGETS = [None, "x86-64", "x86-64-v3"]
SPACE = 4096  # bytes for each input and output


def function(value: Value, shapes: list[tuple[int, int]], target: str | None) -> Callable[[list[list[int]]], list[int]]:
    """Native code that computes the lanes of a value from inputs in memory."""
    chosen = cpu(target)
    declared: dict[str, str] = {}
    writer = Writer(declared, chosen.enabled)

    def load(leaf: Value) -> str:
        bits = leaf.lanes * leaf.bits
        place = writer.line(f"getelementptr i8, ptr %memory, i64 {SPACE * (1 + leaf.data)}")
        whole = writer.line(f"load i{bits}, ptr {place}, align 64")
        return writer.line(f"bitcast i{bits} {whole} to {type_of(leaf)}")

    def no_switch(code: LaneCode, node: Value) -> Any:
        raise AssertionError((code, node))

    code = LaneCode(writer, load, no_switch)
    name, bits = code.name(value), value.lanes * value.bits
    whole = writer.line(f"bitcast {type_of(value)} {name} to i{bits}")
    writer.do(f"store i{bits} {whole}, ptr %memory, align 64")
    body = "\n".join(writer.lines)
    text = "\n".join([*declared.values(), f"define void @f(ptr %memory) {{\n{body}\nret void\n}}"])
    loaded = Code(compiled_object(text, chosen), ("f",))

    def run(inputs: list[list[int]]) -> list[int]:
        memory = np.zeros(SPACE * (1 + len(shapes)) + 64, np.uint8)
        start = -memory.ctypes.data % 64
        for k, (numbers, (lanes, width)) in enumerate(zip(inputs, shapes, strict=True)):
            size = -(-lanes * width // 8)
            data = join(numbers, width).to_bytes(size, "little")
            at = start + SPACE * (1 + k)
            memory[at : at + size] = np.frombuffer(data, np.uint8)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("f"))(memory.ctypes.data + start)
        result = int.from_bytes(memory[start : start + -(-bits // 8)].tobytes(), "little")
        return cut(result, value.bits, value.lanes)

    return run


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expressions(), st.sampled_from(TARGETS), st.data())
def test_native_code_and_evaluator_agree(
    made: tuple[list[tuple[int, int]], Value], target: str | None, data: st.DataObject
) -> None:
    shapes, value = made
    inputs = [cut(data.draw(bits_of(count * bits)), bits, count) for count, bits in shapes]
    assert function(value, shapes, target)(inputs) == Evaluator(parameters=inputs).lanes(value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("x_signed", [False, True])
@pytest.mark.parametrize("y_signed", [False, True])
def test_byte_products(target: str | None, x_signed: bool, y_signed: bool) -> None:
    generator = np.random.default_rng(5)
    shapes = [(64, 8), (64, 8)]
    x, y = (Value("parameter", 64, 8, (), k) for k in range(2))
    wide = [v.sext(32) if signed else v.zext(32) for v, signed in ((x, x_signed), (y, y_signed))]
    value = matmul(wide[0].part(0, 32), wide[1], 4, 8, 8)
    corners = [[0x80] * 64, [0x7F] * 64, [0xFF] * 64, [0] * 64]
    chosen = [(a, b) for a in corners for b in corners] if target is None else []
    chosen += [generator.integers(0, 256, (2, 64)).tolist() for _ in range(3)]
    product = function(value, shapes, target)
    for inputs in chosen:
        assert product(list(inputs)) == Evaluator(parameters=list(inputs)).lanes(value)


@pytest.mark.parametrize("op", ["shl", "lshr", "ashr"])
@pytest.mark.parametrize("shape", [(1, 32), (1, 20), (1, 64), (4, 32), (16, 8), (8, 64), (4, 33)])
@pytest.mark.parametrize("per_lane", [False, True])
def test_shifts_by_the_width_and_more(op: str, shape: tuple[int, int], per_lane: bool) -> None:
    lanes, bits = shape
    amounts = (lanes, 8) if per_lane else (1, 8)
    x, amount = Value("parameter", lanes, bits, (), 0), Value("parameter", *amounts, (), 1)
    value = getattr(x, op)(amount)
    numbers = [(0x9E3779B97F4A7C15 * (k + 3)) % (1 << bits) | 1 << bits - 1 for k in range(lanes)]
    shifted = function(value, [shape, amounts], None)
    for by in (0, 1, bits - 1, bits, bits + 1, 2 * bits, 255):
        inputs = [numbers, [(by + 3 * k) % 256 for k in range(amounts[0])]]
        assert shifted(inputs) == Evaluator(parameters=inputs).lanes(value), by


def test_what_nothing_defines_is_not_translated() -> None:
    with pytest.raises(UntranslatableError, match="nobody knows"):
        function(undefined(4, 8, "nobody knows"), [], None)


def test_what_no_code_can_be_made_for_is_told() -> None:
    raw = Value("parameter", 1, 512, (), 0)
    with pytest.raises(TypeError, match="cut or widen it first"):
        function(raw + raw, [(1, 512)], None)
