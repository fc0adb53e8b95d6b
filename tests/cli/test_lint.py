"""`xattn lint`: what it looks at, what it prints, exit codes; and `xattn build`, which looks too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xattn.array.instructions import InstructionStream, read_instructions, write_instructions
from xattn.build.artifacts import make_artifacts
from xattn.build.manifest import BuildRequest
from xattn.cli.main import main
from xattn.lint.rules import RULES


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path_factory.getbasetemp() / "lint_cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build."""
    made = tmp_path_factory.mktemp("built")
    for name, data in make_artifacts(BuildRequest("qkt", "tile", 16, 16, (("shift", 4),))).items():
        (made / name).write_bytes(data)
    return made


@pytest.fixture
def unwaited(folder: Path, tmp_path: Path) -> Path:
    """Its stream without the wait at the end."""
    stream = read_instructions((folder / "insts.bin").read_bytes())
    path = tmp_path / "unwaited.bin"
    path.write_bytes(write_instructions(InstructionStream(stream.operations[:-1], columns=1)))
    return path


def linted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["lint", *arguments])
    return code, capsys.readouterr().out


def test_folders_files_and_kernels_are_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(RULES)
    assert linted([str(folder)], capsys) == (0, f"no findings ({count} rules)\n")
    files = [str(folder / name) for name in ("qkt_tile.xclbin", "insts.bin")]
    assert linted(files, capsys) == (0, f"no findings ({count} rules)\n")
    assert linted(["qkt", "--shape", "16x16"], capsys) == (0, f"no findings ({count} rules)\n")
    assert linted([str(folder), "qkt", "--shape", "16x16"], capsys) == (0, f"no findings ({count} rules, 2 builds)\n")
    for path in folder.iterdir():
        assert linted([str(path), "--static"], capsys)[0] == (2 if path.name == "exp_lut.h" else 0)


def test_findings_are_lines_and_errors_are_exit_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = linted([str(folder), "-D", "shift=3"], capsys)
    assert code == 1
    first, last = text.splitlines()
    assert first.startswith(f"error: {folder}: shift is 3 (the host) and 4 (the manifest, ")
    assert first.endswith(" [shift-differs]")
    assert last == f"1 error, 0 warnings ({len(RULES)} rules)"
    assert linted([str(folder), "-D", "shift=4"], capsys)[0] == 0


def test_warnings_fail_when_it_is_strict(unwaited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = linted([str(unwaited)], capsys)
    assert code == 0
    assert "0 errors, 1 warning" in text and "[output-not-awaited]" in text
    assert linted([str(unwaited), "--strict"], capsys)[0] == 1


def test_inspect_shows_them_as_remarks(folder: Path, unwaited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(unwaited)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("remark: 1 transfers of S2MM_0 of column 0 to host buffer 2 are not waited for")
    assert main(["inspect", str(folder / "insts.bin")]) == 0
    assert "remark" not in capsys.readouterr().out


def test_rules_can_be_chosen(folder: Path, unwaited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert linted([str(unwaited), "--strict", "--rule", "serial-columns"], capsys) == (0, "no findings (1 rule)\n")
    rules = ["--rule", "serial-columns", "--rule", "output-not-awaited"]
    assert linted([str(unwaited), "--strict", *rules], capsys)[0] == 1
    runs = sum(rule.runs for rule in RULES)
    assert linted([str(folder), "--static"], capsys) == (0, f"no findings ({len(RULES) - runs} rules)\n")


def test_findings_as_json(folder: Path, unwaited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = linted([str(unwaited), "--json"], capsys)
    (finding,) = json.loads(text)
    assert code == 0
    assert (finding["rule"], finding["severity"]) == ("output-not-awaited", "warning")
    assert set(finding) == {"rule", "severity", "where", "message"}
    assert linted([str(folder), "--json"], capsys) == (0, "[]\n")


def test_the_list_of_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [rule.name for rule in RULES]
    assert all(len(line) <= 120 for line in lines)


def test_what_was_not_checked_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = linted([str(folder), "--max-cycles", "100"], capsys)
    assert code == 0
    first, last = text.splitlines()
    assert first.startswith("not checked: insts.bin with qkt_tile.pdi: a run takes more than 100 cycles (simulated)")
    assert first.endswith("[simulated-run, constant-output, output-differs-between-calls]")
    assert last.startswith("no findings")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.bin"], "gone.bin: No such file"),
        (["nothing"], "no kernel is called 'nothing'"),
        (["{folder}", "--rule", "odd"], "no rule is called 'odd'; there are stack-overlaps-buffer, "),
        (["{folder}", "-D", "shift"], "--define shift: expected NAME=VALUE"),
        (["{folder}", "-D", "scale=2"], "--define scale: kernel qkt takes the integers shift"),
        (["{empty}"], "no file of a build is in this folder"),
        (["{text}"], "expected an xclbin, a PDI, a CDO or an NPU instruction stream"),
        (["{header}"], "text with no aie.device in it"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.bin").write_text("hello")
    places = {
        "folder": folder,
        "empty": tmp_path / "empty",
        "text": tmp_path / "text.bin",
        "header": folder / "exp_lut.h",
    }
    assert main(["lint", *(argument.format(**places) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_build_with_an_error_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kernel of ours has no such mistake, so the build is given a stream that waits for nobody."""
    from xattn.build import cache

    def broken(request: BuildRequest) -> tuple[dict[str, bytes], bool]:
        files = make_artifacts(request)
        stream = read_instructions(files["insts.bin"])
        operations = (*stream.operations, stream.operations[-1])
        return {**files, "insts.bin": write_instructions(InstructionStream(operations, columns=1))}, False

    monkeypatch.setattr(cache, "build", broken)
    out = tmp_path / "out"
    assert main(["build", "qkt", "--shape", "16x16", "--out", str(out)]) == 1
    shown = capsys.readouterr()
    assert "error: insts.bin, operation 11: the wait for a token of S2MM_0 of column 0 never ends" in shown.err
    assert "warning: insts.bin: it has SHA-256" in shown.err
    assert shown.out == "" and not out.exists()
    assert main(["build", "qkt", "--shape", "16x16", "--out", str(out), "--no-lint"]) == 0
    assert out.exists() and capsys.readouterr().err == ""


def test_a_build_says_nothing_of_lints_when_they_find_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "qkt", "--shape", "16x16", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""
