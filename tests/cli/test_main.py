"""The command line as a whole: quick to start, commands loaded on call, errors in one line with exit code 2."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from xattn.cli.main import COMMANDS, main


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    """Less than 0.3 s (best of five, since other work may share the processor), without numpy or any command."""
    check = (
        "import sys; from xattn.cli.main import main; code = main(['--help']);"
        "heavy = {'numpy', 'rich', 'elftools', 'xattn.cli.asm', 'xattn.isa.table', 'xattn.sim'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3, seconds
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name}" in done.stdout and summary[:40] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: xattn {name} ") and "--help" in out


def test_exit_codes_of_wrong_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("xattn 0.")
    assert main(["ams"]) == 2
    assert "Did you mean 'asm'?" in capsys.readouterr().err
    assert main(["asm"]) == 2
    assert "Missing argument" in capsys.readouterr().err


def test_bad_input_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dis", "/no/such/file.elf"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "xattn: /no/such/file.elf: No such file or directory\n"
