"""Cycle counts that cannot rot: every kernel takes exactly the simulated cycles that the golden file says.

pytest tests/kernels/test_cycles.py --update-golden                 accepts new kernels and falls
pytest tests/kernels/test_cycles.py --update-golden --accept-rise   accepts rises too
pytest tests/kernels/test_cycles.py -k sound --update-golden        only one kernel
"""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest

from xattn.bench import synthetic_activations, tile_for
from xattn.devices import Host, Simulator
from xattn.kernels.registry import kernels

SLOW_FROM = 100_000  # cycles: more than a second of simulation

GOLDEN = golden.read()
CASES = [(name, tokens, width) for name, spec in kernels().items() for tokens, width in spec.shapes]


def shape(tokens: int, width: int) -> str:
    return f"{tokens}x{width}"


def case(name: str, tokens: int, width: int) -> object:
    cycles = GOLDEN.get(name, {}).get(shape(tokens, width), 0)
    marks = [pytest.mark.slow] if cycles >= SLOW_FROM else []
    return pytest.param(name, tokens, width, id=f"{name}-{shape(tokens, width)}", marks=marks)


@pytest.fixture(scope="session")
def update(request: pytest.FixtureRequest) -> bool:
    wanted = bool(request.config.getoption("--update-golden", default=False))
    if wanted and hasattr(request.config, "workerinput"):
        pytest.fail("--update-golden writes one file: leave out -n")
    return wanted


@pytest.mark.parametrize(("name", "tokens", "width"), [case(*known) for known in CASES])
def test_a_kernel_takes_the_cycles_of_the_golden_file(
    name: str, tokens: int, width: int, update: bool, request: pytest.FixtureRequest
) -> None:
    spec = kernels()[name]
    tile = tile_for(spec, synthetic_activations(0), 0, tokens, width)
    operands = (tile.q, tile.k, tile.v, tile.shift, tile.before, tile.mask)
    result = Simulator().load(spec, tokens, width).run(*operands)
    model = Host().load(spec, tokens, width).run(*operands)
    assert np.array_equal(result.output, model.output), "not exact: cycles of a wrong kernel mean nothing"
    assert result.cycles is not None
    known = GOLDEN.get(name, {}).get(shape(tokens, width))
    accept_rise = bool(request.config.getoption("--accept-rise", default=False))
    problem = golden.complaint(known, result.cycles, update, accept_rise)
    assert problem is None, f"{name} {shape(tokens, width)}: {problem}"
    if update and known != result.cycles:
        golden.record(name, shape(tokens, width), result.cycles)


def test_the_golden_file_names_only_what_there_is(update: bool) -> None:
    known = {name: {shape(*each) for each in spec.shapes} for name, spec in kernels().items()}
    if update:
        golden.keep_only(known)
    gone = [
        f"{name} {each}" for name, shapes in golden.read().items() for each in shapes if each not in known.get(name, ())
    ]
    assert not gone, f"no longer there: {', '.join(gone)}; {golden.HOW} removes them"


# --- the gate itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "update", "accept_rise", "stands"),
    [
        (100, 100, False, False, True),
        (100, 101, False, False, False),
        (100, 99, False, False, False),
        (None, 100, False, False, False),
        (None, 100, True, False, True),
        (100, 99, True, False, True),
        (100, 101, True, False, False),
        (100, 101, True, True, True),
        (100, 101, False, True, False),
    ],
)
def test_what_may_stand(before: int | None, now: int, update: bool, accept_rise: bool, stands: bool) -> None:
    problem = golden.complaint(before, now, update, accept_rise)
    assert (problem is None) == stands
    if problem is not None:
        assert "--update-golden" in problem and f"{now:,} cycles" in problem
        assert ("--accept-rise" in problem) == (before is not None and now > before)


def test_the_file_keeps_what_is_not_measured(tmp_path: Path) -> None:
    file = tmp_path / "golden.json"
    for kernel, each, cycles in (("b", "64x64", 7), ("a", "16x16", 3), ("b", "16x16", 5), ("b", "64x64", 6)):
        golden.record(kernel, each, cycles, file)
    assert golden.read(file) == {"a": {"16x16": 3}, "b": {"16x16": 5, "64x64": 6}}
    golden.keep_only({"b": {"64x64"}}, file)
    assert golden.read(file) == {"b": {"64x64": 6}} and list(tmp_path.iterdir()) == [file]
