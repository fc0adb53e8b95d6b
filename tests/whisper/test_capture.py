from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import whisper_files as files

from xattn import whisper
from xattn.cache import cache_folder
from xattn.errors import InputError
from xattn.whisper import cache as cache_module
from xattn.whisper import capture as capture_module
from xattn.whisper.audio import Audio, load_audio
from xattn.whisper.cache import ActivationCache
from xattn.whisper.capture import capture_qkv
from xattn.whisper.clips import jfk_path
from xattn.whisper.encoder import encode
from xattn.whisper.mel import log_mel
from xattn.whisper.weights import load_weights

CLIP = Audio("noise.wav", np.random.default_rng(5).normal(0, 0.1, 16000).astype(np.float32), 16000, 1, ("odd",))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random encoder with Whisper's 1500 tokens, 2 layers, 2 heads × 4."""
    model = files.random_model(positions=1500)
    return load_weights(files.write_huggingface(tmp_path_factory.mktemp("model"), model))


def test_captured_is_what_attention_sees(small):
    seen = {}
    encode(small, log_mel(CLIP.samples, 5), observer=lambda layer, q, k, v, _: seen.update({layer: (q, k, v)}))
    for layer in (0, 1):
        got = capture_qkv(small, CLIP, layer)
        for array, expected in zip((got.q, got.k, got.v), seen[layer], strict=True):
            assert (array.shape, array.dtype) == ((2, 1500, 4), np.float32)
            assert np.array_equal(array, expected)
        assert (got.layer, got.head, got.clip, got.model) == (layer, None, "noise.wav", "custom Whisper")
        assert (got.scaling, got.heard_tokens, got.notes) == (0.5, 50, ("odd",))
        one = capture_qkv(small, CLIP, layer, head=1)
        assert one.head == 1
        assert np.array_equal(one.v, got.v[1])


def test_the_encoder_runs_once(small, monkeypatch):
    first = capture_qkv(small, CLIP, 1)
    assert len(list(cache_folder().rglob("*"))) == 2  # the folder "activations" and one entry
    monkeypatch.setattr(capture_module, "embed", lambda *_: pytest.fail("the encoder ran again"))
    renamed = Audio("other.wav", CLIP.samples, 8000, 2, ())
    again = capture_qkv(small, renamed, 1)
    assert np.array_equal(first.k, again.k)
    assert again.clip == "other.wav"
    louder = Audio("noise.wav", CLIP.samples * 2, 16000, 1, ())
    for audio, layer in ((CLIP, 0), (louder, 1)):
        with pytest.raises(pytest.fail.Exception, match="ran again"):
            capture_qkv(small, audio, layer)


def test_another_model_has_entries_of_its_own(small, tmp_path):
    other = load_weights(files.write_huggingface(tmp_path, files.random_model(seed=1, positions=1500)))
    assert not np.array_equal(capture_qkv(small, CLIP, 0).q, capture_qkv(other, CLIP, 0).q)


def spring():
    pytest.fail("an object of the cache file was unpickled")


class Trap:
    """Its pickle calls ``spring`` when it is loaded."""

    def __reduce__(self):
        return spring, ()


def damage(path, how):
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        path.write_bytes(data[:9000] + bytes([data[9000] ^ 1]) + data[9001:])
    elif how == "foreign":
        path.write_bytes(b"not an archive")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "shape":
        np.savez(path, **dict.fromkeys("qkv", np.zeros((2, 3, 4), np.float32)))
    elif how == "type":
        np.savez(path, **dict.fromkeys("qkv", np.zeros((2, 1500, 4))))
    elif how == "nan":
        np.savez(path, **dict.fromkeys("qkv", np.full((2, 1500, 4), np.nan, np.float32)))
    elif how == "pickle":
        np.savez(path, **dict.fromkeys("qkv", np.array([Trap()], object)))
    elif how == "name":
        np.savez(path, q=np.zeros((2, 1500, 4), np.float32))


@pytest.mark.parametrize("how", ["cut", "flipped", "foreign", "empty", "shape", "type", "nan", "pickle", "name"])
def test_a_damaged_entry_is_made_anew(small, how):
    expected = capture_qkv(small, CLIP, 0)
    (entry,) = cache_folder().rglob("*.npz")
    whole = entry.read_bytes()
    damage(entry, how)
    assert entry.read_bytes() != whole
    got = capture_qkv(small, CLIP, 0)
    assert all(np.array_equal(getattr(got, name), getattr(expected, name)) for name in "qkv")
    with np.load(entry) as archive:
        assert np.array_equal(archive["k"], expected.k)


def test_an_entry_is_written_whole_or_not_at_all(small, monkeypatch):
    def fail(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    got = capture_qkv(small, CLIP, 0)
    assert got.notes[-1].startswith("activations were not cached: No space left on device")
    assert got.q.shape == (2, 1500, 4)
    assert [path.name for path in cache_folder().rglob("*")] == ["activations"]


def test_a_cache_that_cannot_be_made_is_only_a_note(small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    got = capture_qkv(small, CLIP, 0, cache=ActivationCache(tmp_path / "file" / "sub"))
    assert "not cached" in got.notes[-1]


def test_the_oldest_entries_go_when_the_cache_is_full(tmp_path, monkeypatch):
    cache = ActivationCache(tmp_path)
    entry = (np.ones((1, 100, 4), np.float32),) * 3
    for age, key in enumerate(("c", "b", "a")):
        cache.write(key, entry)
        os.utime(tmp_path / f"{key}.npz", (1000 - age, 1000 - age))
    size = (tmp_path / "a.npz").stat().st_size
    monkeypatch.setattr(cache_module, "_LARGEST", 2 * size)
    cache.write("d", entry)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["c", "d"]
    assert cache.read("d", (1, 100, 4)) is not None
    assert cache.read("a", (1, 100, 4)) is None


def test_the_cache_folder_follows_the_system(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("XATTN_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder().as_posix() == "/somewhere/xattn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_folder().as_posix() == "/home/user/.cache/xattn"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder().as_posix() == "/home/user/Library/Caches/xattn"


def test_progress_counts_to_the_end(small):
    steps = []
    capture_qkv(small, CLIP, 1, progress=lambda done, total, what: steps.append((done, total, what)))
    assert steps == [
        (1, 4, "log-mel spectrogram"),
        (2, 4, "encoder stem"),
        (3, 4, "encoder layer 0"),
        (4, 4, "Q, K and V"),
    ]


def test_long_audio_is_trimmed_and_said(small):
    long = Audio("long.wav", np.tile(CLIP.samples, 31), 16000, 1, ())
    got = capture_qkv(small, long, 0)
    assert got.notes == ("only the first 30 s of 31.0 s were used",)
    assert got.heard_tokens == 1500


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [(2, None, "layer 2 .*layers 0 to 1"), (-1, 0, "layer -1"), (0, 2, "head 2 .*heads 0 to 1"), (0, -1, "head -1")],
)
def test_layers_and_heads_that_do_not_exist(small, layer, head, message):
    with pytest.raises(InputError, match=message):
        capture_qkv(small, CLIP, layer, head)


def test_importing_the_package_costs_nothing_and_every_name_resolves():
    code = "import sys, xattn.whisper; sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in whisper.__all__:
        assert callable(getattr(whisper, name))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = whisper.nonsense


@pytest.mark.parametrize(
    ("layer", "q_range", "k_range", "v_range", "score_range"),
    [
        # Ranges measured with Hugging Face's model on several speech clips: for layer 0, then for the layers above.
        (0, (1.2, 1.35), (9, 10.5), (8.5, 9.5), (37.5, 38.5)),
        (1, (0.85, 1.65), (6.45, 9.35), (3.45, 7.25), (14.5, 32)),
        (2, (0.85, 1.65), (6.45, 9.35), (3.45, 7.25), (14.5, 32)),
        (3, (0.85, 1.65), (6.45, 9.35), (3.45, 7.25), (14.5, 32)),
    ],
)
def test_real_activations_have_the_known_ranges(tiny_en, layer, q_range, k_range, v_range, score_range):
    got = capture_qkv(tiny_en, load_audio(jfk_path()), layer)
    assert got.q.shape == got.k.shape == got.v.shape == (6, 1500, 64)
    assert (got.model, got.clip, got.scaling, got.heard_tokens) == ("Whisper tiny.en", "jfk.wav", 0.125, 550)
    largest_score = max(float(np.abs(got.q[h] @ got.k[h].T).max()) for h in range(6))
    for array, (low, high) in zip((got.q, got.k, got.v), (q_range, k_range, v_range), strict=True):
        assert low <= np.abs(array).max() <= high
    assert score_range[0] <= largest_score <= score_range[1]
