"""Running one program on both engines, and comparing everything that a run can change."""

from __future__ import annotations

from typing import Any

from xattn.sim import core as core_module
from xattn.sim.core import LEFT_OUT, Core, Result, grant
from xattn.sim.findings import SimulationError

FIELDS = ("cycles", "bundles", "bank_stalls", "lock_stalls", "value", "stopped")


def state_of(core: Core) -> dict[str, Any]:
    """Everything that a run can change."""
    registers = core.registers
    buffers = {(n, b): registers.buffer(n, b).tobytes() for n in ("w", "am", "q") for b in (False, True)}
    return {
        "scalars": registers.scalars[:-1],
        **{str(name): data for name, data in buffers.items()},
        "memory": [bytes(w) if w is not None else None for w in core.memory.windows],
        "counts": core.counts,
        "events": core.events,
    }


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compare two states, and say what differs."""
    different = [name for name in one if one[name] != other[name]]
    assert not different, {n: (one[n], other[n]) for n in different if n != "memory"} or different


def twin_of(core: Core) -> Core:
    """Another core in the same state, that has run nothing yet."""
    engine = core._engine
    twin = Core(core.memory.regions, stack=engine.stack, lock=engine.lock, track_undefined=engine.track_undefined)
    twin._findings.severities.update(core._findings.severities)
    twin.registers.scalars[:] = core.registers.scalars
    for name, bypassed in (("w", False), ("w", True), ("am", False), ("am", True), ("q", False)):
        twin.registers.buffer(name, bypassed)[:] = core.registers.buffer(name, bypassed)
    for mine, other in zip(twin.memory.arrays, core.memory.arrays, strict=True):
        if mine is not None and other is not None:
            mine[:] = other
    twin.memory.map[:] = core.memory.map
    for address, code in core.program.pieces:
        twin.load(code, address)
    twin._engine.account(engine.now, engine.bank_stalls, engine.lock_stalls, stopped=False)
    return twin


class Shadow:
    """Takes the place of `Core.run`: a twin does every run on the translator, and must end in the same state."""

    def __init__(self) -> None:
        self.run = Core.run
        self.translated = self.left = 0

    def __call__(self, core: Core, address: int = 0, **options: Any) -> Result:
        if core._engine.lock not in (grant, core_module._no_locks) or core._engine.trace is not None:
            return self.run(core, address, **options)
        twin, before = twin_of(core), core.counts
        problem: SimulationError | None = None
        twins_problem: SimulationError | None = None
        try:
            result = self.run(core, address, **options)
        except SimulationError as error:
            if error.finding is not None and error.finding.kind in LEFT_OUT:
                raise  # the twin does not look for it
            problem = error
        try:
            twins = self.run(twin, address, **{**options, "engine": "translator"})
        except SimulationError as error:
            twins_problem = error
        assert str(problem) == str(twins_problem)
        if problem is not None:
            self.left += 1
            raise problem
        self.translated += twins.engine == "translator"
        self.left += twins.engine != "translator"
        assert [getattr(result, f) for f in FIELDS] == [getattr(twins, f) for f in FIELDS]
        mine, others = state_of(core), state_of(twin)
        if before or core.events != twin.events:  # what the core did before its twin was made
            mine["counts"] = others["counts"] = mine["events"] = others["events"] = None
        assert_equal(mine, others)
        return result
