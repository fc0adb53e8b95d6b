"""`xattn compare`: what is printed, exit codes, and bad input in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from xattn.bench import measure_ladder, synthetic_activations
from xattn.bench.record import BenchRecord, as_json
from xattn.bench.store import Store
from xattn.cli.main import main


def ladder(seed: int = 0, cycles: int = 1000) -> BenchRecord:
    """A real one, with the cycles of its one kernel replaced."""
    record = measure_ladder(synthetic_activations(seed), ["qkt"], tokens=16, width=16)
    record.kernels[0].cycles = cycles
    record.provenance.created = f"2026-01-01T00:00:{seed:02}.000+00:00"
    return record


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, cycles in (("a", 1000), ("b", 1015), ("c", 900)):
        Path(f"{name}.json").write_bytes(as_json(ladder(cycles=cycles)))


@pytest.mark.usefixtures("files")
def test_a_rise_past_the_threshold_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.json", "b.json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["A: a.json", "B: b.json"]
    assert lines[4].split() == ["qkt", "16×16", "cycles", "simulated", "1,000", "1,015", "+1.50", "%", "worse"]
    assert lines[-1] == "1 worse, 1 of 2 figures the same"
    assert main(["compare", "a.json", "b.json", "--threshold", "1.5"]) == 0
    assert main(["compare", "a.json", "b.json", "--threshold", "1.4"]) == 1
    assert main(["compare", "a.json", "c.json"]) == 0
    assert "-10.00 %" in capsys.readouterr().out


@pytest.mark.usefixtures("files")
def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.json", "b.json", "--json", "-"]) == 1
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert (record["a"], record["b"], record["worse"]) == ("a.json", "b.json", 1)
    change = record["changes"][0]
    assert (change["before"], change["after"], change["verdict"]) == (1000, 1015, "worse")
    assert change["ratio"] == pytest.approx(0.015) and "worse" in captured.err


def test_stored_results_are_compared_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store()
    first = store.save(ladder(0, 1000))
    store.save(ladder(1, 1000))
    (store.results / "broken.json").write_text("{")
    assert main(["compare", "latest~1"]) == 0  # with the latest
    captured = capsys.readouterr()
    assert f"A: {first}" in captured.out
    assert captured.err.startswith(f"xattn: skipped {store.results / 'broken.json'}: not a result of xattn")
    assert main(["compare", first[-6:], "latest", "--all", "--store", os.environ["XATTN_DATA"]]) == 0
    assert "0 worse, 2 of 2 figures the same" in capsys.readouterr().out


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.json", "nowhere.json"], "nowhere.json: no such file"),
        (["a.json", "latest"], "nothing is stored in "),
        (["a.json", "b.json", "--threshold", "-1"], "--threshold -1: expected percent, 0 or more"),
        (["a.json", "b.json", "--json", "none/x.json"], "cannot write none/x.json: none is not a folder"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"xattn: {message}") and captured.err.count("\n") == 1
