"""`xattn profile`: table, JSON, trace and flame graph, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from xattn.bench import single
from xattn.bench.profile import Profile
from xattn.cli.main import main
from xattn.devices import Host
from xattn.devices.host import HostKernel
from xattn.kernels.registry import KernelSpec, kernel_spec


def profile(*arguments: object) -> int:
    return main(["profile", *(str(argument) for argument in arguments)])


def test_the_table_and_every_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = {option: tmp_path / f"{option}.json" for option in ("json", "trace", "speedscope")}
    options = [word for option, path in files.items() for word in (f"--{option}", path)]
    assert profile("vectorized_pv", "--shape", "16x16", "--clock", "1GHz", *options) == 0
    out = capsys.readouterr().out
    found = msgspec.json.decode(files["json"].read_bytes(), type=Profile)
    assert out.startswith("vectorized_pv 16×16: cycles are simulated")
    assert f"{found.stages.cycles:,} cycles, {found.stages.cycles / 1000:,.2f} µs at 1 GHz" in out
    trace = json.loads(files["trace"].read_bytes())
    (call,) = (e for e in trace["traceEvents"] if e["ph"] == "X" and e["name"] == "vectorized_pv")
    assert call["dur"] == pytest.approx(found.stages.cycles / 1000)  # µs at 1 GHz
    flames = json.loads(files["speedscope"].read_bytes())
    assert [p["endValue"] for p in flames["profiles"]] == pytest.approx([found.stages.cycles] * 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json.json", "speedscope.json", "trace.json"]


def test_standard_output_takes_one_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert profile("qkt", "--shape", "16x16", "--json", "-") == 0
    captured = capfd.readouterr()
    assert msgspec.json.decode(captured.out, type=Profile).name == "qkt"
    assert captured.err.startswith("qkt 16×16")
    assert profile("qkt", "--json", "-", "--trace", "-") == 2
    assert '"-" is given twice' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no kernel is called 'nothing'; there are baseline"),
        (["qkt", "--shape", "8x8"], "kernel qkt cannot take 8 tokens of width 8; it takes 64×64"),
        (["qkt", "--shape", "big"], "shape 'big' is not tokens × channels"),
        (["qkt", "--clock", "0"], "clock '0' is no frequency"),
        (["qkt", "--trace", "{folder}/no/t.json"], "is not a folder"),
        (["qkt", "--speedscope", "{folder}"], "it is a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile(*(argument.format(folder=tmp_path) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and captured.err.count("\n") == 1


def test_a_wrong_output_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class AnotherModel(Host):
        def load(self, spec: KernelSpec, tokens: int, width: int) -> HostKernel:
            assert spec.name == "vectorized_pv"
            return super().load(kernel_spec("lut"), tokens, width)

    monkeypatch.setattr(single, "Host", AnotherModel)
    assert profile("vectorized_pv", "--shape", "16x16") == 1
    assert "THE OUTPUT IS WRONG" in capsys.readouterr().out
