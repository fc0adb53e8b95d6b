"""Measuring the simulator's own speed: what is measured, that it is what was asked for, and what is said of it."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from xattn.bench import simulator_speed
from xattn.bench.simulator_speed import (
    MacProgram,
    ScalarProgram,
    SimulatorBench,
    SimulatorRecord,
    Speed,
    Translation,
    as_json,
    bundles_per_second,
    lines,
    measure_simulator,
    scaling,
    time_translation,
)
from xattn.cli.main import main
from xattn.errors import XattnError

RECORD = SimulatorBench(
    xattn="0",
    cpu="a CPU",
    simulator=SimulatorRecord(
        interpreter=Speed(scalar=0.5e6, mac=0.1e6),
        translator=Speed(scalar=1.2e9, mac=3.3e8),
        translation=Translation(kernel="baseline", bundles=496, cold_seconds=0.4, warm_seconds=0.002),
        two_threads=1.9,
    ),
)


def test_what_is_said() -> None:
    text = "\n".join(lines(RECORD))
    for figure in ("0.50 M/s", "0.10 M/s", "1,200 M/s", "330 M/s", "0.40 s", "2.0 ms", "1.90 times", "a CPU"):
        assert figure in text
    alone = msgspec.structs.replace(RECORD.simulator, translator=None, translation=None, two_threads=None)
    text = "\n".join(lines(msgspec.structs.replace(RECORD, simulator=alone)))
    assert "llvmlite is not installed" in text and "threads, a core each" not in text


def test_json_has_both_engines() -> None:
    found = json.loads(as_json(RECORD))["simulator"]
    assert found["interpreter"] == {"scalar": 0.5e6, "mac": 0.1e6}
    assert found["translator"] == {"scalar": 1.2e9, "mac": 3.3e8}


def test_without_llvmlite_only_the_interpreter_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xattn.sim.core.find_spec", lambda _: None)
    monkeypatch.setattr(simulator_speed, "bundles_per_second", lambda *_: (7.0, (1, None)))
    assert main(["bench", "--simulator", "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)["simulator"]
    assert found["interpreter"] == {"scalar": 7.0, "mac": 7.0} and found["translator"] is None
    assert "llvmlite is not installed" in captured.err


@pytest.fixture
def llvmlite() -> None:
    pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")


@pytest.mark.usefixtures("llvmlite")
def test_both_engines_do_the_same_programs() -> None:
    for program in (ScalarProgram("qkt", 64), MacProgram()):
        slow, fast = (program.prepared(engine)(2) for engine in ("interpreter", "translator"))
        assert slow == fast and slow[0] > 500


@pytest.mark.usefixtures("llvmlite")
def test_the_translator_is_much_faster() -> None:
    """A bound that a busy machine keeps too; `xattn bench --simulator` says what a quiet one does."""
    rates = {engine: bundles_per_second(MacProgram(), engine, 0.02)[0] for engine in ("interpreter", "translator")}
    assert rates["translator"] > 50 * rates["interpreter"]


@pytest.mark.usefixtures("llvmlite")
def test_a_program_that_is_left_to_the_interpreter_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xattn.sim.translate.translator.Translator.run", lambda *_: False)
    with pytest.raises(XattnError, match="left a program of the benchmark to the interpreter"):
        bundles_per_second(MacProgram(), "translator", 0.01)


@pytest.mark.usefixtures("llvmlite")
def test_engines_that_disagree_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_speed, "bundles_per_second", lambda _, engine, __: (7.0, (1, engine)))
    with pytest.raises(XattnError, match="disagree on the program scalar"):
        measure_simulator()


@pytest.mark.usefixtures("llvmlite")
def test_translation_is_timed_in_a_cache_of_its_own() -> None:
    before = os.environ.get("XATTN_CACHE")
    timed = time_translation("qkt")
    assert os.environ.get("XATTN_CACHE") == before
    assert timed.bundles == 168 and timed.warm_seconds < timed.cold_seconds / 5


@pytest.mark.usefixtures("llvmlite")
def test_threads_are_compared() -> None:
    assert 0.2 < scaling(MacProgram(), 2, 0.01) < 4


@pytest.mark.slow
@pytest.mark.usefixtures("llvmlite")
def test_the_whole_measurement() -> None:
    steps: list[str] = []
    found = measure_simulator(lambda done, total, what: steps.append(f"{done}/{total} {what}"), seconds=0.2).simulator
    assert len(steps) == 6 and found.translator is not None and found.translation is not None
    assert found.translator.scalar > 100e6 and found.translator.mac > 100e6
    assert found.translation.cold_seconds < 2 and found.translation.warm_seconds < 0.01
