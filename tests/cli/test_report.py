"""`xattn report`: page, pictures, figures from a file, and what it refuses."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import msgspec
import pytest

from xattn.bench import BenchRecord
from xattn.cli import report as command
from xattn.cli.main import main

SMALL = ["--kernel", "qkt", "--shape", "16x16", "--synthetic"]


@pytest.fixture(autouse=True)
def _extra() -> None:
    for module in ("matplotlib", "jinja2"):
        pytest.importorskip(module, reason=f'NOT CHECKED, {module} is not installed: pip install "xattn[report]"')


def report(*arguments: object) -> int:
    return main(["report", *(str(argument) for argument in arguments)])


def test_page_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    page, folder = tmp_path / "page.html", tmp_path / "pictures"
    assert report(*SMALL, "--out", page, "--figures", folder, "--open") == 0
    assert capsys.readouterr().out == f"{page}: 1 kernel; cycles are simulated\n{folder}: 8 pictures\n"
    assert "measured for this page" in page.read_text(encoding="utf-8")
    assert sorted(path.suffix for path in folder.iterdir()) == [".png"] * 4 + [".svg"] * 4
    assert shown == [page.as_uri()]


def test_figures_from_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.json"
    assert main(["bench", "--kernel", "qkt", "--shape", "16x16", "--synthetic", "--json", str(result)]) == 0
    record = msgspec.json.decode(result.read_bytes(), type=BenchRecord)
    record.kernels[0].summary = "as the file says"
    result.write_bytes(msgspec.json.encode(record))
    capfd.readouterr()
    assert report("--from", result, "--out", "-") == 0
    page = capfd.readouterr().out
    assert page.startswith("<!doctype html>") and "as the file says" in page and "from result.json" in page


def test_a_kernel_that_is_not_exact_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, page = tmp_path / "result.json", tmp_path / "page.html"
    assert main(["bench", "--kernel", "qkt", "--shape", "16x16", "--synthetic", "--json", str(result)]) == 0
    record = msgspec.json.decode(result.read_bytes(), type=BenchRecord)
    record.kernels[0].exact = False
    result.write_bytes(msgspec.json.encode(record))
    assert report("--from", result, "--out", page) == 1
    assert "NOT EXACT" in page.read_text(encoding="utf-8")
    assert "a kernel is not exact or faulty; the page says which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernel", "nothing"], "no kernel is called 'nothing'"),
        (["--shape", "8x8", "--synthetic"], "no kernel takes 8 tokens of width 8"),
        (["--clock", "0"], "clock '0' is no frequency"),
        (["--out", "{folder}/no/page.html"], "is not a folder"),
        (["--figures", "{folder}/no/pictures"], "cannot write pictures to"),
        (["--figures", "{file}"], "cannot write pictures to"),
        (["--from", "{folder}/none.json"], "No such file"),
        (["--from", "{file}"], "not a result of xattn bench --json"),
        (["--from", "{file}", "--kernel", "qkt"], "--kernel: with --from, what was run is what the file says"),
        (["--out", "-", "--open"], "standard output cannot be shown"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert report(*(a.format(folder=tmp_path, file=tmp_path / "file.json") for a in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "jinja2" else object())
    assert report() == 2
    assert 'reports need jinja2, not installed here: pip install "xattn[report]"' in capsys.readouterr().err
