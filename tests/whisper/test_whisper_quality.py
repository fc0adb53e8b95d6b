"""Schemes of attention and the table that judges them, on a small model and on arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper_files as files

import xattn
from xattn.errors import InputError
from xattn.numerics.compat import compat_model
from xattn.numerics.quantize import quantize
from xattn.numerics.reference import attention, attention_weights
from xattn.whisper.audio import Audio
from xattn.whisper.quality import awkward_errors, measure_quality
from xattn.whisper.schemes import scheme, schemes
from xattn.whisper.weights import load_weights


def qkv(tokens: int = 150, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return [(s * rng.standard_normal((2, tokens, 64))).astype(np.float32) for s in (0.2, 1.5, 1.0)]


def test_the_reference_is_softmax() -> None:
    q, k, v = qkv()
    np.testing.assert_allclose(scheme("float")(q, k, v), attention(q, k, v, scaling=1.0), atol=1e-5)
    np.testing.assert_allclose(scheme("float").weights(q, k), attention_weights(q, k, scaling=1.0), atol=1e-6)


def test_the_default_is_xattn_attention() -> None:
    q, k, v = qkv()
    np.testing.assert_array_equal(scheme("sound")(q, k, v), xattn.attention(q, k, v, scaling=1.0))
    diagonal = xattn.attention(q, k, v, scaling=1.0, order="diagonal")
    np.testing.assert_array_equal(scheme("sound-diagonal")(q, k, v), diagonal)


@pytest.mark.parametrize("name", ["sound", "sound-block-max", "sound-nearest"])
def test_weights_stand_behind_outputs(name: str) -> None:
    """Outputs are weights times V, up to the 8 bits of V."""
    q, k, v = qkv()
    weights = scheme(name).weights(q, k)
    assert weights.shape == (2, 150, 150) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=0.005)  # old sums are rounded when they are rescaled
    error = np.linalg.norm(weights @ v - scheme(name)(q, k, v)) / np.linalg.norm(weights @ v)
    assert error < 0.02


def test_the_seed_over_all_keys_and_in_tiles() -> None:
    q, k, v = qkv(128)
    model = compat_model("v0")
    parts = [quantize(x) for x in (q, k, v)]
    expected = np.stack([model(*(p.values[h] for p in parts)) for h in range(2)]) * parts[2].scale
    np.testing.assert_allclose(scheme("seed")(q, k, v), expected, rtol=1e-6)
    halves = [scheme("seed")(*(x[:, part] for x in (q, k, v))) for part in (slice(0, 64), slice(64, 128))]
    np.testing.assert_array_equal(scheme("seed-tile")(q, k, v), np.concatenate(halves, axis=1))
    weights = scheme("seed-tile").weights(q, k)
    assert (weights[:, :64, 64:] == 0).all() and (weights[:, 64:, :64] == 0).all()


def test_tiles_that_attend_to_themselves() -> None:
    q, k, v = qkv(100)
    found = scheme("tile-float")(q, k, v)
    np.testing.assert_allclose(found[:, 64:], attention(q[:, 64:], k[:, 64:], v[:, 64:], scaling=1.0), atol=1e-5)


def test_awkward_rows_tell_good_from_bad() -> None:
    sound, seed = (awkward_errors(scheme(name)) for name in ("sound", "seed"))
    assert max(awkward_errors(scheme("float")).values()) == 0
    assert max(sound.values()) < 0.1 < 0.5 < max(seed.values())


@pytest.fixture
def small(tmp_path: Path) -> Any:
    model = files.random_model(width=128, positions=70, mels=80)
    quiet = {name: array * np.float32(0.05) for name, array in model.items()}
    return load_weights(files.write_huggingface(tmp_path, quiet, "float32"))


def test_a_table_without_texts(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    spectrogram = rng.standard_normal((80, 140)).astype(np.float32)
    monkeypatch.setattr("xattn.whisper.quality.log_mel", lambda *_: spectrogram)
    clip = Audio("noise.wav", np.zeros(16_000, np.float32), 16_000, 1, ())
    told: list[tuple[int, int, str]] = []
    names = ["float", "sound", "seed"]
    record = measure_quality(small, [clip], [scheme(n) for n in names], progress=lambda *at: told.append(at))
    rows = {row.name: row for row in record.schemes}
    assert list(rows) == names and record.clips == ["noise.wav"] and record.texts == {"float": []}
    assert rows["float"].rel_l2_mean == 0 and rows["float"].top1_mean > 0.99 and rows["float"].kl_mean < 1e-6
    assert rows["sound"].rel_l2_worst < rows["seed"].rel_l2_mean
    assert rows["sound"].encoder_cosine > 0.999 and rows["sound"].wer is None
    assert [at[0] for at in told] == [0, 1, 2, 3] and {at[1] for at in told} == {4}


def test_nothing_to_judge(small: Any) -> None:
    with pytest.raises(InputError, match="at least one clip and one scheme"):
        measure_quality(small, [], list(schemes().values()))
    with pytest.raises(InputError, match="no scheme is called 'magic'; there are float, sound"):
        scheme("magic")
