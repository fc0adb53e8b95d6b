"""xattn simulate: files in, buffers, cycles, timeline and findings out."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xattn.array.instructions import InstructionStream, write_instruction_text, write_instructions
from xattn.array.xclbin import write_xclbin
from xattn.array.xclbin_build import build_xclbin
from xattn.build.artifacts import make_artifacts
from xattn.build.manifest import BuildRequest
from xattn.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "sim" / "array"))

from array_programs import Draft, done, fetch, one_core, send

WORDS = 256


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Host → adder → host, as xclbin and PDI, with the stream in both forms and an input."""
    _write(tmp_path, one_core())
    stream = InstructionStream((*send(0, 0, WORDS, 0), *fetch(0, 1, WORDS, 1), done(0)))
    (tmp_path / "insts.bin").write_bytes(write_instructions(stream))
    (tmp_path / "insts.txt").write_text(write_instruction_text(stream))
    (tmp_path / "in.bin").write_bytes(np.arange(WORDS, dtype=np.uint32).tobytes())
    return tmp_path


def _write(folder: Path, draft: Draft) -> None:
    (folder / "add.pdi").write_bytes(draft.image())
    (folder / "add.xclbin").write_bytes(write_xclbin(build_xclbin(draft.image(), 1)))


def run(folder: Path, *arguments: str, file: str = "add.xclbin", insts: str = "insts.bin") -> int:
    texts = [a.replace("DIR", str(folder)) for a in arguments]
    return main(["simulate", str(folder / file), "--insts", str(folder / insts), *texts])


@pytest.mark.parametrize("file", ["add.xclbin", "add.pdi"])
@pytest.mark.parametrize("insts", ["insts.bin", "insts.txt"])
@pytest.mark.parametrize("numbers", [("", ""), ("0=", "1=")])
def test_an_output_is_written(files: Path, file: str, insts: str, numbers: tuple[str, str], capsys) -> None:
    options = ["--input", f"{numbers[0]}DIR/in.bin", "--output", f"{numbers[1]}DIR/out.bin"]
    assert run(files, *options, file=file, insts=insts) == 0
    assert np.array_equal(np.frombuffer((files / "out.bin").read_bytes(), np.uint32), np.arange(WORDS) + 1)
    text = capsys.readouterr().out
    assert " cycles (simulated): " in text and "1,024 bytes read from host memory, 1,024 written" in text
    assert "core (0,2)" in text and "S2MM 0 of column 0" in text and "no findings" in text


def test_json_accounts_for_every_cycle_and_byte(files: Path, capsys) -> None:
    assert run(files, "--input", "DIR/in.bin", "--json", "--clock", "1.8GHz") == 0
    report = json.loads(capsys.readouterr().out)
    (core,) = report["cores"]
    assert core["busy"] + sum(core["waits"].values()) == report["cycles"]
    assert report["milliseconds"] == pytest.approx(report["cycles"] / 1.8e6)
    moved = [(t["channel"], t["buffers"], t["words"]) for t in report["transfers"]]
    assert moved == [("MM2S 0", [0], WORDS), ("S2MM 0", [1], WORDS)]
    for transfer in report["transfers"]:
        assert 0 < transfer["pushed"] <= transfer["began"] < transfer["ended"] <= report["cycles"]
    assert {(c["name"], c["row"], c["words"]) for c in report["channels"]} == {
        (name, row, WORDS) for name in ("MM2S 0", "S2MM 0") for row in (0, 2)
    }


def test_a_later_run_is_warm(files: Path, capsys) -> None:
    cycles = []
    for runs in ("1", "3"):
        assert run(files, "--input", "DIR/in.bin", "--json", "--runs", runs) == 0
        cycles.append(json.loads(capsys.readouterr().out)["cycles"])
    assert cycles[1] < cycles[0]


@pytest.mark.parametrize("runs", ["1", "2"])
def test_the_timeline_shows_cores_channels_and_locks(files: Path, runs: str, capsys) -> None:
    assert run(files, "--input", "DIR/in.bin", "--timeline", "DIR/t.json", "--json", "--runs", runs) == 0
    cycles = json.loads(capsys.readouterr().out)["cycles"]
    trace = json.loads((files / "t.json").read_text())
    events = trace["traceEvents"]
    names = {e["args"]["name"] for e in events if e["ph"] == "M"}
    assert {"host", "tile (0,0)", "tile (0,2)", "controller", "core (0,2)", "DMA S2MM 0 of core tile (0,2)"} <= names
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    spans = [e for e in events if e["ph"] == "X"]
    assert {e["name"] for e in spans if tracks[e["tid"]] == "core (0,2)"} >= {"runs"}
    bds = [e for e in spans if tracks[e["tid"]] == "DMA S2MM 0 of core tile (0,2)" and e["name"].startswith("BD")]
    assert [e["name"] for e in bds] == ["BD 0: 64 words", "BD 1: 64 words"] * 2
    assert all(e["ts"] <= cycles for e in events if e["ph"] != "M")
    assert all(e["ts"] >= 0 and e["dur"] > 0 for e in spans)
    assert max(e["ts"] + e["dur"] for e in spans if tracks[e["tid"]] == "controller") == cycles
    values = [e["args"]["value"] for e in events if e["ph"] == "C" and e["name"] == "lock 1"]
    assert max(values) == 1 and values[-1] == 0  # full buffers of the input: taken as soon as they are there


def test_buffers_without_a_file_are_zeros_or_random(files: Path) -> None:
    outputs = []
    for options in ([], ["--seed", "1"], ["--seed", "1"], ["--seed", "2"]):
        assert run(files, "--output", "1=DIR/out.bin", *options) == 0
        outputs.append(np.frombuffer((files / "out.bin").read_bytes(), np.uint32))
    assert np.array_equal(outputs[0], np.ones(WORDS))
    assert np.array_equal(outputs[1], outputs[2]) and not np.array_equal(outputs[1], outputs[3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What xattn build makes: two blocks of a small kernel."""
    out = tmp_path_factory.mktemp("built")
    for name, data in make_artifacts(BuildRequest("qkt", "tile", 16, 16, blocks=2)).items():
        (out / name).write_bytes(data)
    return out


@pytest.mark.parametrize("options", [[], ["--seed", "3"], ["--runs", "2"]])
def test_a_build_is_compared_with_the_model(folder: Path, options: list[str], capsys) -> None:
    assert main(["simulate", str(folder), *options]) == 0
    text = capsys.readouterr().out
    assert re.search(
        r"\nexact: 2 of 2 blocks, bit for bit as the integer model; [\d,]+ cycles \(simulated\) a block\n", text
    )
    assert "operands: random bytes, seed 3" in text if "--seed" in options else "Whisper tiny.en" in text
    assert main(["simulate", str(folder), *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["blocks"]["count"], found["blocks"]["exact"]) == (2, 2)
    assert found["blocks"]["cycles_each"] == found["cycles"] / 2


def test_a_wrong_block_is_exit_code_1(folder: Path, tmp_path: Path, capsys) -> None:
    """The manifest says another shift than the program was made with."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(manifest.replace('"shift": 4', '"shift": 5'))
    assert main(["simulate", str(tmp_path), "--seed", "1"]) == 1
    assert "exact: 0 of 2 blocks, bit" in capsys.readouterr().out


def test_files_for_the_buffers_of_a_build_are_taken_as_they_are(folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "q.bin").write_bytes(bytes(range(256)) * 2)
    arguments = ["--input", f"0={tmp_path}/q.bin", "--output", f"0={tmp_path}/back.bin"]
    assert main(["simulate", str(folder), *arguments]) == 0
    assert "integer model" not in capsys.readouterr().out
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "q.bin").read_bytes()


def test_what_is_needed_besides_a_file_is_said(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["simulate", str(folder / "qkt_tile.xclbin")]) == 2
    assert "what the controller does with it is missing: --insts FILE" in capsys.readouterr().err
    assert main(["simulate", str(folder), "--insts", str(folder / "insts.bin")]) == 2
    assert "is a folder with its own instruction stream: leave out --insts" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path)]) == 2
    assert "expected a folder that `xattn build` wrote" in capsys.readouterr().err
    assert main(["simulate", str(folder), "--engine", "fast"]) == 2
    assert "no engine is called 'fast'; there are auto, interpreter, translator" in capsys.readouterr().err


def test_a_deadlock_is_exit_code_1_and_says_who_waits(files: Path, capsys) -> None:
    draft = one_core()
    draft.bds = [replace(p, bd=replace(p.bd, release=None)) for p in draft.bds]
    _write(files, draft)
    assert run(files, "--input", "DIR/in.bin", "--output", "DIR/out.bin") == 1
    assert "core (0,2) waits since cycle" in capsys.readouterr().err
    assert not (files / "out.bin").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "7=DIR/in.bin"], "the stream uses no buffer 7; it uses 0, 1"),
        (["--input", "0=DIR/in.bin", "--input", "0=DIR/in.bin"], "buffer 0 is named twice"),
        (["--input", "DIR/short.bin"], "has 8 bytes; the stream uses 1024 of buffer 0"),
        (["--input", "DIR/none.bin"], "none.bin: No such file"),
    ],
)
def test_bad_input_is_exit_code_2(files: Path, options: list[str], message: str, capsys) -> None:
    (files / "short.bin").write_bytes(bytes(8))
    assert run(files, *options) == 2
    assert message in capsys.readouterr().err


def test_costs_name_their_sources(capsys) -> None:
    assert main(["simulate", "--costs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "value", "unit", "source", "error", "what"]
    assert any(line.startswith("ddr_bytes") and "IX" in line for line in lines) and len(lines) > 20
