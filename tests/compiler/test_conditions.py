"""Parts of a kernel that are done on a condition: `k.when`, and `k.otherwise` behind it."""

from __future__ import annotations

import numpy as np
import pytest
from language_cases import run
from numpy.typing import NDArray

from xattn.compiler.compile import compile_kernel
from xattn.compiler.dataflow import check_dataflow
from xattn.compiler.dataflow.checker import follow, read_code
from xattn.compiler.language import Kernel, int32
from xattn.errors import InputError
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.sim.core import Core, Pointer

COUNT = 24
FLAGS = [0, 1, -1, 1 << 20]


def two_ways(k: Kernel) -> None:
    """Loops in both arms, of which one is nested; a value from before and one for after."""
    a, out = k.argument("a", int32, (4, 6)), k.argument("out", int32, (4, 6))
    flag = k.scalar("flag")
    before = a[1, 2]
    last = k.variable(5)
    with k.when(flag):
        for i in k.loop(4):
            for j in k.loop(6):
                out[i, j] = a[i, j] * 3
        last.set(before)
    with k.otherwise():
        rows = out.reshape(COUNT)
        numbers = a.reshape(COUNT)
        for i in k.loop(COUNT):
            rows[i] = numbers[i] - before
    for j in k.loop(6):
        out[3, j] = out[2, j] + last


def expected(a: NDArray[np.int32], flag: int) -> NDArray[np.int32]:
    out = a * 3 if flag else a - a[1, 2]
    out[3] = out[2] + (a[1, 2] if flag else 5)
    return out


@pytest.mark.parametrize("flag", FLAGS)
def test_one_of_two_ways_is_taken(flag: int) -> None:
    a = np.arange(COUNT, dtype=np.int32).reshape(4, 6) * 7 - 50
    found, result, _ = run(two_ways, {"a": a}, "out", a, scalars=(flag,))
    np.testing.assert_array_equal(found, expected(a, flag))
    assert not result.findings


@pytest.mark.parametrize("flag", FLAGS)
def test_without_another_way_nothing_is_done(flag: int) -> None:
    def kernel(k: Kernel) -> None:
        a, out = k.argument("a", int32, (COUNT,)), k.argument("out", int32, (COUNT,))
        flag = k.scalar("flag")
        for i in k.loop(COUNT):
            out[i] = a[i]
        with k.when(flag):
            for i in k.loop(COUNT):
                out[i] = a[i] + 1

    a = np.arange(COUNT, dtype=np.int32)
    found, _, _ = run(kernel, {"a": a}, "out", a, scalars=(flag,))
    np.testing.assert_array_equal(found, a + (flag != 0))


@pytest.mark.parametrize("inner", [0, 3])
@pytest.mark.parametrize("outer", [0, 3])
def test_conditions_stand_in_each_other(outer: int, inner: int) -> None:
    def kernel(k: Kernel) -> None:
        out = k.argument("out", int32, (1,))
        outer, inner = k.scalar("outer"), k.scalar("inner")
        with k.when(outer):
            with k.when(inner):
                out[0] = 1
            with k.otherwise():
                out[0] = 2
        with k.otherwise():
            with k.when(inner):
                out[0] = 3
            with k.otherwise():
                out[0] = 4

    found, _, _ = run(kernel, {}, "out", np.zeros(1, np.int32), scalars=(outer, inner))
    assert found[0] == {(3, 3): 1, (3, 0): 2, (0, 3): 3, (0, 0): 4}[outer, inner]


@pytest.mark.parametrize("skip", [False, True])
def test_both_ways_are_followed_as_the_simulator_executes_them(skip: bool) -> None:
    kernel = compile_kernel(two_ways, "two_ways")
    assert check_dataflow(kernel) == []
    seen: list[int] = []
    core = Core(trace=lambda _cycle, address, _bundle: seen.append(address))
    core.load(kernel.code)
    core.write_memory(DATA_MEMORY_BASE, bytes(65536))
    pointers = [Pointer(kernel.addresses[argument]) for argument in kernel.arguments]
    core.call(0, [*pointers, int(not skip)], sp=DATA_MEMORY_BASE)
    assert follow(kernel, read_code(kernel), skip=skip).path == seen


def test_the_other_way_stands_behind_its_condition() -> None:
    def alone(k: Kernel) -> None:
        with k.otherwise():
            pass

    def apart(k: Kernel) -> None:
        out, flag = k.argument("out", int32, (2,)), k.scalar("flag")
        with k.when(flag):
            out[0] = 1
        out[1] = 1
        with k.otherwise():
            out[0] = 2

    def twice(k: Kernel) -> None:
        out, flag = k.argument("out", int32, (2,)), k.scalar("flag")
        with k.when(flag):
            out[0] = 1
        for _ in range(2):
            with k.otherwise():
                out[0] = 2

    for kernel in (alone, apart, twice):
        with pytest.raises(InputError, match=r"right behind the k\.when"):
            compile_kernel(kernel, "wrong")
