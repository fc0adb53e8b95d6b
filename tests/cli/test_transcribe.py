"""`xattn transcribe`: text, JSON, subtitles, a batch with a bad file, and what it refuses."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import pytest

from xattn.cli.main import main
from xattn.whisper import find_weights
from xattn.whisper.clips import jfk_path

needs_weights = pytest.mark.skipif(find_weights() is None, reason="NOT CHECKED: no Whisper weights installed")


def transcribe(*arguments: object) -> int:
    return main(["transcribe", *(str(argument) for argument in arguments)])


def speech(folder: Path, rate: int, channels: int) -> Path:
    """The clip with another rate in its head, or twice the channels."""
    path = folder / "clip.wav"
    with wave.open(str(jfk_path())) as source, wave.open(str(path), "wb") as out:
        frames = source.readframes(source.getnframes())
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        samples = memoryview(frames).cast("h")
        pairs = (
            samples.tobytes() if channels == 1 else b"".join(x.to_bytes(2, "little", signed=True) * 2 for x in samples)
        )
        out.writeframes(pairs)
    return path


@needs_weights
def test_a_batch_goes_on_past_a_bad_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="NOT CHECKED: text needs the package tokenizers")
    clip, empty, out = tmp_path / "jfk.wav", tmp_path / "empty.wav", tmp_path / "out"
    shutil.copy(jfk_path(), clip)
    empty.write_bytes(b"")
    out.mkdir()
    arguments = (empty, clip, "--json", tmp_path / "all.json", "--srt", "--vtt", "--output-dir", out)
    assert transcribe(*arguments) == 2
    printed = capfd.readouterr()
    assert "ask what you can do for your country." in printed.out and str(empty) in printed.err
    found: dict[str, Any] = json.loads((tmp_path / "all.json").read_text())
    assert "error" in found["files"][0] and found["files"][1]["language"] == "en"
    segments = found["files"][1]["segments"]
    assert segments[0]["start"] == 0 and all(s["end"] > s["start"] for s in segments)
    assert (out / "jfk.srt").read_text().startswith("1\n00:00:00,000 --> ")
    assert (out / "jfk.vtt").read_text().startswith("WEBVTT")
    assert not (out / "empty.srt").exists()


@needs_weights
def test_stereo_is_mixed_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="NOT CHECKED: text needs the package tokenizers")
    assert transcribe(speech(tmp_path, 16_000, 2), "--attention", "float") == 0
    printed = capfd.readouterr()
    assert "your country" in printed.out and "note: " in printed.err


@pytest.mark.slow
@needs_weights
def test_compare_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert transcribe(jfk_path(), "--compare", "--json", "-") == 0
    [file] = json.loads(capfd.readouterr().out)["files"]
    assert file["wer"] == 0 and file["text_float"] == file["text_int8"] and file["encoder_cosine"] > 0.9995


def test_what_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert transcribe(jfk_path(), "--weights", tmp_path / "no") == 2
    assert transcribe(jfk_path(), "--output-dir", tmp_path / "no") == 2
    assert transcribe(jfk_path(), "--json", tmp_path / "no" / "x.json") == 2
    assert transcribe(jfk_path(), "--attention", "int4") == 2
    assert transcribe() == 2
    assert "is not a folder: make it first" in capfd.readouterr().err
