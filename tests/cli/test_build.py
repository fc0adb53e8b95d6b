"""`xattn build`: files in a folder, the same each time, and clear words for what cannot be built."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from xattn.array.pdi import read_pdi
from xattn.cli.main import main
from xattn.isa.elf import load_elf


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path / "cache"))


def test_a_build_writes_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert main(["build", "qkt", "--out", str(out), "--shape", "16x16"]) == 0
    text = capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {
        "qkt.o",
        "core_0_2.elf",
        "qkt_tile.pdi",
        "qkt_tile.xclbin",
        "insts.bin",
        "exp_lut.h",
        "qkt_tile.mlir",
    } < names
    assert all(name in text for name in names - {"manifest.json"})
    assert "tile: 1 core in 1 column, 2 buffers an argument, 32 blocks a core and run\n" in text
    assert "host buffer 0  q (in), 32 × 256 bytes\n" in text
    read_pdi((out / "qkt_tile.pdi").read_bytes())
    assert load_elf(out / "qkt.o").is_object
    manifest = json.loads((out / "manifest.json").read_text())
    for entry in manifest["files"]:
        assert hashlib.sha256((out / entry["name"]).read_bytes()).hexdigest() == entry["sha256"]
    assert manifest["blocks"] == 32 and manifest["block_order"].startswith("column by column")
    assert [(buffer["bytes"], buffer["blocks"]) for buffer in manifest["buffers"]] == [(8192, 32)] * 3


def test_a_function_can_have_the_name_that_a_design_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "build",
        "vectorized",
        "--shape",
        "16x16",
        "--symbol",
        "attention_64x64",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 0
    capsys.readouterr()
    image = load_elf(tmp_path / "out" / "vectorized.o")
    assert image.symbol("attention_64x64").kind == "func"
    assert load_elf(tmp_path / "out" / "core_0_2.elf").symbol("attention_64x64").value > 0
    text = (tmp_path / "out" / "vectorized_tile.mlir").read_text()
    assert "func.func private @attention_64x64(memref<768xi8>, memref<256xi8>, i32)" in text


def test_a_second_build_is_from_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "qkt", "--shape", "16x16", "--design", "columns4", "-D", "shift=0x3"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    first = capsys.readouterr().out
    assert json.loads(first)["scalars"] == {"shift": 3}
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 0
    assert "from the cache" in capsys.readouterr().out
    assert (tmp_path / "b" / "manifest.json").read_text() == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no kernel is called 'nothing'"),
        (["qkt", "--design", "ring"], "no design is called 'ring'; there are tile, columns4, array16"),
        (["qkt", "--dialect", "1999"], "no dialect is called '1999'; there are 2025, 2026-04, 2026-08"),
        (["qkt", "--symbol", "two words"], "'two words' cannot name a function"),
        (["qkt", "--blocks", "65"], "65 blocks on each core in a run; expected 1 to 64"),
        (["qkt", "--blocks", "0"], "0 blocks on each core in a run; expected 1 to 64"),
        (["qkt", "--shape", "17x17"], "kernel qkt cannot take 17 tokens of width 17"),
        (["qkt", "--shape", "square"], "shape 'square' is not tokens × channels"),
        (["qkt", "--define", "shift"], "--define shift: expected NAME=VALUE"),
        (["qkt", "--define", "shift=x"], "expected an integer"),
        (["qkt", "--define", "scale=1"], "kernel qkt takes the integers shift"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["build", "qkt", "--out", str(tmp_path / "file")]) == 2
    assert "cannot write to" in capsys.readouterr().err
