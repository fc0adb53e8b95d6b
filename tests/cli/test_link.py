"""`xattn link`: objects in, an executable out that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from xattn.cli.main import main
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import read_elf
from xattn.isa.elf_writer import write_object


@pytest.fixture
def objects(tmp_path: Path) -> list[str]:
    texts = {
        "main": ".extern twice, answer\n.func main\n mova r0, #21\n jl #twice\n nop*5\n done\n nop*5",
        "twice": ".func twice\n add r0, r0, r0\n ret lr\n nop*5",
    }
    paths = []
    for name, text in texts.items():
        path = tmp_path / f"{name}.o"
        path.write_bytes(write_object(assemble_program(text)))
        paths.append(str(path))
    return paths


def test_objects_become_a_program_that_runs(
    objects: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "program.elf"
    options = ["-o", str(out), "--code", "0x100", "--define", "answer=42", "--entry", "main"]
    assert main(["link", *objects, *options]) == 0
    image = read_elf(out.read_bytes())
    assert image.entry == image.symbol("main").value == 0x100 and image.symbol("answer").value == 42
    assert main(["run", str(out)]) == 0
    assert "stopped at DONE, r0 = 0x2a" in capsys.readouterr().out


def test_what_cannot_be_linked_is_one_line(
    objects: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "program.elf"
    cases = [
        (objects[:1], "undefined symbols: answer, twice"),
        ([*objects, "--define", "answer"], "--define answer: expected NAME=ADDRESS"),
        ([*objects, "--define", "answer=x"], "expected an integer"),
        (["/no/such.o"], "/no/such.o: No such file"),
    ]
    for arguments, message in cases:
        assert main(["link", *arguments, "-o", str(out)]) == 2
        captured = capsys.readouterr()
        assert message in captured.err and captured.err.count("\n") == 1
    assert not out.exists()
