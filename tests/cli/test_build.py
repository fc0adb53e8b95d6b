"""`xattn build`: files in a folder, the same each time, and clear words for what cannot be built."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from xattn.array.pdi import read_pdi
from xattn.cli.main import main
from xattn.isa.elf import load_elf

sys.path.insert(0, str(Path(__file__).parents[1] / "build"))

from fake_peano import VERSION, FakePeano, object_of


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


def peano(*options: object) -> int:
    return main(["build", *(str(option) for option in options), "--shape", "16x16", "--toolchain", "peano"])


def test_a_build_by_another_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakePeano(tmp_path / "peano")
    fake.answer(object_of("baseline", 16, "attention"))
    monkeypatch.setenv("PEANO_INSTALL_DIR", str(fake.root))
    assert peano("baseline", "--symbol", "attention", "-D", "shift=3", "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert f"\ncompiled by peano: {VERSION}\n" in text
    assert all(line in text for line in ("baseline.c ", "scalar_attention.h ", "C source of the kernel"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["toolchain"], manifest["toolchain_version"], manifest["scalars"]) == (
        "peano",
        VERSION,
        {"shift": 3},
    )
    assert (tmp_path / "out" / "baseline.o").read_bytes() == object_of("baseline", 16, "attention")


def test_another_compiler_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakePeano(tmp_path / "peano")
    fake.fail("baseline.c:8:5: error: so it is\nand more\n")
    monkeypatch.setenv("PEANO_INSTALL_DIR", str(fake.root))
    assert peano("baseline", "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and not (tmp_path / "out").exists()
    assert "failed with exit code 1 on baseline.c:\nbaseline.c:8:5: error: so it is\nand more\n" in captured.err


def test_without_another_compiler_or_a_source_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xattn.build.peano.tools.Tools.peano", lambda _: None)
    for kernel, message in [
        ("baseline", "Peano is not installed"),
        ("fused", "kernel fused is not there in C, so no C compiler can build it; baseline, tiled, lut are"),
    ]:
        assert peano(kernel, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
