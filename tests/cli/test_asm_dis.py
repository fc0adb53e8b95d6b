"""`xattn asm` and `xattn dis`: every form in and out, nothing half-written, bad input in one line."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from xattn.cli.main import main
from xattn.isa.assembly import assemble, assemble_program
from xattn.isa.elf import Symbol, read_elf
from xattn.isa.elf_writer import write_executable, write_object

TEXT = """.func first
    mova r0, #5
    jl #second
    nop*5
.func second
    movxm p0, #0x71000; nopb
    ret lr
    nop*5
"""
CODE = assemble(TEXT)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "program.s"
    path.write_text(TEXT)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("option", ["suffix", "format"])
def test_asm_writes_each_format(source: Path, tmp_path: Path, option: str) -> None:
    def made(suffix: str, format: str) -> bytes:
        out = tmp_path / (f"out.{suffix}" if option == "suffix" else "out")
        assert run("asm", source, "-o", out, *([] if option == "suffix" else ["--format", format])) == 0
        return out.read_bytes()

    assert made("bin", "bin") == CODE
    assert bytes.fromhex(made("hex", "hex").decode()) == CODE
    executable, unlinked = read_elf(made("elf", "elf")), read_elf(made("o", "obj"))
    assert executable.code() == unlinked.code() == [(0, CODE)]
    assert not executable.is_object and unlinked.is_object
    assert [(r.symbol, r.type) for r in unlinked.relocations] == [("second", 1)]


def test_asm_prints_hex_a_bundle_a_line(source: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("asm", source) == 0
    lines = capsysbinary.readouterr().out.decode().split()
    assert lines == [item.bundle.encode().hex() for item in assemble_program(TEXT).bundles]


def test_asm_takes_a_base_address(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.elf"
    assert run("asm", source, "-o", out, "--base", "0x200") == 0
    assert read_elf(out.read_bytes()).symbol("first").value == 0x200


@pytest.mark.parametrize("form", ["elf", "o", "bin", "hex"])
def test_dis_recognises_each_form_and_asm_takes_its_text(
    form: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form}"
    assert run("asm", source, "-o", first) == 0
    assert run("dis", first, "--bytes") == 0
    text = capsys.readouterr().out
    assert "mova r0, #5" in text and "// 0x0000: 59000500" in text
    assert ("second:" in text) == (form in ("elf", "o"))
    again = tmp_path / "again.s"
    again.write_text(text)
    assert run("asm", again, "-o", second) == 0
    assert run("dis", second, "--bytes") == 0
    assert capsys.readouterr().out == text


def test_dis_of_one_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unsized = [Symbol("middle", 0x20, section=".text"), Symbol(".Lloop", 0x24, binding="local", section=".text")]
    path = tmp_path / "p.elf"
    path.write_bytes(write_executable(assemble_program(TEXT), symbols=unsized))
    assert run("dis", path, "--symbol", "second") == 0
    text = capsys.readouterr().out
    assert "mova" not in text and text.startswith("second:\nmiddle:\n") and text.count("nop\n") == 0
    assert text.count("// 0x") == 7
    assert run("dis", path, "--symbol", "first", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["bundles"]
    assert sum(row["size"] for row in rows) == assemble_program(TEXT).functions["first"][1]
    assert run("dis", path, "--symbol", "fist") == 2
    assert capsys.readouterr().err == "xattn: no symbol fist; did you mean first?\n"


def test_dis_shows_what_an_object_leaves_to_the_linker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = assemble_program(".extern table\n.func f\nmovxm p0, #table + 4; nopb\nl: j #f\nnop*5")
    path = tmp_path / "f.o"
    path.write_bytes(write_object(program, data=bytes(64), symbols=[Symbol("in_data", 0, section=".data")]))
    assert run("dis", path) == 0
    text = capsys.readouterr().out
    assert text.startswith(".extern table\nf:\n    nopb; movxm p0, #table + 4 ")
    assert "j #f" in text and "in_data" not in text


def test_dis_as_json_says_everything(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.elf"
    assert run("asm", source, "-o", path) == 0
    assert run("dis", path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rows = report["bundles"]
    assert b"".join(bytes.fromhex(row["bytes"]) for row in rows) == CODE
    assert [row["address"] for row in rows] == [item.address for item in assemble_program(TEXT).bundles]
    assert rows[0]["labels"] == ["first"] and rows[0]["format"] == "I32_LDA"
    operation = {"slot": "lda", "opcode": "MOVA_lda_cg", "text": "mova r0, #5"}
    assert rows[0]["operations"] == [operation] and rows[0]["text"] == "mova r0, #5"


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    class Input:
        buffer = io.BytesIO(TEXT.encode())

    monkeypatch.setattr(sys, "stdin", Input)
    assert run("asm", "-", "--format", "bin") == 0
    assert capsysbinary.readouterr().out == CODE


BAD = [
    ("asm", "nop\nvmacc cm0, cm0, x0, x1, r0", "{}: line 2, column 1: unknown mnemonic 'vmacc'; did you mean vmac"),
    ("asm", b"\xff\xfe", "{}: no text (byte 0 is not UTF-8)"),
    ("asm", ".extern f\njl #f", "f: external symbols need an object file (--format obj)"),
    ("dis", b"", "{}: empty, expected an ELF file, machine code or hex text"),
    ("dis", b"190", "{}: hex text with an odd number of digits (3)"),
    ("dis", b"1918", "{}: bundle at 0x0 is cut off: first byte 0x19 announces 4 bytes, 2 are left"),
    ("dis", b"\x7fELF\1", "{}: 5 bytes are too few for an ELF header of 52"),
    ("dis", b"!<arch>\n", "{}: an archive of objects"),
]


@pytest.mark.parametrize(("command", "contents", "message"), BAD, ids=[m[:30] for _, _, m in BAD])
def test_bad_input_is_one_line_with_exit_code_2(
    command: str, contents: str | bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    out = ["-o", tmp_path / "out.hex"] if command == "asm" else []
    assert run(command, path, *out) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"xattn: {message.format(path)}")
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert os.listdir(tmp_path) == ["input"]


def test_wrong_options_are_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        (["asm", source, "-o", tmp_path / "x.what"], "name a --format (bin, elf, obj, hex) or one of the suffixes"),
        (["asm", source, "-o", tmp_path / "no" / "x.elf"], "cannot write"),
        (["asm", source, "--base", "seven"], "expected an integer such as 4096 or 0x1000, found 'seven'"),
        (["asm", source, "--base", "4"], "0x4 is not a multiple of 16"),
        (["asm", source, "-o", tmp_path / "x.o", "--base", "64"], "assembled at base 0, not 0x40"),
        (["asm", source, "--format", "exe"], "'exe' is not one of"),
        (["dis", source, "--symbol", "f"], "--symbol needs an ELF file"),
    ]
    for arguments, message in cases:
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["program.s"]


def test_output_replaces_a_file_only_when_all_is_well(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    out.write_bytes(b"old")
    source.write_text("bad")
    assert run("asm", source, "-o", out) == 2
    assert out.read_bytes() == b"old"
    source.write_text(TEXT)
    assert run("asm", source, "-o", out) == 0
    assert out.read_bytes() == CODE
    assert out.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
