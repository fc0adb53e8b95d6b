"""`xattn run KERNEL`: on each device, its data, what it says, and no falling back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from xattn.cli.main import main
from xattn.kernels.registry import kernel_spec
from xattn.kernels.registry import kernels as all_kernels

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))

from fake_pyxrt import Fake, State

SIDE = 16


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    machine = Fake()
    monkeypatch.setitem(sys.modules, "pyxrt", machine.module)
    return machine


def run(*arguments: object) -> int:
    return main(["run", *(str(argument) for argument in arguments)])


def report(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:  # type: ignore[type-arg]
    assert run(*arguments, "--json") == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_on_the_simulated_core(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "qkt", "--shape", "16x16")
    assert (found["device"], found["exact"], found["elements"], found["seconds"]) == ("sim", True, 256, None)
    assert len(found["cycles"]) == 1 and found["cycles"][0] > SIDE**3 / 256
    assert run("qkt", "--shape", "16x16", "--device", "sim", "--runs", 2, "--engine", "auto") == 0
    text = capsys.readouterr().out
    assert text.startswith("qkt on sim: 1 block of 16×16, shift 4\ninputs: q random, seed 0,")
    assert "\nexact: all 256 elements are the integer model's\n" in text
    assert f"\n{found['cycles'][0]:,} cycles in the first of 2 runs, " in text and "cycles simulated: one core" in text


def test_on_the_simulated_array(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "qkt", "--shape", "16x16", "--device", "array", "--design", "array16", "--runs", 2)
    assert (found["exact"], found["blocks"], found["design"]) == (True, 16, "array16")
    assert len(found["cycles"]) == 2 and found["figures"] == "cycles simulated: the array, without launch"


def test_on_the_host_there_is_nothing_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "baseline", "--shape", "16x16", "--device", "host", "--runs", 3)
    assert (found["exact"], found["wrong_elements"], found["cycles"], len(found["seconds"])) == (None, None, None, 3)
    assert run("baseline", "--shape", "16x16", "--device", "host") == 0
    assert "that of the integer model itself; nothing to compare it with" in capsys.readouterr().out


def test_on_the_npu(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "qkt", "--shape", "16x16", "--device", "npu", "--design", "columns4", "--runs", 3)
    assert (found["exact"], found["blocks"], found["device_name"]) == (True, 4, "NPU Phoenix")
    assert found["cycles"] is None and len(found["seconds"]) == len(found["host_seconds"]) == 3
    assert found["figures"].startswith("wall time measured on the NPU")
    assert fake.names().count("run") == 3
    assert run("qkt", "--shape", "16x16", "--device", "npu", "--timeout", 2.5) == 0
    text = capsys.readouterr().out
    assert text.startswith("qkt on npu (NPU Phoenix), design tile: 1 block of 16×16")
    assert "(wall time measured on the NPU, from submission to end, launch and transfers included)" in text
    assert ("wait", 2500) in fake.calls
    assert len(fake.contexts) == 0, "contexts are few: they are given back"


def test_data_and_shift_are_those_given(tmp_path: Path, capsys: pytest.CaptureFixture[str], fake: Fake) -> None:
    random = np.random.default_rng(8)
    q, k, v = random.integers(-128, 128, (3, 2, SIDE, SIDE)).astype(np.int8)
    (tmp_path / "q.bin").write_bytes(q.tobytes())
    np.save(tmp_path / "k.npy", k)
    np.save(tmp_path / "v.npy", v)
    spec = kernel_spec("baseline")
    expected = np.stack([spec.model(q[n], k[n], v[n], 7) for n in range(2)])
    loads = ["--load", f"{tmp_path}/q.bin@q", "--load", f"{tmp_path}/k.npy@k", "--load", f"{tmp_path}/v.npy@v"]
    for device in ("sim", "npu", "host"):
        out = tmp_path / f"{device}.bin"
        options = ["--shape", "16x16", "--device", device, *loads, "--arg", "shift=7", "--dump", f"out={out}"]
        found = report(capsys, "baseline", *options)
        assert (found["blocks"], found["shift"], found["inputs"]["q"]) == (2, 7, f"{tmp_path}/q.bin")
        assert out.read_bytes() == expected.tobytes()
    assert fake.names().count("run") == 2
    found = report(capsys, "baseline", "--shape", "16x16", "--device", "host", *loads[:2], "--seed", "5", "--arg", "7")
    assert found["inputs"]["k"] == "random, seed 5" and found["blocks"] == 2


def test_what_is_not_exact_is_said_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    spec = kernel_spec("qkt")
    wrong = replace(spec, model=lambda *given: np.where(np.eye(SIDE, dtype=bool), 1, 0) + spec.model(*given))
    monkeypatch.setitem(all_kernels(), "qkt", wrong)
    found = report(capsys, "qkt", "--shape", "16x16", code=1)
    assert (found["exact"], found["wrong_elements"]) == (False, SIDE)
    assert run("qkt", "--shape", "16x16", "--dump", f"out={tmp_path / 'out'}") == 1
    assert "NOT EXACT: 16 of 256 elements are not the model's" in capsys.readouterr().out


def test_the_folder_of_a_build_runs_on_the_npu(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = tmp_path / "built"
    assert main(["build", "qkt", "--shape", "16x16", "-D", "shift=6", "--out", str(built)]) == 0
    capsys.readouterr()
    found = report(capsys, built, "--device", "npu")
    assert (found["kernel"], found["shift"], found["exact"], found["width"]) == ("qkt", 6, True, 16)
    assert ("xclbin", str(built / "qkt_tile.xclbin")) in fake.calls
    for options, message in [
        (["--device", "npu", "--arg", "4"], "shifts by 6, not by 4"),
        (["--device", "npu", "--design", "columns4"], f"--design: {built} is built already"),
        (["--device", "sim"], "runs on --device npu; xattn simulate"),
        ([], "run it with --device npu"),
    ]:
        assert run(built, *options) == 2
        assert message in capsys.readouterr().err


def test_without_an_npu_nothing_else_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    out = tmp_path / "out.bin"
    assert run("qkt", "--shape", "16x16", "--device", "npu", "--dump", f"out={out}", "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and not out.exists()
    assert "pyxrt, the Python module of AMD's XRT, cannot be imported" in captured.err
    assert "`xattn doctor` says what is missing" in captured.err


def test_a_run_that_fails_is_exit_code_1(fake: Fake, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake.states = [State.ERT_CMD_STATE_ERROR]
    out = tmp_path / "out.bin"
    assert run("qkt", "--shape", "16x16", "--device", "npu", "--dump", f"out={out}") == 1
    captured = capsys.readouterr()
    assert "ERT_CMD_STATE_ERROR, not COMPLETED" in captured.err and captured.out == "" and not out.exists()


BAD = [
    (["qkt", "--call", "f"], "qkt is a kernel; only ELF programs take --call"),
    (["qkt", "--strict", "--sp", "0"], "only ELF programs take --sp and --strict"),
    (["{file}", "--seed", "3"], "is no kernel; only kernels take --seed"),
    (["{file}", "--device", "sim"], "no kernel is called"),
    (["qkt", "--device", "host", "--design", "tile"], "--design: --device host has no array"),
    (["qkt", "--timeout", "3"], "--timeout is for --device npu"),
    (["qkt", "--arg", "4", "--arg", "5"], "a kernel takes one integer"),
    (["qkt", "--arg", "scale=3"], "a kernel's integer is called shift"),
    (["qkt", "--arg", "32"], "a shift is from 0 to 31"),
    (["qkt", "--load", "{file}@x"], "a kernel has FILE@q, FILE@k and FILE@v"),
    (["qkt", "--load", "{file}@q"], "has 3 elements, expected blocks of 64 × 64 = 4096"),
    (["qkt", "--load", "{wide}@q"], "holds int16, expected int8"),
    (["qkt", "--load", "{two}@q", "--load", "{one}@k"], "2 of q, 1 of k, 2 of v are no whole runs: as many of each"),
    (["qkt", "--device", "array", "--design", "columns4", "--load", "{two}@q"], "takes {'q': 4, 'k': 4, 'v': 4} a run"),
    (["qkt", "--load", "{broken}@q"], "broken.npy: "),
    (["qkt", "--dump", "0x70000:4"], "a kernel has out=FILE"),
    (["qkt", "--dump", "out=/no/where/out.bin"], "is not a folder"),
    (["qkt", "--shape", "17x17"], "cannot take 17 tokens"),
    (["qkt", "--device", "array", "--design", "ring"], "no design is called 'ring'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a)[:40] for a, _ in BAD])
def test_bad_options_are_one_line_with_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name for name in ("file", "wide", "one", "two", "broken.npy")}
    files["file"].write_bytes(b"abc")
    np.save(tmp_path / "wide.npy", np.zeros((64, 64), np.int16))
    (tmp_path / "wide.npy").rename(files["wide"])
    files["one"].write_bytes(bytes(64 * 64))
    files["two"].write_bytes(bytes(2 * 64 * 64))
    files["broken.npy"].write_bytes(b"\x93NUMPY\x01\x00\xff\xff")
    names = {name.partition(".")[0]: path for name, path in files.items()}
    assert run(*(text.format(**names) if text.startswith("{") else text for text in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
