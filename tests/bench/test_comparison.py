"""Comparing: what counts as worse, and what is not judged."""

from __future__ import annotations

import numpy as np
import pytest
from result_cases import ladder, measured

from xattn.bench.compare import Comparison, compare
from xattn.bench.record import Result


def verdicts(a: Result, b: Result, threshold: float = 0.0) -> dict[str, str]:
    return {f"{c.subject} {c.metric}": c.verdict for c in compare(a, b, threshold).changes if c.verdict != "same"}


def test_equal_results_have_no_differences() -> None:
    assert verdicts(ladder(1), ladder(2)) == {}
    assert len(compare(ladder(), ladder()).changes) == 9


@pytest.mark.parametrize(
    ("cycles", "threshold", "verdict"),
    [(2001, 0, "worse"), (2001, 1, None), (2030, 1.5, None), (2031, 1.5, "worse"), (1999, 50, "better")],
)
def test_simulated_cycles_may_rise_by_the_threshold(cycles: int, threshold: float, verdict: str | None) -> None:
    found = verdicts(ladder(), ladder(tiled=cycles), threshold)
    assert found == ({"tiled 16×16 cycles": verdict} if verdict else {})


def test_a_kernel_that_is_wrong_now_has_failed() -> None:
    def spoil(name: str, _run: int, output: np.ndarray) -> np.ndarray:
        return output ^ 1 if name == "tiled" else output

    good, bad = ladder(), ladder(twist=spoil, tiled=10)
    comparison = compare(good, bad)
    assert [change.verdict for change in comparison.worse if change.metric == "cycles"] == ["failed"]
    assert verdicts(bad, good)["tiled 16×16 cycles"] == "better"
    assert "tiled 16×16 cycles" not in verdicts(bad, bad)


def test_new_and_gone_kernels_are_not_worse() -> None:
    less = ladder()
    less.kernels = less.kernels[:2]
    assert set(verdicts(ladder(), less).values()) == {"gone"} and compare(ladder(), less).worse == []
    assert set(verdicts(less, ladder()).values()) == {"new"}


def test_errors_on_other_inputs_are_not_judged() -> None:
    comparison = compare(ladder(seed=1), ladder(seed=2))
    found = {change.verdict for change in comparison.changes if change.metric == "rel. L2"}
    assert found == {"not judged"} and comparison.worse == []
    assert "the inputs differ" in comparison.notes[0]


def worse(comparison: Comparison) -> bool:
    return bool(comparison.worse)


def test_measured_times_need_a_rise_and_intervals_apart() -> None:
    assert worse(compare(measured(1.0), measured(1.2)))
    assert not worse(compare(measured(1.0), measured(1.05)))  # below 10 %
    assert not worse(compare(measured(1.0, spread=0.5), measured(1.2, spread=0.5)))  # intervals overlap
    assert [c.verdict for c in compare(measured(1.2), measured(1.0)).changes] == ["better"]


def test_measured_times_of_other_processors_are_not_judged() -> None:
    comparison = compare(measured(1.0), measured(2.0, cpu="two"))
    assert [c.verdict for c in comparison.changes] == ["not judged"]
    assert comparison.notes == ("measured on one and two: measured times are not judged",)


def test_results_of_different_kinds_have_nothing_in_common() -> None:
    comparison = compare(ladder(), measured(1.0))
    assert {change.verdict for change in comparison.changes} == {"new", "gone"}
    assert comparison.notes == ("results of different kinds, ladder and peers, have little in common",)
