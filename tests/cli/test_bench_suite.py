"""The suite around `xattn bench`: steps, config files, targets, storing, and what is refused before work begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from xattn.bench import steps
from xattn.bench.peers import Peer, host_models
from xattn.bench.results import read_result
from xattn.bench.steps import Job, Step
from xattn.bench.store import Store
from xattn.cli.main import main
from xattn.errors import InputError

SMALL = ("bench", "--synthetic", "--shape", "16x16", "--quick")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite without the steps that take long."""
    monkeypatch.setattr(steps, "STEPS", [step for step in steps.STEPS if step.name in ("ladder", "accuracy")])


@pytest.mark.usefixtures("only")
def test_the_suite_stores_and_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main([*SMALL, "--all", "--kernel", "qkt", "--output-dir", str(folder)]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines() if line.startswith("==")] == [
        "== ladder", "== accuracy"
    ]  # fmt: skip
    written = {path.name: read_result(path) for path in folder.iterdir()}
    assert set(written) == {"ladder_16x16.json", "accuracy.json"}
    store = Store()
    assert store.find("ladder")[1] == written["ladder_16x16.json"]
    assert store.find("accuracy")[1] == written["accuracy.json"]
    assert written["ladder_16x16.json"].kernels[0].runs == 1 and written["accuracy.json"].cases == 4
    assert captured.err.count("xattn: stored as ") == 2


@pytest.mark.usefixtures("only")
def test_accuracy_can_be_left_out(tmp_path: Path) -> None:
    assert main([*SMALL, "--all", "--skip-accuracy", "--kernel", "qkt", "--output-dir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ladder_16x16.json"]


def test_a_step_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_job: Job) -> Sequence[object]:
        raise InputError("no luck")

    seen: list[int] = []
    last = Step("last", "sees what came before", lambda job: seen.append(len(job.done)) or [])
    monkeypatch.setattr(steps, "STEPS", [steps.STEPS[0], Step("broken", "fails", fail), last])
    assert main([*SMALL, "--all", "--kernel", "qkt"]) == 1
    assert seen == [1]
    assert "xattn: broken: no luck" in capsys.readouterr().err


def test_a_config_file_is_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'steps = ["ladder"]\nkernels = ["qkt"]\nshapes = ["16x16", "32x32"]\nclock = "1GHz"\nquick = true\n'
        "[input]\nsynthetic = true\nseed = 5\ntoken = 64\n"
    )
    assert main(["bench", "--config", str(suite), "--json", "-"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert [r["input"]["tokens"] for r in (first, second)] == [16, 32]
    assert (first["input"]["seed"], first["input"]["first_token"], first["clock_hz"]) == (5, 64, 1e9)
    assert [kernel["name"] for kernel in first["kernels"]] == ["qkt"] and first["kernels"][0]["runs"] == 1
    options = ["--seed", "6", "--shape", "64x64", "--clock", "2", "--json", "-"]  # go before the file
    assert main(["bench", "--config", str(suite), *options]) == 0
    only = json.loads(capsys.readouterr().out)
    assert (only["input"]["seed"], only["input"]["tokens"], only["clock_hz"]) == (6, 64, 2e9)


def test_a_target_decides_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ladder.json"
    against = [*SMALL, "--no-store", "--kernel", "vectorized", "--against", "baseline", "--json", str(file), "--target"]
    assert main([*against, "1.2"]) == 0
    out = capsys.readouterr().out
    baseline, vectorized = (kernel.cycles for kernel in read_result(file).kernels)
    assert "║  VECTORIZED ATTENTION RESULTS      ║" in out and "✅ ACHIEVED" in out
    assert f"Speedup:     {baseline / vectorized:.2f}x" in out and "simulated" in out.splitlines()[-1]
    assert main([*against, "3"]) == 1
    assert "⚠️ INVESTIGATE" in capsys.readouterr().out
    assert not Store().folder.exists()


def test_peers_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    absent = Peer("Other", ("no_such_package",), ("fp32",), lambda *_: None)
    monkeypatch.setattr("xattn.bench.peers.run.peers", lambda: [host_models()[0], absent])
    monkeypatch.setattr("xattn.bench.peers.run.usable_cpus", lambda: 2)
    assert main(["bench", "--synthetic", "--quick", "--peers", "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "measured" and record["what"] == "peers" and record["tokens"] == 1500
    assert [(row["name"], row["threads"]) for row in record["rows"]] == [("v0 model", 1), ("v0 model", 2)]
    assert all(row["timing"]["samples"] for row in record["rows"])
    (missing,) = record["missing"]
    assert missing.startswith("Other: not installed (no_such_package): pip install")
    assert Store().find("peers")[1].rows[0].name == "v0 model"


def test_where_a_ladder_is_stored_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--kernel", "qkt", "--store", str(tmp_path / "here")]) == 0
    name = Store(tmp_path / "here").find("latest")[0]
    assert capsys.readouterr().err == f"xattn: stored as {name}\n"


def test_a_store_nobody_chose_is_no_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "xattn").write_text("in the way")
    monkeypatch.delenv("XATTN_DATA")
    monkeypatch.setattr("xattn.bench.store.data_folder", lambda: tmp_path / "xattn")
    assert main([*SMALL, "--kernel", "qkt"]) == 0
    assert capsys.readouterr().err.startswith("xattn: the result will not be stored: cannot write in ")
    assert main([*SMALL, "--kernel", "qkt", "--all"]) == 2  # the suite is for keeping


BAD = {
    "unknown kernel": (["--kernel", "fast"], "no kernel is called 'fast'; there are baseline"),
    "unknown opponent": (["--against", "fast"], "--against fast: expected recorded or one of baseline, tiled"),
    "opponent that does not attend": (["--against", "qkt"], "--against qkt: expected recorded or one of"),
    "kernel that does not attend": (["--kernel", "qkt", "--target", "2"], "nothing to put qkt against: it computes"),
    "target": (["--target", "0"], "--target 0: expected a speed-up above 0"),
    "no such config": (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
    "unknown key": (["--config", "odd.toml"], "odd.toml: unknown key 'kernel'; did you mean kernels? known: steps"),
    "unknown step": (["--config", "step.toml"], "no step is called 'fly'; there are ladder, accuracy"),
    "store": (["--store", "file"], "cannot write in file/results: Not a directory; choose another place with --store"),
    "output folder": (["--output-dir", "file/x"], "cannot write in file/x: Not a directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_work(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_work(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(steps, "measure_ladder", no_work)
    Path("file").write_text("")
    Path("odd.toml").write_text("kernel = ['qkt']")
    Path("step.toml").write_text("steps = ['fly']")
    arguments, message = BAD[case]
    assert main([*SMALL, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"xattn: {message}") and captured.err.count("\n") == 1
