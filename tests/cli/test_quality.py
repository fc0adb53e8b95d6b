"""`xattn quality`: the table, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xattn.cli.main import main
from xattn.whisper import find_weights

needs_weights = pytest.mark.skipif(find_weights() is None, reason="NOT CHECKED: no Whisper weights installed")


@pytest.mark.slow
@needs_weights
def test_sound_keeps_the_text_and_the_seed_does_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "quality.json"
    schemes = [f"--scheme={name}" for name in ("sound", "seed", "seed-tile")]
    assert main(["quality", *schemes, "--texts", "--json", str(file)]) == 0
    rows = {row["name"]: row for row in json.loads(file.read_text())["schemes"]}
    assert (
        rows["sound"]["wer"] == 0 and rows["sound"]["rel_l2_mean"] < 0.010 and rows["sound"]["encoder_cosine"] > 0.9999
    )
    assert rows["seed"]["wer"] > 0.5 and rows["seed-tile"]["rel_l2_mean"] > 0.5
    printed = capfd.readouterr().out
    assert "awkward" in printed and "ask what you can do for your country" in printed


def test_what_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--scheme", "magic"]) == 2
    assert main(["quality", "--weights", str(tmp_path / "no")]) == 2
    assert main(["quality", "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "there are float, sound" in capfd.readouterr().err
