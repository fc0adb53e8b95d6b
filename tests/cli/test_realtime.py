"""`xattn realtime`: every line and how it is known, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xattn.cli.main import main
from xattn.whisper import host_times


@pytest.fixture
def quick_host(monkeypatch: pytest.MonkeyPatch) -> None:
    times = host_times.HostTimes(0.01, 0.02, 0.01, 0.005, 0.001)
    monkeypatch.setattr(host_times, "measure_host", lambda *_: times)


@pytest.mark.usefixtures("quick_host")
def test_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("xattn.whisper.find_weights", lambda _: None)
    file = tmp_path / "account.json"
    assert main(["realtime", "base", "--clock", "1GHz", "--tokens", "50", "--json", str(file)]) == 0
    printed = capfd.readouterr().out
    for part in (
        "nothing ran on an NPU",
        "simulated",
        "published",
        "measured",
        "Amdahl's ceiling",
        "27,648",
        "left out",
    ):
        assert part in printed, part
    found = json.loads(file.read_text())
    assert found["rising"] == 1.0 and found["cycles_rising"] > found["cycles_quiet"] > 2048
    assert found["tiles"] == 27648 and len(found["scenarios"]) == 4
    one = next(line for line in found["lines"] if line["what"] == "attention on 1 core")
    assert one["seconds"] == pytest.approx(27648 * found["cycles_rising"] / 1e9)


def test_what_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["realtime", "giant"]) == 2
    assert main(["realtime", "base", "--tokens", "0"]) == 2
    assert main(["realtime", "base", "--clock", "fast"]) == 2
    assert main(["realtime", "base", "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "there are tiny, base, small" in capfd.readouterr().err
