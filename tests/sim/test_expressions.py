"""The NumPy code made from lane expressions computes what the plain evaluator does, for any expression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lane_evaluator import Evaluator, cut, join

from xattn.isa.semantics.lanes import Switch, Value, by_value, concat, const, matmul, select, splat, undefined
from xattn.sim.expressions import case_function, held_as

SHAPES = [(1, 32), (1, 20), (1, 6), (1, 1), (1, 64), (16, 32), (8, 64), (64, 8), (32, 16), (32, 1), (64, 1), (1, 512)]
SHAPES += [(16, 4), (4, 128), (4, 33)]
BINARY = ["__add__", "__sub__", "__mul__", "__and__", "__or__", "__xor__", "smin", "smax", "umin", "umax"]
COMPARE = ["eq", "ne", "slt", "sle", "ult", "ule"]


@st.composite
def expressions(draw: st.DrawFn) -> tuple[list[tuple[int, int]], Value]:
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=2, max_size=4))
    pool = [Value("parameter", *shape, (), k) for k, shape in enumerate(shapes)]
    for _ in range(draw(st.integers(1, 12))):
        made = draw(st.sampled_from(STEPS))(draw, pool)
        if made is not None:
            pool.append(made)
    return shapes, pool[-1]


def a_value(draw: Any, pool: list[Value], wanted: Any = lambda _: True) -> Value | None:
    fitting = [value for value in pool if wanted(value)]
    return draw(st.sampled_from(fitting)) if fitting else None


def is_number(value: Value) -> bool:
    return value.bits > 1 and held_as(value) in ("int", "array")


def like(draw: Any, pool: list[Value], value: Value) -> Value:
    other = a_value(draw, pool, lambda v: v.shape == value.shape)
    if other is None or draw(st.booleans()):
        return const(draw(st.integers(0, (1 << value.bits) - 1)), value.bits, value.lanes)
    return other


def binary(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, is_number)
    return value and getattr(value, draw(st.sampled_from(BINARY)))(like(draw, pool, value))


def compare(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, is_number)
    return value and getattr(value, draw(st.sampled_from(COMPARE)))(like(draw, pool, value))


def bitwise(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool)
    assert value is not None
    if draw(st.booleans()):
        return ~value
    return getattr(value, draw(st.sampled_from(["__and__", "__or__", "__xor__"])))(like(draw, pool, value))


def shift(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, is_number)
    if value is None:
        return None
    amount = (
        a_value(draw, pool, lambda v: is_number(v) and v.lanes in (1, value.lanes)) if draw(st.booleans()) else None
    )
    return getattr(value, draw(st.sampled_from(["shl", "lshr", "ashr"])))(amount or draw(st.integers(0, 70)))


def choice(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool)
    assert value is not None
    condition = a_value(draw, pool, lambda v: v.bits == 1 and v.lanes in (1, value.lanes))
    return condition and select(condition, value, like(draw, pool, value))


def width(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, lambda v: held_as(v) in ("int", "array", "bool"))
    if value is None:
        return None
    sizes = [b for b in (1, 4, 8, 16, 20, 32, 33, 64) if b != value.bits]
    bits = draw(st.sampled_from(sizes))
    if bits < value.bits:
        return value.trunc(bits)
    return value.zext(bits) if draw(st.booleans()) else value.sext(bits)


def recut(draw: Any, pool: list[Value]) -> Value | None:
    exact = (1, 4, 8, 16, 32, 64)
    value = a_value(draw, pool, lambda v: v.lanes * v.bits in (32, 64, 128, 256, 512) and v.bits in (*exact, 128, 512))
    if value is None:
        return None
    total = value.lanes * value.bits
    sizes = [
        b for b in (*exact, total) if b <= total and (total // b > 1 or b == total) and not (b == 1 and total < 64)
    ]
    return value.cut(draw(st.sampled_from(sizes)))


def lanes(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, lambda v: v.lanes > 1)
    if value is None:
        return None
    if draw(st.booleans()):
        count = draw(st.sampled_from([2, 4, value.lanes]))
        start = draw(st.integers(0, max(0, value.lanes - count)))
        step = draw(st.sampled_from([0, 1, 2, 3]))
        return value.take([(start + step * k) % value.lanes for k in range(count)])
    index = a_value(draw, pool, lambda v: v.lanes == 1 and v.bits <= 64) if draw(st.booleans()) else None
    return value.lane(index or draw(st.integers(0, 2 * value.lanes)))


def insertion(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, lambda v: v.lanes > 1 and v.bits <= 64)
    lane = value and a_value(draw, pool, lambda v: v.shape == (1, value.bits))
    return value.insert(draw(st.integers(0, 100)), lane) if value and lane else None


def joining(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, lambda v: v.bits <= 128 and v.lanes <= 64)
    if value is None:
        return None
    if value.lanes == 1 and draw(st.booleans()):
        return splat(value, draw(st.sampled_from([2, 8])))
    other = a_value(draw, pool, lambda v: v.bits == value.bits)
    return concat(value, other) if other else None


def product(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, lambda v: is_number(v) and v.lanes in (16, 32, 64))
    if value is None:
        return None
    other = like(draw, pool, value)
    inner = {16: 4, 32: 4, 64: 8}[value.lanes]
    return matmul(value, other.part(0, inner * 4), value.lanes // inner, inner, 4)


def zeros(draw: Any, pool: list[Value]) -> Value | None:
    value = a_value(draw, pool, is_number)
    return value and value.clz()


STEPS = [
    binary,
    binary,
    compare,
    bitwise,
    shift,
    choice,
    width,
    width,
    recut,
    lanes,
    insertion,
    joining,
    product,
    zeros,
]


def as_held(value: Value, numbers: list[int]) -> Any:
    """Lanes as the generated code holds them."""
    held = held_as(value)
    if held == "int":
        return numbers[0]
    if held == "raw":
        return np.frombuffer(numbers[0].to_bytes(value.bits // 8, "little"), np.uint8)
    if held == "bool":
        return np.array(numbers, bool)
    if held == "wide":
        raw = b"".join(number.to_bytes(value.bits // 8, "little") for number in numbers)
        return np.frombuffer(raw, np.uint64).reshape(value.lanes, -1)
    size = next(size for size in (1, 2, 4, 8) if value.bits <= 8 * size)
    return np.array(numbers, f"u{size}")


def numbers_of(value: Value, held: Any) -> list[int]:
    if held_as(value) == "int":
        return [int(held)]
    if held_as(value) in ("raw", "wide"):
        return cut(int.from_bytes(np.ascontiguousarray(held).tobytes(), "little"), value.bits, value.lanes)
    return [int(number) for number in held]


def bits_of(size: int) -> st.SearchStrategy[int]:
    """Random bits, or all of them alike, or one."""
    ones = (1 << size) - 1
    return st.integers(0, ones) | st.sampled_from([0, ones, 1, 1 << size - 1, ones // 255 * 128, ones // 255 * 127])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expressions(), st.data())
def test_generated_code_and_evaluator_agree(made: tuple[list[tuple[int, int]], Value], data: st.DataObject) -> None:
    shapes, value = made
    switch = Switch(lambda *_: value, tuple(shapes))
    inputs = [cut(data.draw(bits_of(count * bits)), bits, count) for count, bits in shapes]
    held = [as_held(parameter, numbers) for parameter, numbers in zip(switch.parameters, inputs, strict=True)]
    before = [numbers_of(p, h) for p, h in zip(switch.parameters, held, strict=True)]
    (result,) = case_function(switch, 0)(None, *held)
    assert numbers_of(value, result) == Evaluator(parameters=inputs).lanes(value)
    assert before == [numbers_of(p, h) for p, h in zip(switch.parameters, held, strict=True)], "an input was changed"


def test_switches_choose_and_keep_their_cases() -> None:
    built: list[int] = []

    def build(number: int, a: Value) -> tuple[Value, Value]:
        built.append(number)
        return (a + number, a.zext(64)) if number else (a, a.zext(64))

    x = Value("parameter", 4, 32, (), 0)
    first, second = by_value(Value("parameter", 1, 8, (), 1), build, x)
    outer = Switch(lambda *_: first + second.trunc(32), ((4, 32), (1, 8)))
    function = case_function(outer, 0)
    lanes_ = np.array([1, 2, 3, 4], np.uint32)
    for _ in range(3):
        assert function(None, lanes_, 5)[0].tolist() == [7, 9, 11, 13]
    assert built.count(5) == 1


def test_undefined_results_are_reported_and_zero() -> None:
    said: list[str] = []

    class Site:
        def undefined_result(self, why: str) -> None:
            said.append(why)

    for shape in ((1, 8), (4, 8), (32, 1), (1, 128), (2, 128)):
        switch = Switch(lambda _, shape=shape: undefined(*shape, "nobody knows"), ())
        (result,) = case_function(switch, 0)(Site())
        assert not np.any(result)
    assert said == ["nobody knows"] * 5


def test_what_no_code_can_be_made_for_is_told() -> None:
    raw = Value("parameter", 1, 512, (), 0)
    with pytest.raises(TypeError, match="cut it into lanes first"):
        case_function(Switch(lambda _, a: a + a, ((1, 512),)), 0)
    assert join(cut(5, 8, 64), 8) == 5 and raw.cut(8).lanes == 64


SCALAR, NIBBLES, LANES = (
    Value("parameter", 1, 32, (), 0),
    Value("parameter", 16, 4, (), 1),
    Value("parameter", 16, 32, (), 2),
)


@pytest.mark.parametrize(
    "value",
    [
        splat(SCALAR, 4) + splat(SCALAR, 4),
        splat(SCALAR, 4).smax(const(5, 32, 4)),
        NIBBLES.smin(NIBBLES),
        NIBBLES.smax(const(3, 4, 16)),
        LANES.lane(SCALAR.eq(SCALAR)),
        LANES.insert(SCALAR.eq(SCALAR), SCALAR),
        LANES.shl(SCALAR.ne(SCALAR)),
    ],
)
def test_expressions_that_need_care(value: Value) -> None:
    switch = Switch(lambda *_: value, ((1, 32), (16, 4), (16, 32)))
    inputs = [[0x80000001], list(range(16)), [k << 28 | k for k in range(16)]]
    held = [as_held(parameter, numbers) for parameter, numbers in zip(switch.parameters, inputs, strict=True)]
    (result,) = case_function(switch, 0)(None, *held)
    assert numbers_of(value, result) == Evaluator(parameters=inputs).lanes(value)
