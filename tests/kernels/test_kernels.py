"""Every kernel, bit for bit its integer model: on noise and on awkward rows of scores, whatever ran before it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest

from xattn.compiler.allocate import CALLEE_SAVED
from xattn.compiler.legality import assert_legal, state_at_reset
from xattn.devices import Simulator
from xattn.devices.simulator import SimulatedKernel
from xattn.errors import InputError
from xattn.isa.timing import PROGRAM_MEMORY_BYTES
from xattn.kernels.panels import from_tiles, to_column_panels, to_panels
from xattn.kernels.registry import compiled, kernel_spec, kernels
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case

Operands = tuple[np.ndarray, np.ndarray, np.ndarray]

SCALAR = ("baseline", "tiled", "lut", "vectorized", "vectorized_lut")  # seconds a run at 64×64


def _shapes() -> Iterator[object]:
    for name, spec in kernels().items():
        for tokens, width in spec.shapes:
            marks = [pytest.mark.slow] if name in SCALAR and tokens > 16 else []
            yield pytest.param(name, tokens, width, id=f"{name}-{tokens}x{width}", marks=marks)


every_kernel = pytest.mark.parametrize(("name", "tokens", "width"), [*_shapes()])


@lru_cache(maxsize=1)  # the tests of one kernel follow one another on one core
def _core(name: str, tokens: int, width: int) -> SimulatedKernel:
    return Simulator().load(kernel_spec(name), tokens, width)


def _noise(seed: int, tokens: int, width: int) -> Operands:
    """Full-range int8: scores saturate at small shifts."""
    generator = np.random.default_rng(seed)
    q, k, v = generator.integers(-128, 128, (3, tokens, width), dtype=np.int8)
    return q, k, v


def _awkward(case: str, tokens: int, width: int) -> Operands:
    made = adversarial_case(case, tokens, width, seed=5)
    return made.q, made.k, made.v


def _filling_shift(q: np.ndarray, k: np.ndarray) -> int:
    """The shift by which the largest score just fills eight bits."""
    top = int(np.abs(q.astype(int) @ k.T.astype(int)).max())
    return max(0, top.bit_length() - 7)


def _check(name: str, operands: Operands, shift: int) -> np.ndarray:
    tokens, width = operands[0].shape
    spec = kernel_spec(name)
    result = _core(name, tokens, width).run(*operands, shift)
    expected = spec.model(*operands, shift)
    assert result.output.shape == expected.shape == spec.output_shape(tokens, width)
    np.testing.assert_array_equal(result.output, expected, strict=True)
    assert result.findings == ()
    return result.output


@every_kernel
def test_noise(name: str, tokens: int, width: int) -> None:
    for seed, shift in ((1, 4), (2, 9)):
        _check(name, _noise(seed, tokens, width), shift)


@every_kernel
@pytest.mark.parametrize("case", [*ADVERSARIAL_CASES])
def test_awkward_rows(case: str, name: str, tokens: int, width: int) -> None:
    operands = _awkward(case, tokens, width)
    _check(name, operands, _filling_shift(*operands[:2]))


@pytest.mark.parametrize("case", ["one_hot", "all_minimum", "alternating", "saturating"])
@pytest.mark.parametrize("name", [*kernels()])
def test_saturated_scores(case: str, name: str) -> None:
    """Every score far beyond eight bits, in the smallest shape."""
    _check(name, _awkward(case, *kernel_spec(name).shapes[-1]), 0)


@every_kernel
def test_a_result_does_not_depend_on_what_ran_before(name: str, tokens: int, width: int) -> None:
    """The same operands twice, with others between that leave everything else in memory and registers."""
    first = _check(name, _noise(4, tokens, width), 6)
    between = _check(name, _awkward("alternating", tokens, width), 2)
    again = _check(name, _noise(4, tokens, width), 6)
    assert np.array_equal(first, again) and not np.array_equal(first, between)


@every_kernel
def test_the_program_is_legal_and_fits(name: str, tokens: int, width: int) -> None:
    """Legal also where registers hold only what a caller gives."""
    program = compiled(name, tokens, width)
    assert 0 < len(program.code) <= PROGRAM_MEMORY_BYTES
    pointers = {f"p{i}" for i in range(len(program.arguments))}
    scalars = {f"r{i}" for i in range(len(program.scalars))}
    given = frozenset(state_at_reset() | CALLEE_SAVED | {"SP", "lr"} | pointers | scalars)
    assert_legal(program.code, defined_at_entry=given, allow_in_flight_reads=True)


@pytest.mark.parametrize("name", [*kernels()])
@pytest.mark.parametrize("shape", [(48, 64), (64, 16), (0, 0)])
def test_another_shape_is_refused_with_those_that_can_be_taken(name: str, shape: tuple[int, int]) -> None:
    taken = ", ".join(f"{tokens}×{width}" for tokens, width in kernel_spec(name).shapes)
    with pytest.raises(InputError) as error:
        Simulator().load(kernel_spec(name), *shape)
    assert str(error.value) == f"kernel {name} cannot take {shape[0]} tokens of width {shape[1]}; it takes {taken}"


# --- panels ---------------------------------------------------------------------------------------------------------


def test_panels_hold_sixteen_rows_by_pieces_of_eight_bytes() -> None:
    matrix = np.arange(32 * 24, dtype=np.int16).reshape(32, 24)  # int16, so that every element is another
    panels, columns = to_panels(matrix), to_column_panels(matrix.reshape(24, 32))
    for row in range(32):
        for column in range(24):
            assert panels[row // 16, column // 8, row % 16, column % 8] == matrix[row, column]
            block = columns[row // 16, column // 8, row % 16 // 8]
            assert block[column % 8, row % 8] == matrix.reshape(24, 32)[column, row]


def test_tiles_are_sixteen_by_sixteen_in_blocks_of_four_by_eight() -> None:
    rows, columns = 32, 48
    tiles = np.arange(rows * columns, dtype=np.int16)
    matrix = from_tiles(tiles, rows, columns)
    for row in range(rows):
        for column in range(columns):
            tile = row // 16 * (columns // 16) + column // 16
            block = row % 16 // 4 * 2 + column % 16 // 8
            assert matrix[row, column] == tile * 256 + block * 32 + row % 4 * 8 + column % 8
