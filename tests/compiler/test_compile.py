"""Kernels written in the language compute what Python computes: the compiler from end to end, on the simulator."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language_cases import run

from xattn.compiler import compile as compile_module
from xattn.compiler.allocate import CALLEE_SAVED
from xattn.compiler.compile import compile_kernel
from xattn.compiler.language import (
    Kernel,
    VectorType,
    clamp,
    divide,
    int8,
    int16,
    int32,
    maximum,
    minimum,
    product,
    select,
    uint8,
)
from xattn.compiler.limits import OutOfRegistersError, ProgramTooLargeError
from xattn.compiler.scheduled import PipelinedLoop
from xattn.errors import InputError, XattnError

RNG = np.random.default_rng(5)
slow_compile = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])


def numbers(shape: tuple[int, ...], dtype: type = np.int8) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("unroll", [1, 2, 4, 8])
def test_loop_over_elements(unroll: int) -> None:
    a, b = numbers((64,)), numbers((64,))

    def kernel(k: Kernel) -> None:
        x, y, out = k.argument("x", int8, (64,)), k.argument("y", int8, (64,)), k.argument("out", int32, (64,))
        for i in k.loop(64, unroll=unroll):
            out[i] = x[i] * y[i] - 3

    found, _, _ = run(kernel, {"x": a, "y": b}, "out", np.zeros(64, np.int32))
    np.testing.assert_array_equal(found, a.astype(np.int32) * b - 3)


def test_nested_loops_with_strides_that_need_modifiers() -> None:
    a, b = numbers((12, 20)), numbers((20, 9))

    def kernel(k: Kernel) -> None:
        x, y = k.argument("x", int8, (12, 20)), k.argument("y", int8, (20, 9))
        out = k.argument("out", int32, (12, 9))
        for i in k.loop(12):
            for j in k.loop(9):
                total = k.variable(0)
                for c in k.loop(20, unroll=4):
                    total += x[i, c] * y[c, j]
                out[i, j] = total

    found, _, _ = run(kernel, {"x": a, "y": b}, "out", np.zeros((12, 9), np.int32))
    np.testing.assert_array_equal(found, a.astype(np.int32) @ b.astype(np.int32))


def test_grid_walks_memory_in_two_dimensions() -> None:
    rows = numbers((4, 3, 32))

    def kernel(k: Kernel) -> None:
        block = VectorType(int8, 32)
        x, out = k.argument("x", block, (4, 3)), k.argument("out", block, (3, 5, 4))
        for i, j in k.grid(4, 3):
            out[j, 2, i] = x[i, j]

    found, _, _ = run(
        kernel, {"x": rows, "out": np.zeros((3, 5, 4, 32), np.int8)}, "out", np.zeros((3, 5, 4, 32), np.int8)
    )
    np.testing.assert_array_equal(found[:, 2], rows.transpose(1, 0, 2))
    assert not found[:, [0, 1, 3, 4]].any()


def test_scalar_operations() -> None:
    a = numbers((32,), np.int32) >> 8
    operations: list[tuple[Callable[..., object], Callable[[int], int]]] = [
        (lambda x: maximum(x, -7), lambda x: max(x, -7)),
        (lambda x: minimum(x, 9), lambda x: min(x, 9)),
        (lambda x: clamp(x, -128, 127), lambda x: min(max(x, -128), 127)),
        (lambda x: (x >> 3) + (x << 2), lambda x: (x >> 3) + (x << 2)),
        (lambda x: select(x > 100, 1, select(x <= -100, 2, 3)), lambda x: 1 if x > 100 else 2 if x <= -100 else 3),
        (lambda x: (x & 255) | 256, lambda x: (x & 255) | 256),
        (lambda x: -x + 1000, lambda x: -x + 1000),
        (lambda x: divide(x & 8191, k_seven, 13), lambda x: (x & 8191) // 7),
    ]
    k_seven: object = None

    def kernel(k: Kernel) -> None:
        nonlocal k_seven
        x, out = k.argument("x", int32, (32,)), k.argument("out", int32, (len(operations), 32))
        k_seven = k.variable(7)
        for i in k.loop(32):
            for row, (operation, _) in enumerate(operations):
                out[row, i] = operation(x[i])

    found, _, _ = run(kernel, {"x": a}, "out", np.zeros((len(operations), 32), np.int32))
    for row, (_, wanted) in enumerate(operations):
        assert found[row].tolist() == [wanted(int(x)) for x in a], row


@pytest.mark.parametrize(
    ("element", "dtype"), [(int8, np.int8), (uint8, np.uint8), (int16, np.int16), (int32, np.int32)]
)
def test_element_types_are_widened_and_narrowed(element: object, dtype: type) -> None:
    a = numbers((24,), dtype)

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", element, (24,)), k.argument("out", element, (24,))  # type: ignore[arg-type]
        for i in k.loop(24):
            out[i] = x[i] + 1

    found, _, _ = run(kernel, {"x": a}, "out", np.zeros(24, dtype))
    np.testing.assert_array_equal(found, (a.astype(np.int64) + 1).astype(dtype))


def test_table_is_looked_up_by_value() -> None:
    table, index = numbers((256,), np.uint8), numbers((40,), np.uint8)

    def kernel(k: Kernel) -> None:
        entries = k.constant("table", table, uint8)
        x, out = k.argument("x", uint8, (40,)), k.argument("out", uint8, (40,))
        for i in k.loop(40):
            out[i] = entries.at(x[i])

    found, _, _ = run(kernel, {"x": index}, "out", np.zeros(40, np.uint8))
    np.testing.assert_array_equal(found, table[index])


def test_block_products_accumulate_and_narrow() -> None:
    left, right = numbers((3, 4, 8)), numbers((3, 8, 8))

    def kernel(k: Kernel) -> None:
        x = k.argument("x", VectorType(int8, 32), (3,))
        y = k.argument("y", VectorType(int8, 64), (3,))
        out = k.argument("out", VectorType(int8, 32), (1,))
        k.set_control("crSat", 1)
        total = k.accumulator()
        total.set(product(x[0], y[0]))
        total += product(x[1], y[1])
        total += product(x[2], y[2])
        out[0] = k.narrow(total, k.shift_amount(6), int8)
        k.set_control("crSat", 0)

    found, _, _ = run(kernel, {"x": left, "y": right}, "out", np.zeros((4, 8), np.int8))
    wanted = sum(a.astype(int) @ b.astype(int) for a, b in zip(left, right, strict=True)) >> 6
    np.testing.assert_array_equal(found, np.clip(wanted, -128, 127))


def test_values_carried_round_a_pipelined_loop() -> None:
    a = numbers((96,))

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int8, (96,)), k.argument("out", int32, (2,))
        total, best = k.variable(0), k.variable(-1000)
        for i in k.loop(96, unroll=3):
            total += x[i]
            best.set(maximum(best, x[i]))
        out[0] = total
        out[1] = best

    found, _, _ = run(kernel, {"x": a}, "out", np.zeros(2, np.int32))
    assert found.tolist() == [int(a.sum()), int(a.max())]


@slow_compile
@given(st.data())
def test_random_expressions_equal_python(data: st.DataObject) -> None:
    """Random straight-line and looped scalar programs against the same Python on wrapped 32-bit integers."""
    trips = data.draw(st.sampled_from([1, 2, 3, 8]))
    program = data.draw(
        st.lists(
            st.tuples(st.sampled_from("+-*&|<>m"), st.integers(0, 7), st.integers(0, 7), st.integers(-40, 40)),
            min_size=1,
            max_size=14,
        )
    )
    source = RNG.integers(-100, 100, (trips, 4)).astype(np.int32)

    def wrap(x: int) -> int:
        return (x + (1 << 31)) % (1 << 32) - (1 << 31)

    def apply(values: list, choose: Callable, shift_left: Callable, shift_right: Callable) -> list:  # type: ignore[type-arg]
        for operation, i, j, constant in program:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append(
                {
                    "+": lambda a=a, b=b: a + b,
                    "-": lambda a=a, c=constant: a - c,
                    "*": lambda a=a, b=b: a * b,
                    "&": lambda a=a, b=b: a & b,
                    "|": lambda a=a, b=b: a | b,
                    "<": lambda a=a, c=constant: shift_left(a, c % 5),
                    ">": lambda a=a, c=constant: shift_right(a, c % 5),
                    "m": lambda a=a, b=b: choose(a, b),
                }[operation]()
            )
        return values

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int32, (trips, 4)), k.argument("out", int32, (trips, 1))
        for t in k.loop(trips):
            values = apply([x[t, i] for i in range(4)], maximum, lambda a, c: a << c, lambda a, c: a >> c)
            out[t, 0] = values[-1]

    found, _, _ = run(kernel, {"x": source}, "out", np.zeros((trips, 1), np.int32))
    for t in range(trips):
        values = [int(v) for v in source[t]]
        for operation, i, j, constant in program:
            a, b = values[i % len(values)], values[j % len(values)]
            result = {"+": a + b, "-": a - constant, "*": a * b, "&": a & b, "|": a | b, "m": max(a, b)}
            result |= {"<": a << constant % 5, ">": a >> constant % 5}
            values.append(wrap(result[operation]))
        assert int(found[t, 0]) == values[-1]


def test_callee_saved_registers_come_back() -> None:
    """A kernel that needs many registers gives the caller's back, and keeps its stack in bounds."""
    a = numbers((40,))

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int8, (40,)), k.argument("out", int32, (1,))
        values = [x[i] for i in range(28)]
        total = k.variable(0)
        for value in values:
            total += value
        for value in reversed(values):
            total += value * 3
        out[0] = total

    found, _, compiled = run(kernel, {"x": a}, "out", np.zeros(1, np.int32))
    assert found[0] == 4 * int(a[:28].sum())
    used = {r.name for bundle in compiled.bundles for i in bundle.operations for r in i.values if hasattr(r, "name")}
    assert used & CALLEE_SAVED and compiled.stack_bytes >= 4 * len(used & CALLEE_SAVED)


def test_the_loop_that_is_called_least_gives_way_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(k: Kernel) -> None:
        x, y, out = k.argument("x", int32, (8, 64)), k.argument("y", int32, (64,)), k.argument("out", int32, (9, 64))
        for i in k.loop(64, name="once"):
            out[8, i] = y[i] * 3
        for j in k.loop(8, name="around"):
            for i in k.loop(64, name="often"):
                out[j, i] = x[j, i] * 5

    def overlapping() -> set[str]:
        loops = [s for s in compile_kernel(kernel, "two").sections if isinstance(s, PipelinedLoop)]
        return {loop.section.loop.name for loop in loops if loop.section.loop is not None}

    room = len(compile_kernel(kernel, "two").code)
    assert overlapping() == {"once", "often"}
    monkeypatch.setattr(compile_module, "PROGRAM_MEMORY_BYTES", room - 16)
    assert overlapping() == {"often"}
    monkeypatch.setattr(compile_module, "PROGRAM_MEMORY_BYTES", 16)
    assert overlapping() == set()


def test_sections_know_how_often_they_are_entered() -> None:
    def kernel(k: Kernel) -> None:
        out = k.argument("out", int32, (6, 5, 4))
        for i in k.loop(6, name="i"):
            for j in k.loop(5, name="j"):
                for n in k.loop(4, name="n"):
                    out[i, j, n] = 1
        for n in k.loop(4, name="last"):
            out[0, 0, n] = 2

    calls = {s.section.loop.name: s.section.calls for s in compile_kernel(kernel, "n").sections if s.section.loop}
    assert calls == {"n": 30, "last": 1}


# --- what cannot be compiled says why --------------------------------------------------------------------------------


def refused(kernel: Callable[[Kernel], None], error: type[XattnError]) -> str:
    with pytest.raises(error) as caught:
        compile_kernel(kernel, "refused")
    return str(caught.value)


def line_of(kernel: Callable[[Kernel], None], text: str) -> int:
    lines, first = inspect.getsourcelines(kernel)
    return first + next(n for n, line in enumerate(lines) if text in line)


BLOCK = VectorType(int8, 64)
PATCH = VectorType(int8, 32)


def many_vectors(k: Kernel) -> None:
    x, out = k.argument("x", BLOCK, (16,)), k.argument("out", BLOCK, (16, 16))
    values = [x[i] for i in range(16)]
    for i in k.loop(16, name="rows"):
        for j, value in enumerate(values):
            out[i, j] = value


def many_scalars(k: Kernel) -> None:
    x, out = k.argument("x", int32, (64,)), k.argument("out", int32, (64,))
    values = [x[i] for i in range(40)]
    for i in k.loop(16, name="scalars"):
        for value in values:
            out[i] = value


def many_accumulators(k: Kernel) -> None:
    a, b, out = k.argument("a", PATCH, (16,)), k.argument("b", BLOCK, (16,)), k.argument("out", PATCH, (16,))
    sums = [k.accumulator() for _ in range(12)]
    for n, total in enumerate(sums):
        total.set(product(a[n], b[n]))
    for i in k.loop(16, name="sums"):
        for n, total in enumerate(sums):
            total += product(a[i], b[n])
    for n, total in enumerate(sums):
        out[n] = k.narrow(total, k.shift_amount(3), int8)


@pytest.mark.parametrize(
    ("kernel", "loop", "need", "of"),
    [
        (many_vectors, "rows", "16 vector registers (x)", 12),
        (many_scalars, "scalars", "40 scalar registers (r)", 32),
        (many_accumulators, "sums", "12 accumulator registers (cm)", 9),
    ],
)
def test_too_many_live_values(kernel: Callable[[Kernel], None], loop: str, need: str, of: int) -> None:
    text = refused(kernel, OutOfRegistersError)
    assert text.startswith(
        f"loop {loop} (line {line_of(kernel, 'k.loop')}) needs {need} at once, and the core has {of}: "
    )
    assert f"from line {line_of(kernel, ' for i in range' if 'x[i]' in inspect.getsource(kernel) else 'set(')}" in text
    assert text.endswith(". Unroll less, keep fewer values across the loop, or pass some through memory")


@pytest.mark.parametrize("name", ["straight code", "loop"])
def test_program_too_large(name: str) -> None:
    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int32, (2000,)), k.argument("out", int32, (2000,))
        for _ in k.loop(4, name="blocks") if name == "loop" else (0,):
            for i in range(1200):
                out[i] = x[i] + 1

    text = refused(kernel, ProgramTooLargeError)
    found = re.match(r"the program needs at least ([\d,]+) bytes of program memory, which has 16,384; the most, ", text)
    assert found is not None and 1200 * 16 <= int(found[1].replace(",", "")) < 1300 * 16  # one store a bundle
    if name == "loop":
        assert f"19,200, goes to loop blocks (line {line_of(kernel, 'k.loop')}). " in text
    else:
        assert f"19,200, goes to the straight code from line {line_of(kernel, 'out[i] =')} on. " in text
    assert text.endswith(" Unroll less, make loops of repetitions (k.loop), or take a smaller block")


def test_a_program_that_becomes_too_large_by_waiting() -> None:
    """Few operations, but each waits for the one before."""

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int32, (64,)), k.argument("out", int32, (1,))
        total = k.variable(1)
        for i in range(600):
            total.set(total * x[i % 64])
        out[0] = total

    text = refused(kernel, ProgramTooLargeError)
    found = re.match(r"the program needs ([\d,]+) bytes of program memory, which has 16,384; the most, ", text)
    assert found is not None and int(found[1].replace(",", "")) >= 600 * 2 * 16  # a product takes two cycles


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            [("huge", 20000, None)],
            "array huge needs 20,000 bytes, and a bank of data memory has 16,384. Take a smaller ",
        ),
        (
            [("a", 10000, 2), ("b", 9000, 2)],
            "array b needs 9,000 bytes in bank 2 of 16,384; left are 15,360 in bank 0, 16,384 in bank 1, 6,384 in bank "
            "2, 16,384 in bank 3 (the stack takes 1,024 of bank 0). Take another bank or a smaller block",
        ),
        ([("a", 16000, 0)], "array a needs 16,000 bytes in bank 0 of 16,384; left are 15,360 in bank 0, "),
        (
            [(f"a{n}", 12000, None) for n in range(6)],
            "array a4 needs 12,000 bytes in one bank of 16,384; left are 3,360 in bank 0, 4,384 in bank 1, 4,384 in "
            "bank 2, 4,384 in bank 3: all arrays together need 72,000 of 65,536 bytes, and the stack takes 1,024 of "
            "bank 0. Take a smaller block, or split large arrays",
        ),
        ([("a", 100, 7)], "array a asks for bank 7; the core has banks 0 to 3"),
        ([("a", 100, -1)], "array a asks for bank -1; the core has banks 0 to 3"),
        ([("a", 0, None)], "array a has 0 bytes: every number of its shape must be at least 1"),
    ],
)
def test_data_too_large(arrays: list[tuple[str, int, int | None]], words: str) -> None:
    def kernel(k: Kernel) -> None:
        for name, size, bank in arrays:
            k.scratch(name, int8, (size,), bank=bank)

    assert refused(kernel, InputError).startswith(words)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda k: k.argument("a", int8, (4,))[9], "index 9 is outside"),
        (lambda k: k.argument("a", int8, (4,))[0, 0], "found 2 indices"),
        (lambda k: list(k.loop(10, unroll=3)), "cannot be unrolled by 3"),
        (lambda k: [k.argument("a", int8, (4,)), k.argument("a", int8, (4,))], "two arrays called a"),
        (lambda k: bool(k.scalar("s")), "no truth at compile time"),
        (lambda k: [k.argument(str(i), int8, (4,)) for i in range(7)], "7 pointer arguments"),
    ],
)
def test_misuse_is_explained(function: Callable[[Kernel], object], words: str) -> None:
    with pytest.raises(XattnError, match=words):
        compile_kernel(lambda k: function(k) and None, "misused")
