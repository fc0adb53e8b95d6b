"""Intervals proved minimal: by arithmetic without a solver, by CP-SAT where arithmetic leaves a gap."""

from __future__ import annotations

import pytest
from modulo_oracle import recurrence_minimum, resource_minimum
from test_modulo import loops_of, verify

from xattn.compiler.language import Kernel, int32
from xattn.compiler.modulo import modulo_schedule
from xattn.compiler.prove import best_interval, prove_interval
from xattn.kernels.products import qkt


def multiply_and_add(k: Kernel) -> None:
    """Eight products and sums: a multiply and an add may not write their results in one cycle."""
    x, y, out = (k.argument(name, int32, (64,)) for name in ("x", "y", "out"))
    total = k.variable(0)
    for i in k.loop(64, unroll=2):
        total += x[i] * y[i]
    out[0] = total


def test_a_bound_that_is_reached_needs_no_solver() -> None:
    k = Kernel("qkt")
    qkt(k, 64, 64)
    (graph,) = loops_of(k.program)
    known = modulo_schedule(graph, 128)
    assert known is not None and known.interval == 64
    found = best_interval(graph, known)
    assert found.is_minimal and not found.is_improved and found.proofs == () and found.effort == 0
    assert found.verdict == "proved minimal" and "64" in found.argument


def test_an_interval_below_the_bounds_is_refused_by_arithmetic() -> None:
    k = Kernel("sums")
    multiply_and_add(k)
    (graph,) = loops_of(k.program)
    least = max(resource_minimum(graph), recurrence_minimum(graph))
    proof = prove_interval(graph, least - 1)
    assert proof.outcome == "infeasible" and proof.schedule is None and proof.effort == 0


@pytest.mark.slow
def test_the_solver_finds_or_refutes_every_interval() -> None:
    pytest.importorskip("ortools", reason="NOT CHECKED with the solver: install the extra `tune`")
    k = Kernel("sums")
    multiply_and_add(k)
    (graph,) = loops_of(k.program)
    known = modulo_schedule(graph, 64)
    assert known is not None
    found = best_interval(graph, known, time_limit_s=20)
    assert found.is_minimal, found.argument
    verify(graph, found.schedule)
    again = prove_interval(graph, found.schedule.interval + 1, time_limit_s=20)
    assert again.schedule is not None
    verify(graph, again.schedule)
    assert prove_interval(graph, found.schedule.interval - 1, time_limit_s=20).outcome == "infeasible"
