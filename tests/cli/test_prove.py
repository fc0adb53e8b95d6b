"""`xattn prove`: what is said of a kernel's loops, as text and as JSON, and bad input in one line."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from xattn.cli.main import main
from xattn.compiler.language import Kernel, int8
from xattn.kernels import registry
from xattn.kernels.blocks import RIGHT, row_panels
from xattn.kernels.registry import KernelSpec, compiled, kernels

needs_solver = pytest.mark.skipif(
    importlib.util.find_spec("ortools") is None, reason='NOT CHECKED: proofs need OR-Tools, pip install "xattn[tune]"'
)


def panels(k: Kernel, tokens: int, width: int) -> None:
    """One loop of two trips, which loads a vector for each half of a shuffle: 8 loads and 4 stores in one bank."""
    rows = k.argument("rows", int8, (tokens, width), bank=1)
    row_panels(k, rows, k.argument("out", RIGHT, (tokens // 16, width // 8, 2), bank=1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A kernel of one small loop, in whose iterations the compiler's own search finds nothing to overlap.

    The folder for its schedules is not there yet.
    """
    spec = KernelSpec("panels", "row panels alone", panels, kernels()["qkt"].model, ((16, 16),))
    monkeypatch.setattr(registry, "kernels", lambda: {"panels": spec})
    monkeypatch.setattr("xattn.compiler.schedule.modulo_schedule", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "schedules"
    monkeypatch.setattr(registry, "SCHEDULES", folder)
    return folder


def prove(*arguments: object) -> int:
    return main(["prove", *(str(argument) for argument in arguments)])


def record(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[dict[str, Any], str]:
    """The JSON that `--json -` prints, and the table, which then goes to standard error."""
    assert prove(*arguments, "--json", "-") == 0
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


@needs_solver
@pytest.mark.usefixtures("small")
def test_a_loop_is_improved_and_proved(capfd: pytest.CaptureFixture[str]) -> None:
    found, text = record(capfd, "panels", "--shape", "16x16", "--time-limit", "5")
    [loop] = found["loops"]
    assert (found["kernel"], found["tokens"], found["width"], loop["loop"]) == ("panels", 16, 16, "row panels")
    assert (loop["trips"], loop["resource_minimum"], loop["best_interval"]) == (2, 12, 12)
    assert loop["interval"] > 12 and loop["cycles"] >= 2 * loop["interval"] and loop["best_cycles"] < loop["cycles"]
    assert loop["proved_minimal"] is True and loop["undecided"] == []
    assert loop["verdict"] == "improved to 12, proved minimal"
    assert loop["argument"] == "II 12 is the least possible: port bank 1 is held for 12 cycles"
    assert "kept" not in found
    assert text.startswith("panels, 16×16: initiation intervals (II)")
    assert f"improved to 12, proved minimal; {loop['best_cycles']} cycles" in " ".join(re.sub(" +", " ", text).split())
    assert f"row panels: {loop['argument']}" in text


@needs_solver
@pytest.mark.usefixtures("small")
def test_too_little_time_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    found, text = record(capfd, "panels", "--shape", "16x16", "--time-limit", "1e-6")
    [loop] = found["loops"]
    assert loop["proved_minimal"] is False and loop["undecided"] == list(range(12, loop["interval"]))
    assert loop["verdict"] == f"12–{loop['interval'] - 1} undecided" and "undecided within the time" in text


def test_a_kernel_at_its_bound_needs_no_solver(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    target = tmp_path / "proof.json"
    assert prove("qkt", "--shape", "32x32", "--json", target) == 0
    captured = capfd.readouterr()
    [loop] = json.loads(target.read_text())["loops"]
    assert (loop["loop"], loop["trips"], loop["interval"], loop["proved_minimal"]) == ("tiles", 4, 32, True)
    assert captured.err == "" and "32 operations share slot vec" in captured.out  # 32³ products of 1,024 in 4 trips
    assert list(tmp_path.iterdir()) == [target]


def test_a_kernel_without_loops(capfd: pytest.CaptureFixture[str]) -> None:
    found, text = record(capfd, "qkt", "--shape", "16x16")
    assert found["loops"] == [] and text == "qkt, 16×16: no hardware loops, nothing to prove\n"


@pytest.mark.usefixtures("small")
def test_a_search_without_the_extra_says_what_to_install(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    refuse(
        capfd, 'proofs need OR-Tools, which is not installed: pip install "xattn[tune]"', "panels", "--shape", "16x16"
    )


@needs_solver
def test_update_keeps_schedules_that_later_compilations_use(
    small: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compiled("panels", 16, 16)
    first, text = record(capfd, "panels", "--shape", "16x16", "--update")
    [loop] = first["loops"]
    assert first["kept"] == ["row panels"] and first["refused"] == []
    assert [path.name for path in small.iterdir()] == ["panels-16x16.json"]
    assert f"kept 1 schedule in {small / 'panels-16x16.json'}" in text
    after = compiled("panels", 16, 16)
    assert len(after.bundles) != len(before.bundles)
    kept = (small / "panels-16x16.json").read_bytes()

    monkeypatch.setitem(sys.modules, "ortools", None)  # who has only the file needs no solver
    second, text = record(capfd, "panels", "--shape", "16x16", "--update")
    [now] = second["loops"]
    assert (now["interval"], now["cycles"]) == (loop["best_interval"], loop["best_cycles"])
    assert now["proved_minimal"] and second["kept"] == ["row panels"]
    assert "proved minimal; its schedule is on file" in " ".join(re.sub(" +", " ", text).split())
    assert (small / "panels-16x16.json").read_bytes() == kept


@needs_solver
def test_update_without_anything_better_writes_nothing(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found, text = record(capfd, "panels", "--shape", "16x16", "--update", "--time-limit", "1e-6")
    assert found["kept"] == [] and not small.exists()
    assert "no schedules to keep" in text


@needs_solver
def test_ctrl_c_leaves_the_files_as_they_were(
    small: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small.mkdir()
    (small / "panels-16x16.json").write_bytes(b"[]")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for function in ("xattn.compiler.prove_model._interruptible", "os.replace"):  # in the search, and in the writing
        with monkeypatch.context() as patch:
            patch.setattr(function, interrupt)
            assert prove("panels", "--shape", "16x16", "--update") not in (0, 2)
        assert capfd.readouterr().out == ""
        assert [path.name for path in small.iterdir()] == ["panels-16x16.json"]
        assert (small / "panels-16x16.json").read_bytes() == b"[]"


@needs_solver
def test_a_folder_that_cannot_be_written_is_told(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small.write_text("not a folder")
    refuse(capfd, f"cannot keep schedules in {small / 'panels-16x16.json'}: ", "panels", "--shape", "16x16", "--update")


BAD = {
    "unknown kernel": (["fast"], "no kernel is called 'fast'; there are baseline, tiled, lut"),
    "wrong shape": (["qkt", "--shape", "8x8"], "kernel qkt cannot take 8 tokens of width 8; it takes 64×64, 32×32"),
    "no shape": (["qkt", "--shape", "64"], "shape '64' is not tokens × channels, such as 64x64"),
    "no time": (["qkt", "--time-limit", "0"], "--time-limit 0: expected seconds, more than 0 and at most 86400"),
    "negative time": (["qkt", "--time-limit=-1"], "--time-limit -1: expected seconds"),
    "endless time": (["qkt", "--time-limit", "inf"], "--time-limit inf: expected seconds"),
    "no time at all": (["qkt", "--time-limit", "nan"], "--time-limit nan: expected seconds"),
    "no such folder": (["qkt", "--json", "nowhere/x.json"], "cannot write nowhere/x.json: nowhere is not a folder"),
    "folder as file": (["qkt", "--json", "."], "cannot write .: it is a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(
    case: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    refuse(capfd, message, *arguments)


def refuse(capfd: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    assert prove(*arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"xattn: {message}") and captured.err.count("\n") == 1, captured.err


def test_a_time_that_is_no_number_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert prove("qkt", "--time-limit", "soon") == 2
    assert "Invalid value for '--time-limit'" in capfd.readouterr().err
