"""The translator gives what the interpreter gives: registers, memory, cycles, counts; to the bit, always."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import DATA
from sequential import STORAGE
from test_random_programs import Listing, initial, listings, machine_code, scheduled

from xattn.sim.core import Core

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")


def state_of(core: Core) -> dict[str, Any]:
    """Everything that a run can change."""
    registers = core.registers
    buffers = {(n, b): registers.buffer(n, b).tobytes() for n in ("w", "am", "q") for b in (False, True)}
    windows = [bytes(w) if w is not None else None for w in core.memory.windows]
    return {
        "scalars": registers.scalars[:-1],
        **{str(name): data for name, data in buffers.items()},
        "memory": windows,
        "counts": core.counts,
        "events": core.events,
    }


def assert_equal(one: Core, other: Core) -> None:
    """Compare two cores, and say what differs."""
    first, second = state_of(one), state_of(other)
    different = [name for name in first if first[name] != second[name]]
    assert not different, {n: (first[n], second[n]) for n in different if n != "memory"} or different


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
        fields = ("cycles", "bundles", "bank_stalls", "lock_stalls", "value", "stopped")
        assert [getattr(results[0], f) for f in fields] == [getattr(results[1], f) for f in fields]
        assert_equal(*cores)
    return cores[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(listings(), st.integers(0, 1 << 32), st.sampled_from([0, 0, 1]))
def test_legal_schedules(listing: Listing, seed: int, gap: int) -> None:
    both(machine_code(scheduled(listing.instructions, gap)), seed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(listings(), st.integers(0, 1 << 32), st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_schedules_that_read_what_is_on_its_way(listing: Listing, seed: int, steps: list[int]) -> None:
    """No scheduler would do this; the machine gives the old values, and results land on each other."""
    placed, cycle = [], 0
    for instruction, step in zip(listing.instructions, steps, strict=False):
        cycle += step or 1
        placed.append((cycle, instruction))
    both(machine_code(placed), seed)
