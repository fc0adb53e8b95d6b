"""`fused` beyond what all kernels are tested for: every distance, many sums, every shift, one cycle count."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.devices import Simulator
from xattn.devices.simulator import SimulatedKernel
from xattn.kernels.registry import compiled, kernel_spec, kernels
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.compat import weights_lut

Int8 = NDArray[np.int8]
GOAL = 3500  # simulated cycles, from entry to return
SIDES = [tokens for tokens, _ in kernels()["fused"].shapes]


@lru_cache(maxsize=2)
def core(side: int) -> SimulatedKernel:
    return Simulator().load(kernel_spec("fused"), side, side)


@lru_cache(maxsize=2)
def usual_cycles(side: int) -> int:
    zeros = np.zeros((side, side), np.int8)
    cycles = core(side).run(zeros, zeros, zeros, 0).cycles
    assert cycles is not None
    return cycles


def attend(q: Int8, k: Int8, v: Int8, shift: int) -> Int8:
    """The kernel's output, which takes the usual cycles."""
    result = core(len(q)).run(q, k, v, shift)
    assert result.findings == () and result.cycles == usual_cycles(len(q))
    output: Int8 = result.output
    return output


def weights_of(scores: Int8) -> Int8:
    """The kernel's weights for scores of which all rows are the same: read off with V = −128 on the diagonal."""
    side = len(scores)
    q, k = np.zeros((2, side, side), np.int8)
    q[:, 0], k[:, 0] = 1, scores
    diagonal = np.diag(np.full(side, -128)).astype(np.int8)
    return -attend(q, k, diagonal, 0)


@pytest.mark.parametrize("side", SIDES)
def test_every_distance_from_the_maximum(side: int) -> None:
    """All 256, some rows' worth at a time; the maximum itself high, in the middle and low."""
    for top in (127, 0, -127):
        below = np.arange(-128, top)
        for start in range(0, len(below), side - 1):
            others = np.resize(below[start : start + side - 1], side - 1)
            scores = np.append(others, top).astype(np.int8)
            expected = np.tile(weights_lut(scores), (side, 1))
            np.testing.assert_array_equal(weights_of(scores), expected)


@pytest.mark.parametrize("side", SIDES)
def test_sums_from_the_least_to_the_largest(side: int) -> None:
    """Rows in which more and more keys come close to the maximum, each in one query."""
    generator = np.random.default_rng(side)
    diagonal = np.diag(np.full(side, -128)).astype(np.int8)
    for width in (8, 40, 128):
        q = np.zeros((side, side), np.int8)
        k = np.eye(side, dtype=np.int8) * 127
        nearest = np.linspace(-127, 127, side).astype(int)
        for i in range(side):  # query i: i keys at 127, the others up to `width` below some score
            q[i] = np.clip(nearest[i] - generator.integers(0, width, side), -127, 127)
            q[i, : i + 1] = 127
        scores = (q.astype(int) @ k.T.astype(int)) >> 7
        expected = weights_lut(scores.astype(np.int8))
        np.testing.assert_array_equal(-attend(q, k, diagonal, 7), expected)


@pytest.mark.parametrize(("side", "shifts"), [(16, range(32)), (64, range(0, 32, 5))])
def test_every_shift(side: int, shifts: range) -> None:
    generator = np.random.default_rng(2)
    model = kernel_spec("fused").model
    for shift in shifts:
        q, k, v = generator.integers(-128, 128, (3, side, side), dtype=np.int8)
        np.testing.assert_array_equal(attend(q, k, v, shift), model(q, k, v, shift), err_msg=f"shift {shift}")


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_CASES))
def test_awkward_rows_whatever_the_shift(name: str) -> None:
    model = kernel_spec("fused").model
    case = adversarial_case(name, seed=8)
    for shift in (0, 3, 6, 11, 16):
        np.testing.assert_array_equal(
            attend(case.q, case.k, case.v, shift), model(case.q, case.k, case.v, shift), err_msg=f"shift {shift}"
        )


def test_the_goal_is_reached() -> None:
    assert usual_cycles(64) <= GOAL


def test_every_loop_is_pipelined_at_the_multipliers_rate() -> None:
    """No loop waits for anything but the multiplier."""
    program = compiled("fused", 64, 64)
    for scheduled in program.sections:
        if scheduled.section.loop is None:
            continue
        multiplies = sum(operation.opcode.slot == "vec" for operation in scheduled.section.operations)
        assert scheduled.loop_last - scheduled.loop_first + 1 == multiplies, scheduled.section.loop.name
