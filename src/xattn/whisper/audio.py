"""Speech from a file as what Whisper hears: float32, mono, 16 kHz; and what had to be done to get there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import FileFormatError, InputError
from xattn.whisper.container import text_of
from xattn.whisper.wav import WavSamples, is_plain_wav, is_wav, read_wav

SAMPLE_RATE = 16_000
_RATES = range(1_000, 768_001)
# First bytes of formats that soundfile (libsndfile) reads.
_SOUNDFILE_MAGIC = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"FORM": "AIFF",
    b"RF64": "RF64",
    b"ID3": "MP3",
    b"\xff\xfb": "MP3",
    b"\xff\xf3": "MP3",
}
_INSTALL = 'pip install "xattn[whisper]"'
_CONVERT = "ffmpeg -i IN -ar 16000 -ac 1 OUT.wav"


@dataclass(frozen=True)
class Audio:
    """A clip, ready for Whisper."""

    name: str
    """The clip's name for reports: the file's name without its folder."""
    samples: NDArray[np.float32]
    """Mono samples [n] at 16 kHz, full scale ±1."""
    original_rate: int
    """The file's sample rate in Hz."""
    channels: int
    """The file's number of channels."""
    notes: tuple[str, ...]
    """What was changed or is odd (mixed down, resampled, silent), each a short phrase for the user."""

    @property
    def seconds(self) -> float:
        """The clip's length."""
        return self.samples.size / SAMPLE_RATE


def load_audio(path: Path) -> Audio:
    """Load a speech file as 16 kHz mono float32; ``notes`` says whether it was mixed down or resampled.

    WAV (PCM and float) needs no other package; FLAC, Ogg, MP3 and AIFF need soundfile, other sample rates need scipy
    (both in the extra ``whisper``; InputError if missing). FileFormatError if the file is missing, empty, cut short,
    holds no samples or NaN, or is not audio.
    """
    found = _read(path)
    frames, channels = found.samples.shape
    if frames == 0:
        raise FileFormatError(f"{path}: the file holds no samples; expected speech")
    if found.rate not in _RATES:
        raise FileFormatError(f"{path}: a sample rate of {found.rate} Hz; expected {_RATES[0]} to {_RATES[-1]} Hz")
    if not np.isfinite(found.samples).all():
        raise FileFormatError(f"{path}: holds samples that are NaN or infinite; expected finite samples")
    notes = list(found.notes)
    samples = found.samples[:, 0]
    if channels > 1:
        samples = found.samples.mean(axis=1, dtype=np.float32)
        notes.append(f"{channels} channels mixed to mono")
    if found.rate != SAMPLE_RATE:
        samples = _resample(path, samples, found.rate)
        notes.append(f"resampled from {found.rate} Hz to {SAMPLE_RATE} Hz")
    if not samples.any():
        notes.append("silent: every sample is zero")
    return Audio(path.name, np.ascontiguousarray(samples), found.rate, channels, tuple(notes))


def _read(path: Path) -> WavSamples:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); expected an audio file") from None
    if not data:
        raise FileFormatError(f"{path}: the file is empty; expected an audio file")
    if is_wav(data) and is_plain_wav(path, data):
        return read_wav(path, data)
    kind = "WAV with compressed samples" if is_wav(data) else None
    kind = kind or next((name for magic, name in _SOUNDFILE_MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise FileFormatError(
            f"{path}: not an audio file that is known here (it begins with '{text_of(data[:8])}'); "
            f"expected WAV, FLAC, Ogg, MP3 or AIFF: convert it with {_CONVERT}"
        )
    return _read_with_soundfile(path, data, kind)


def _read_with_soundfile(path: Path, data: bytes, kind: str) -> WavSamples:
    try:
        soundfile: Any = import_module("soundfile")
    except (ImportError, OSError):  # OSError: the package is there, its native library is not
        raise InputError(
            f"{path}: reading {kind} needs soundfile: {_INSTALL}, or convert the file with {_CONVERT}"
        ) from None
    try:
        samples, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, ValueError, OverflowError, MemoryError) as error:
        reason = str(getattr(error, "error_string", error)).strip(" .")
        raise FileFormatError(f"{path}: {kind} that cannot be decoded ({reason}); it may be cut short") from None
    return WavSamples(samples, int(rate), ())


def _resample(path: Path, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    try:
        signal: Any = import_module("scipy.signal")
    except ImportError:
        raise InputError(
            f"{path}: {rate} Hz must be resampled to {SAMPLE_RATE} Hz, which needs scipy: {_INSTALL}, "
            f"or convert the file with {_CONVERT}"
        ) from None
    common = gcd(rate, SAMPLE_RATE)
    resampled = signal.resample_poly(samples, SAMPLE_RATE // common, rate // common)
    return np.asarray(resampled, dtype=np.float32)
