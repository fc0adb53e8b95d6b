"""`xattn bench --encoder-block`."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xattn.cli.main import main
from xattn.whisper import jfk_path
from xattn.whisper.block_report import EncoderBlockRecord, KernelCost, StepError
from xattn.whisper.weights import WEIGHTS_VARIABLE, find_weights

COMMAND = ["bench", "--encoder-block"]


@pytest.fixture
def _needs_weights() -> None:
    if find_weights() is None:
        pytest.skip("no Whisper weights: xattn bench --encoder-block is NOT CHECKED")


@pytest.mark.usefixtures("_needs_weights")
def test_the_models_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    part = tmp_path / "half.wav"
    with wave.open(str(jfk_path())) as whole, wave.open(str(part), "wb") as half:
        half.setparams(whole.getparams())
        half.writeframes(whole.readframes(whole.getnframes() // 2))
    options = ["--quick", "--layer", "1", "--scales-from", str(part), "--json", str(tmp_path / "block.json")]
    assert main([*COMMAND, *options]) == 0
    shown = capsys.readouterr().out
    assert "encoder layer 1, all 1,500 tokens" in shown and "only the models ran" in shown
    record = msgspec.json.decode((tmp_path / "block.json").read_bytes(), type=EncoderBlockRecord)
    assert (
        record.layer == 1
        and record.calibration == "half.wav"
        and record.kernels == []
        and record.wrong == {}
        and record.passed
    )
    for step in record.steps:
        assert f"{step.rel_l2:.4f}" in shown and 0.0 < step.rel_l2 < 0.1 and step.cosine > 0.99


@pytest.mark.slow
@pytest.mark.usefixtures("_needs_weights")
def test_kernels_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--token", "64", "--clock", "1GHz", "--json", "-"]) == 0
    captured = capsys.readouterr()
    record = msgspec.json.decode(captured.out, type=EncoderBlockRecord)
    assert record.passed and record.first == 64 and f"{record.cycles:,}" in captured.err
    assert f"{record.cycles / 1e6:.2f} ms for 64 at 1 GHz" in captured.err
    assert "exact: every number of all 10 steps" in captured.err and "nothing ran on an NPU" in captured.err


@pytest.mark.usefixtures("_needs_weights")
def test_a_difference_is_told_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measured(*_: Any, **__: Any) -> EncoderBlockRecord:
        return EncoderBlockRecord(
            model="a model", clip="a clip", calibration="a clip", layer=0, tokens=1500, first=0, clock_hz=1e9,
            steps=[StepError(name="gelu", rel_l2=0.25, cosine=0.5)], cycles_are="simulated",
            kernels=[KernelCost(name="gelu", calls=2, cycles=2000, least=1000)], macs=256_000,
            wrong={"gelu": 3, "x2": 0}, findings=["gelu: something"],
        )  # fmt: skip

    monkeypatch.setattr("xattn.whisper.block_report.measure_encoder_block", measured)
    assert main(COMMAND) == 1
    shown = capsys.readouterr().out
    assert "NOT EXACT: 3 of gelu\n" in shown and "finding: gelu: something" in shown and "exact: every" not in shown
    assert re.search(r"gelu +2 +2,000 +100.0% +1,000 +50.0%", shown) and "50.0% of the peak" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernel", "qkt", "--synthetic"], "--kernel and --synthetic have no effect with --encoder-block"),
        (["--all"], "--all has no effect"),
        (["--weights", "nowhere"], "nowhere: no such file"),
        (["--json", "no/such/folder/x.json"], "no/such/folder"),
        (["--clock", "fast"], "fast"),
        (["--scales-from", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, *options]) == 2
    assert message in capsys.readouterr().err


def test_scales_are_of_a_block_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--scales-from", "x.wav"]) == 2
    assert "--scales-from x.wav has no effect without --encoder-block" in capsys.readouterr().err


def test_without_weights(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr("xattn.whisper.find_weights", lambda _: None)
    assert main(COMMAND) == 2
    assert "no Whisper weights were found" in capsys.readouterr().err
