from __future__ import annotations

import hashlib
import io
import struct
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import FileFormatError, InputError, XattnError
from xattn.whisper.audio import load_audio
from xattn.whisper.clips import jfk_path


def wav_bytes(frames: bytes, width=2, channels=1, rate=16000) -> bytes:
    """A WAV file as the standard library writes it."""
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(frames)
    return out.getvalue()


def load_bytes(data: bytes, name="clip.wav"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return load_audio(path)


SPEECH = wav_bytes((np.random.default_rng(0).integers(-9000, 9000, 400)).astype("<i2").tobytes())


def test_the_shipped_clip_is_what_its_readme_says():
    audio = load_audio(jfk_path())
    assert (audio.name, audio.original_rate, audio.channels, audio.seconds) == ("jfk.wav", 16000, 1, 11.0)
    assert audio.notes == ()
    with wave.open(str(jfk_path())) as reader:
        integers = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
    assert audio.samples.dtype == np.float32
    assert np.array_equal(audio.samples, integers / 32768)
    digest = hashlib.sha256(jfk_path().read_bytes()).hexdigest()
    assert digest in (jfk_path().parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("width", "raw", "expected"),
    [
        (1, bytes([0, 64, 128, 255]), [-1, -0.5, 0, 127 / 128]),
        (2, struct.pack("<4h", -32768, -16384, 0, 32767), [-1, -0.5, 0, 32767 / 32768]),
        (3, b"\x00\x00\x80\x00\x00\xc0\x00\x00\x00\xff\xff\x7f", [-1, -0.5, 0, 8388607 / 8388608]),
        (4, struct.pack("<4i", -(2**31), -(2**30), 0, 2**30), [-1, -0.5, 0, 0.5]),
    ],
)
def test_pcm_of_every_width(width, raw, expected):
    assert load_bytes(wav_bytes(raw, width)).samples.tolist() == expected


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_libsndfile_agrees_on_every_sample_type(tmp_path, monkeypatch, subtype, container):
    soundfile = pytest.importorskip("soundfile", reason="soundfile (extra whisper) is not installed")
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, 999), 16000, subtype, format=container)
    expected, _ = soundfile.read(path, dtype="float32")
    monkeypatch.setitem(sys.modules, "soundfile", None)  # our own reader has to do it
    assert np.array_equal(load_audio(path).samples, expected)


def test_flac(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile (extra whisper) is not installed")
    path = tmp_path / "clip.flac"
    integers = np.random.default_rng(2).integers(-9000, 9000, 5000).astype(np.int16)
    soundfile.write(path, integers, 16000)
    assert np.array_equal(load_audio(path).samples, integers / 32768)
    whole = path.read_bytes()
    path.write_bytes(whole[:10])
    with pytest.raises(FileFormatError, match=r"clip\.flac: FLAC that cannot be decoded"):
        load_audio(path)


def test_mu_law_wav_goes_through_libsndfile(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile (extra whisper) is not installed")
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.sin(np.arange(800) / 9), 16000, "ULAW")
    expected, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(load_audio(path).samples, expected)


def test_stereo_is_mixed_and_said():
    audio = load_bytes(wav_bytes(struct.pack("<6h", 1000, 3000, -800, 800, 0, 32767), channels=2))
    assert np.allclose(audio.samples * 32768, [2000, 0, 16383.5])
    assert (audio.channels, audio.notes) == (2, ("2 channels mixed to mono",))


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_other_rates_are_resampled_and_said(rate):
    pytest.importorskip("scipy", reason="scipy (extra whisper) is not installed")
    sine = (20000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("<i2")
    audio = load_bytes(wav_bytes(sine.tobytes(), rate=rate))
    assert audio.notes == (f"resampled from {rate} Hz to 16000 Hz",)
    assert (audio.original_rate, audio.samples.dtype, audio.seconds) == (rate, np.float32, pytest.approx(1, abs=1e-4))
    expected = 20000 / 32768 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(audio.samples[500:15500] - expected[500:15500]).max() < 0.003


def test_oddities_are_said():
    assert load_bytes(wav_bytes(bytes(64))).notes == ("silent: every sample is zero",)
    streamed = SPEECH[:40] + b"\xff\xff\xff\xff" + SPEECH[44:]
    assert np.array_equal(load_bytes(streamed).samples, load_bytes(SPEECH).samples)
    odd_chunk = SPEECH[:36] + b"note" + struct.pack("<I", 3) + b"abc\0" + SPEECH[36:]
    assert np.array_equal(load_bytes(odd_chunk).samples, load_bytes(SPEECH).samples)
    ragged = SPEECH[:40] + struct.pack("<I", 801) + SPEECH[44:] + b"\x07"
    assert load_bytes(ragged).notes == ("1 bytes after the last whole frame were left out",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty; expected an audio file"),
        (wav_bytes(b""), "holds no samples"),
        (b"Dear Sir, ", "not an audio file .*begins with 'Dear Sir'.*expected WAV, FLAC"),
        (SPEECH[:-1], "cut short: the data chunk should have 800 bytes, 799 are there"),
        (SPEECH[:30], "cut short"),
        (SPEECH[:36], "without a data chunk"),
        (SPEECH[:12] + SPEECH[36:], "before any format chunk"),
        (SPEECH[:24] + struct.pack("<I", 5) + SPEECH[28:], "sample rate of 5 Hz"),
        (SPEECH[:22] + struct.pack("<H", 0) + SPEECH[24:], "0 channels"),
        (SPEECH[:34] + struct.pack("<H", 12) + SPEECH[36:], "12 bits; expected 8, 16, 24"),
    ],
)
def test_unusable_files_are_refused(data, message):
    with pytest.raises(FileFormatError, match=rf"clip\.wav: .*{message}"):
        load_bytes(data)


SIGNALLING_NAN = np.array([0x7FF0000000000001], np.uint64).view(np.float64)[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, SIGNALLING_NAN])
def test_samples_that_are_not_finite_are_refused(value):
    frames = np.array([0.0, value], "<f8").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 52, b"WAVE", b"fmt ", 16, 3, 1, 16000, 128000, 8, 64, b"data", 16
    )
    with pytest.raises(FileFormatError, match="NaN or infinite"):
        load_bytes(header + frames)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(FileFormatError, match="cannot be read"):
            load_audio(path)


def test_missing_packages_are_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(InputError, match=r'FLAC needs soundfile: pip install "xattn\[whisper\]"'):
        load_bytes(b"fLaC" + bytes(50))
    with pytest.raises(InputError, match=r"44100 Hz .*needs scipy"):
        load_bytes(wav_bytes(bytes(40), rate=44100))
    assert load_bytes(SPEECH).samples.size == 400


@given(st.integers(0, len(SPEECH) - 1))
@settings(deadline=None)
def test_a_wav_cut_short_anywhere_is_refused(cut):
    with pytest.raises(FileFormatError, match=r"clip\.wav"):
        load_bytes(SPEECH[:cut])


@given(st.integers(0, 60), st.binary(min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_damaged_wav_gives_samples_or_a_plain_error(at, patch):
    try:
        audio = load_bytes(SPEECH[:at] + patch + SPEECH[at + len(patch) :])
    except XattnError as error:
        message = str(error)
        assert "clip.wav" in message
        assert message.isprintable()
    else:
        assert audio.samples.ndim == 1
        assert audio.samples.size
        assert np.isfinite(audio.samples).all()
