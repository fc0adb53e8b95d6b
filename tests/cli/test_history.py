"""`xattn history`: one bar a stored result, plots, JSON, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xattn.bench import measure_ladder, synthetic_activations
from xattn.bench.store import Store
from xattn.cli.main import main

SMALL = ("history", "qkt", "--shape", "16x16")


@pytest.fixture
def _three() -> None:
    for day, cycles in ((1, 400), (2, 200), (3, 100)):
        record = measure_ladder(synthetic_activations(0), ["qkt"], tokens=16, width=16)
        record.kernels[0].cycles = cycles
        record.provenance.created = f"2026-02-{day:02}T12:34:56.789+00:00"
        record.provenance.commit, record.provenance.modified = f"{day}" * 40, day == 2
        Store().save(record)


@pytest.mark.usefixtures("_three")
def test_bars_over_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "qkt 16×16: cycles over time, simulated"
    assert [line.split() for line in lines[3:]] == [
        ["2026-02-01", "12:34", "111111111", "400", "█" * 40],
        ["2026-02-02", "12:34", "222222222+", "200", "-50.00", "%", "█" * 20],
        ["2026-02-03", "12:34", "333333333", "100", "-50.00", "%", "█" * 10],
    ]
    assert main([*SMALL, "--last", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.usefixtures("_three")
def test_json_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", "-", "--metric", "program bytes"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["kernel"], record["metric"], len(record["points"])) == ("qkt", "program bytes", 3)
    pytest.importorskip("matplotlib", reason="NOT CHECKED: plots need matplotlib")
    assert main([*SMALL, "--plot", str(tmp_path / "qkt.svg")]) == 0
    assert "<svg" in (tmp_path / "qkt.svg").read_text()


@pytest.mark.usefixtures("_three")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lut"], "no cycles of lut 64×64 are stored in "),
        (["qkt", "--metric", "joules"], "--metric 'joules': expected one of cycles, rel. L2, program bytes"),
        (["qkt", "--plot", "x.bmp"], "cannot plot into x.bmp: expected one of the suffixes .svg, .png, .pdf"),
        (["qkt", "--shape", "16"], "shape '16' is not tokens × channels"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"xattn: {message}") and captured.err.count("\n") == 1


def test_an_empty_store_says_what_fills_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL]) == 2
    assert "xattn bench stores its results there" in capsys.readouterr().err
