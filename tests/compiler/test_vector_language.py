"""Vector operations of the kernel language, each against numpy on random lanes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from language_cases import run
from numpy.typing import NDArray

from xattn.compiler.compile import compile_kernel
from xattn.compiler.language import (
    AccumulatorType,
    Kernel,
    Vector,
    VectorType,
    int8,
    int16,
    int32,
    lane_product,
    leading_zeros,
    product,
    uint8,
)
from xattn.errors import InputError

RNG = np.random.default_rng(11)
BYTES, UNSIGNED = VectorType(int8, 64), VectorType(uint8, 64)
HALF, UNSIGNED_HALF = VectorType(int8, 32), VectorType(uint8, 32)
WORDS = VectorType(int16, 32)
DTYPES = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "int32": np.int32}


def lanes(type: VectorType, *shape: int) -> NDArray[np.generic]:
    dtype = DTYPES[type.element.name]
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, (*shape, type.lanes)).astype(dtype)


Make = Callable[[Kernel, Vector, Vector], object]


def result(make: Make, type: VectorType, a: NDArray[np.generic], b: NDArray[np.generic], out: VectorType) -> object:
    """What `make` gives for two vectors."""

    def kernel(k: Kernel) -> None:
        x, y = k.argument("x", type, (1,)), k.argument("y", type, (1,))
        target = k.argument("out", out, (1,))
        target[0] = make(k, x[0], y[0])

    like = np.zeros(out.lanes, DTYPES[out.element.name])
    found, _, _ = run(kernel, {"x": a, "y": b}, "out", like)
    return found


@pytest.mark.parametrize("type", [BYTES, UNSIGNED, WORDS])
def test_differences_wrap(type: VectorType) -> None:
    a, b = lanes(type), lanes(type)
    np.testing.assert_array_equal(result(lambda k, x, y: k.subtract(x, y), type, a, b, type), a - b)


@pytest.mark.parametrize("type", [BYTES, UNSIGNED, WORDS])
def test_excess_compares_as_the_lanes_are_signed(type: VectorType) -> None:
    a, b = lanes(type), lanes(type)
    found = result(lambda k, x, y: k.excess(x, y), type, a, b, type)
    assert (a < b).any() and (a > b).any()
    np.testing.assert_array_equal(found, np.where(a > b, a - b, 0))


def test_lesser_compares_unsigned_lanes() -> None:
    a, b = lanes(WORDS), lanes(WORDS)
    expected = np.minimum(a.view(np.uint16), b.view(np.uint16)).view(np.int16)
    assert (expected != np.minimum(a, b)).any()
    np.testing.assert_array_equal(result(lambda k, x, y: k.lesser(x, y), WORDS, a, b, WORDS), expected)


@pytest.mark.parametrize("type", [BYTES, UNSIGNED])
@pytest.mark.parametrize("half", [0, 1])
def test_bytes_are_unpacked_with_their_sign(type: VectorType, half: int) -> None:
    a = lanes(type)
    found = result(lambda k, x, _: k.unpacked(x)[half], type, a, a, WORDS)
    np.testing.assert_array_equal(found, a.reshape(2, 32)[half].astype(np.int16))


@pytest.mark.parametrize("type", [HALF, UNSIGNED_HALF])
def test_bytes_are_widened_as_they_are_loaded(type: VectorType) -> None:
    a = lanes(type, 3)

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", type, (3,)), k.argument("out", WORDS, (3,))
        out[2] = k.load_widened(x.element(2))  # where the pointer does not move
        for i in k.loop(2):
            out[i] = k.load_widened(x.element(i))

    found, _, _ = run(kernel, {"x": a}, "out", np.zeros((3, 32), np.int16))
    np.testing.assert_array_equal(found, a.astype(np.int16))


@pytest.mark.parametrize("type", [BYTES, UNSIGNED])
@pytest.mark.parametrize("half", [0, 1])
def test_bytes_are_raised_with_their_sign(type: VectorType, half: int) -> None:
    """And lane products are added to the accumulator, or to a constant one into another."""
    a = lanes(type)

    def make(k: Kernel, x: Vector, _: Vector) -> object:
        value = k.raised(x, k.shift_amount(5))[half]
        n = k.unpacked(x)[half]
        value += lane_product(n, n)
        return k.widened(k.narrow(k.plus(value, lane_product(n, n)), k.shift_amount(3), int16))

    wide = a.reshape(2, 32)[half].astype(int)
    expected = (32 * wide + 2 * wide * wide) >> 3
    np.testing.assert_array_equal(result(make, type, a, a, WORDS), expected.astype(np.int16))


def test_a_constant_stays_when_a_product_is_added_to_it() -> None:
    a, b = lanes(WORDS) >> 2, lanes(WORDS) >> 2
    start = RNG.integers(-(1 << 20), 1 << 20, 32, dtype=np.int32)

    def make(k: Kernel, x: Vector, y: Vector) -> object:
        constant = k.load_accumulator(k.constant("start", start, int32).blocks(AccumulatorType(), 1).element(0))
        first, second = k.plus(constant, lane_product(x, y)), k.plus(constant, lane_product(x, x))
        shift = k.shift_amount(14)
        return k.add(k.widened(k.narrow(first, shift, int16)), k.widened(k.narrow(second, shift, int16)))

    wide, other = a.astype(np.int64), b.astype(np.int64)
    expected = ((start + wide * other) >> 14) + ((start + wide * wide) >> 14)
    np.testing.assert_array_equal(result(make, WORDS, a, b, WORDS), expected.astype(np.int16))


def test_a_product_is_taken_from_a_constant() -> None:
    a, b = lanes(WORDS) >> 2, lanes(WORDS) >> 2
    start = RNG.integers(-(1 << 20), 1 << 20, 32, dtype=np.int32)

    def make(k: Kernel, x: Vector, y: Vector) -> object:
        constant = k.load_accumulator(k.constant("start", start, int32).blocks(AccumulatorType(), 1).element(0))
        return k.widened(k.narrow(k.minus(constant, lane_product(x, y)), k.shift_amount(14), int16))

    expected = (start - a.astype(np.int64) * b) >> 14
    np.testing.assert_array_equal(result(make, WORDS, a, b, WORDS), expected.astype(np.int16))


def test_words_are_raised_into_an_accumulator_that_there_is() -> None:
    a, b = lanes(WORDS), lanes(WORDS)

    def make(k: Kernel, x: Vector, y: Vector) -> object:
        value = k.accumulator()
        k.raise_words(value, x, k.shift_amount(9))
        value += lane_product(y, y)
        return k.widened(k.narrow(value, k.shift_amount(16), int16))

    expected = ((a.astype(np.int64) << 9) + b.astype(np.int64) * b) >> 16
    np.testing.assert_array_equal(result(make, WORDS, a, b, WORDS), expected.astype(np.int16))


def test_the_lowest_number_has_a_magnitude_too() -> None:
    a = lanes(WORDS)
    a[0] = -32768
    expected = np.abs(a.astype(int)).astype(np.uint16).view(np.int16)
    found = result(lambda k, x, _: k.magnitude(x).read_as(WORDS), WORDS, a, a, WORDS)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("half", [0, 1])
def test_bytes_become_words_times_256(half: int) -> None:
    a = lanes(BYTES)

    def make(k: Kernel, x: Vector, _: Vector) -> object:
        return k.scaled_bytes(x, k.vector_constant("zero", np.zeros(64), int8))[half]

    expected = a.reshape(2, 32)[half].astype(np.int16) << 8
    np.testing.assert_array_equal(result(make, BYTES, a, a, WORDS), expected)


def test_two_accumulators_lie_side_by_side_saturated() -> None:
    a, b = lanes(WORDS), lanes(WORDS)

    def make(k: Kernel, x: Vector, y: Vector) -> object:
        k.set_control("crSat", 1)
        sums = [k.accumulator() for _ in range(2)]
        for total, pair in zip(sums, ((x, x), (x, y)), strict=True):
            total.set(lane_product(*pair))
        shift = k.shift_amount(22)
        vector = k.side_by_side(*(k.narrow(total, shift, int8) for total in sums))
        k.set_control("crSat", 0)
        return vector

    wide = np.concatenate([a.astype(np.int64) * a, a.astype(np.int64) * b])
    expected = np.clip(wide >> 22, -128, 127)
    assert (expected == 127).any() and (expected < 0).any()
    np.testing.assert_array_equal(result(make, WORDS, a, b, BYTES), expected)


def test_scalars_become_lanes() -> None:
    numbers = lanes(WORDS)[:3]

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int16, (3,)), k.argument("out", WORDS, (1,))
        out[0] = k.from_scalars([x[i] for i in range(3)])

    found, _, _ = run(kernel, {"x": numbers}, "out", np.zeros(32, np.int16))
    np.testing.assert_array_equal(found, [*numbers[:2], *[numbers[2]] * 30])


def test_leading_zeros_are_counted() -> None:
    numbers = np.array([0, 1, 2, 3, 255, 256, 1 << 30, (1 << 31) - 1, -1], np.int32)

    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", int32, (9,)), k.argument("out", int32, (9,))
        for i in k.loop(9):
            out[i] = leading_zeros(x[i])

    found, _, _ = run(kernel, {"x": numbers}, "out", np.zeros(9, np.int32))
    np.testing.assert_array_equal(found, [32, 31, 30, 30, 24, 23, 1, 1, 0])


def test_a_table_is_looked_up_by_a_distance_in_bytes() -> None:
    table, index = lanes(WORDS), RNG.permutation(32).astype(np.int32)

    def kernel(k: Kernel) -> None:
        entries = k.constant("table", table, int16)
        x, out = k.argument("x", int32, (32,)), k.argument("out", int32, (32,))
        for i in k.loop(32):
            out[i] = entries.at(k.load_offset(x.element(i)))

    found, _, _ = run(kernel, {"x": 2 * index}, "out", np.zeros(32, np.int32))
    np.testing.assert_array_equal(found, table[index])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _, x: lane_product(x, x), "32 lanes of int16, found int8x64"),
        (lambda _, x: product(x, x), "32 and 64 elements of 8 bits"),
        (lambda k, _: k.side_by_side(*[k.narrow(k.accumulator(), k.shift_amount(0), int16)] * 2), "as int8"),
        (lambda k, _: k.load_widened(k.scratch("y", WORDS, (1,)).element(0)), "32 lanes of 8 bits"),
        (lambda k, x: k.raise_words(k.accumulator(), x, k.shift_amount(0)), "32 lanes of int16, found int8x64"),
        (lambda k, _: k.load_offset(k.scratch("y", int16, (1,)).element(0)), "loaded from int32, found int16"),
    ],
)
def test_operands_of_another_type_are_refused(make: Callable[[Kernel, Vector], object], message: str) -> None:
    def kernel(k: Kernel) -> None:
        make(k, k.argument("x", BYTES, (1,))[0])

    with pytest.raises(InputError, match=message):
        compile_kernel(kernel, "test")


def test_two_halves_are_loaded_side_by_side() -> None:
    def kernel(k: Kernel) -> None:
        x, out = k.argument("x", HALF, (3,)), k.argument("out", BYTES, (1,))
        out[0] = k.load_halves(x.element(2), x.element(0))
        with pytest.raises(InputError, match="two vectors of 32 bytes"):
            k.load_halves(out.element(0), out.element(0))

    x = lanes(HALF, 3)
    found, _, _ = run(kernel, {"x": x}, "out", lanes(BYTES))
    np.testing.assert_array_equal(found, np.concatenate([x[2], x[0]]))


@pytest.mark.parametrize("amounts", [(0, 1, 2, 31), (31, 0, 30, 5)])
def test_rows_are_shifted_as_they_are_loaded(amounts: tuple[int, ...]) -> None:
    def kernel(k: Kernel) -> None:
        x, out = (k.argument(name, AccumulatorType(), (2,)) for name in ("x", "out"))
        shifts = k.argument("shifts", UNSIGNED, (1,))
        by, zero = shifts[0], k.shift_amount(0)
        elements = x.element(0), x.element(1)
        for i, shifted in enumerate(k.load_shifted(elements, zero, (k.byte_amount(by, 3 * r) for r in range(4)))):
            out[i] = shifted

    info = np.iinfo(np.int32)
    x = RNG.integers(info.min, info.max + 1, (2, 4, 8)).astype(np.int32)
    x[0, :, 0], x[1, :, 0] = info.min, info.max
    x[:, :, 1], x[:, :, 2] = -1, 0
    shifts = lanes(UNSIGNED)
    shifts[: 3 * 4 : 3] = amounts
    found, result, _ = run(kernel, {"x": x, "shifts": shifts}, "out", x)
    np.testing.assert_array_equal(found, x >> np.array(amounts)[:, None])
    assert not result.findings
