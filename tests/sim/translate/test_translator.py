"""The translator gives what the interpreter gives: registers, memory, cycles, counts; to the bit, always."""

from __future__ import annotations

from typing import Any

import pytest
from engines import FIELDS, assert_equal, state_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import DATA
from sequential import STORAGE
from test_random_programs import Listing, initial, listings, machine_code, scheduled

from xattn.sim.core import Core

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")


def filled(code: bytes, seed: int, **options: Any) -> Core:
    """A core with a program, and a state that depends on a seed."""
    model = initial(seed)
    core = Core(severity=dict.fromkeys(("undefined-register", "undefined-memory"), "ignore"), **options)
    for name in STORAGE:
        core.registers[name] = model.registers[name]
    core.registers["LC"] = 0
    core.write_memory(DATA, bytes(model.memory))
    core.load(code)
    return core


def both(code: bytes, seed: int = 0, start: int = 0) -> Core:
    """Run machine code on both engines, twice; everything must be equal. The core of the translator."""
    cores = [filled(code, seed, engine=engine) for engine in ("interpreter", "translator")]
    for _ in range(2):
        results = [core.run(start) for core in cores]
        assert results[1].engine == "translator", cores[1].translator.why_not
        assert [getattr(results[0], f) for f in FIELDS] == [getattr(results[1], f) for f in FIELDS]
        assert_equal(*map(state_of, cores))
    return cores[1]


def legal(listing: Listing, seed: int, gap: int) -> None:
    both(machine_code(scheduled(listing.instructions, gap)), seed)


def early(listing: Listing, seed: int, steps: list[int]) -> None:
    placed, cycle = [], 0
    for instruction, step in zip(listing.instructions, steps, strict=False):
        cycle += step or 1
        placed.append((cycle, instruction))
    both(machine_code(placed), seed)


SEEDS = st.integers(0, 1 << 32)
LEGAL = (listings(), SEEDS, st.sampled_from([0, 0, 1]))
EARLY = (listings(), SEEDS, st.lists(st.integers(0, 3), min_size=40, max_size=40))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(*LEGAL)
def test_legal_schedules(listing: Listing, seed: int, gap: int) -> None:
    legal(listing, seed, gap)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(*EARLY)
def test_schedules_that_read_what_is_on_its_way(listing: Listing, seed: int, steps: list[int]) -> None:
    """No scheduler would do this; the machine gives the old values, and results land on each other."""
    early(listing, seed, steps)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(*LEGAL)
def test_many_legal_schedules(listing: Listing, seed: int, gap: int) -> None:
    legal(listing, seed, gap)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(*EARLY)
def test_many_schedules_that_read_what_is_on_its_way(listing: Listing, seed: int, steps: list[int]) -> None:
    early(listing, seed, steps)
