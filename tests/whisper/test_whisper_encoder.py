from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import whisper_files as files

from xattn.errors import InputError
from xattn.whisper import gelu as gelu_module
from xattn.whisper.audio import load_audio
from xattn.whisper.clips import jfk_path
from xattn.whisper.encoder import encode, softmax_attention
from xattn.whisper.gelu import gelu, table_erf
from xattn.whisper.mel import log_mel
from xattn.whisper.weights import load_weights

RNG = np.random.default_rng(3)


@pytest.fixture
def small(tmp_path):
    """A random encoder of 2 layers, 2 heads × 4, 6 tokens."""
    return load_weights(files.write_huggingface(tmp_path, scaled(files.random_model()), "float32"))


def scaled(model):
    """Weights small enough for lively, unsaturated attention."""
    return {name: array * np.float32(0.25) for name, array in model.items()}


def reference(model, mel, heads):
    """Whisper's encoder by its definition, in float64, with loops where the implementation has matrix products."""
    w = {name: array.astype(np.float64) for name, array in model.items()}

    def convolve(x, name, stride):
        kernel, bias = w[f"encoder.{name}.weight"], w[f"encoder.{name}.bias"]
        time = x.shape[1]
        out = np.zeros((kernel.shape[0], (time - 1) // stride + 1))
        for t in range(out.shape[1]):
            for tap in range(3):
                if 0 <= t * stride + tap - 1 < time:
                    out[:, t] += kernel[:, :, tap] @ x[:, t * stride + tap - 1]
        return activate(out + bias[:, None])

    def activate(x):
        return np.vectorize(lambda value: value * 0.5 * math.erfc(-value / math.sqrt(2)))(x)

    def norm(x, name):
        rows = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in x]
        return np.array(rows) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return np.einsum("ti,oi->to", x, w[f"{name}.weight"]) + w.get(f"{name}.bias", 0.0)

    x = convolve(convolve(mel.astype(np.float64), "conv1", 1), "conv2", 2).T + w["encoder.embed_positions.weight"]
    layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.layers."))
    for i in range(layers):
        at = f"encoder.layers.{i}"
        h = norm(x, f"{at}.self_attn_layer_norm")
        q, k, v = (linear(h, f"{at}.self_attn.{p}_proj") for p in "qkv")
        wide = x.shape[1] // heads
        mixed = np.zeros_like(x)
        for head in range(heads):
            part = slice(head * wide, (head + 1) * wide)
            for t in range(x.shape[0]):
                p = np.exp([q[t, part] @ k[s, part] / math.sqrt(wide) for s in range(x.shape[0])])
                mixed[t, part] = (p / p.sum()) @ v[:, part]
        x = x + linear(mixed, f"{at}.self_attn.out_proj")
        x = x + linear(activate(linear(norm(x, f"{at}.final_layer_norm"), f"{at}.fc1")), f"{at}.fc2")
    return norm(x, "encoder.layer_norm")


def test_the_encoder_is_the_definition(small):
    mel = RNG.normal(0, 1, (5, 12)).astype(np.float32)
    got = encode(small, mel)
    expected = reference(scaled(files.random_model()), mel, heads=2)
    assert got.shape == (6, 8)
    assert np.linalg.norm(got - expected) < 2e-6 * np.linalg.norm(expected)


def test_attention_is_an_argument_and_is_observed(small):
    mel = RNG.normal(0, 1, (5, 12)).astype(np.float32)
    called, seen = [], {}

    def mean_of_v(q, k, v, layer):
        called.append(layer)
        assert q.shape == k.shape == v.shape == (2, 6, 4)
        assert q.dtype == k.dtype == v.dtype == np.float32
        return np.broadcast_to(v.mean(axis=1, keepdims=True), v.shape)

    other = encode(small, mel, attention=mean_of_v, observer=lambda layer, q, _, v, o: seen.update({layer: (q, v, o)}))
    assert called == [0, 1]
    assert list(seen) == [0, 1]
    assert np.array_equal(seen[1][2], np.broadcast_to(seen[1][1].mean(axis=1, keepdims=True), (2, 6, 4)))
    assert not np.allclose(other, encode(small, mel))


def test_softmax_attention_survives_large_scores():
    q = np.full((1, 3, 4), 100, np.float32)
    k = np.zeros((1, 3, 4), np.float32)
    k[0, 1] = 1  # a score of 400: the second key takes all
    v = RNG.normal(0, 1, (1, 3, 4)).astype(np.float32)
    assert np.allclose(softmax_attention(q, k, v), v[:, [1, 1, 1]])


@pytest.mark.parametrize("mel", [np.zeros((5, 11), np.float32), np.zeros((12, 5), np.float32), np.zeros((5, 12))])
def test_a_spectrogram_of_another_shape_or_type_is_refused(small, mel):
    with pytest.raises(InputError, match=r"takes float32 \(5, 12\)"):
        encode(small, mel)


def test_bad_attention_is_refused(small):
    mel = np.zeros((5, 12), np.float32)
    with pytest.raises(InputError, match=r"layer 0 gave shape \(6, 4\); expected \(2, 6, 4\)"):
        encode(small, mel, attention=lambda _q, _k, v, _layer: v[0])
    with pytest.raises(InputError, match="layer 1 gave NaN"):
        encode(small, mel, attention=lambda _q, _k, v, layer: v * np.float32(np.nan) if layer else v)


def test_error_function_without_scipy():
    x = np.concatenate([np.linspace(-6, 6, 120_001), np.geomspace(1e-30, 1, 999), [0.0, -0.0, 3e38, -3e38, np.inf]])
    x = x.astype(np.float32)
    expected = np.array([math.erf(float(value)) for value in x])
    got = table_erf(x)
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 1e-7
    assert np.array_equal(table_erf(-x), -got)
    near_zero = (np.abs(x) < 1 / 128) & (np.abs(x) > 1e-30)  # where the table's own value is 0, the series is all
    assert np.abs(got[near_zero] / expected[near_zero] - 1).max() < 5e-7


@pytest.mark.parametrize("with_scipy", [True, False])
def test_gelu_is_the_definition(monkeypatch, with_scipy):
    if with_scipy:
        pytest.importorskip("scipy", reason="scipy (extra whisper) is not installed")
    else:
        monkeypatch.setitem(sys.modules, "scipy.special", None)
    gelu_module._scipy_erf.cache_clear()
    assert (gelu_module._scipy_erf() is not None) == with_scipy
    x = RNG.normal(0, 3, (700, 400)).astype(np.float32)
    expected = np.array([float(v) * 0.5 * math.erfc(-float(v) / math.sqrt(2)) for v in x.ravel()]).reshape(x.shape)
    got = gelu(x)
    gelu_module._scipy_erf.cache_clear()
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.slow
def test_transformers_agrees_on_real_weights(tiny_en):
    reason = "torch and transformers are not installed: the comparison with Hugging Face's encoder is left out"
    torch = pytest.importorskip("torch", reason=reason)
    transformers = pytest.importorskip("transformers", reason=reason)
    d = tiny_en.dims
    config = transformers.WhisperConfig(
        vocab_size=d.vocabulary,
        num_mel_bins=d.mel_bins,
        d_model=d.width,
        encoder_layers=d.encoder_layers,
        encoder_attention_heads=d.heads,
        encoder_ffn_dim=4 * d.width,
        decoder_layers=d.decoder_layers,
        decoder_attention_heads=d.decoder_heads,
        decoder_ffn_dim=4 * d.width,
        max_source_positions=d.audio_positions,
        max_target_positions=d.text_positions,
    )
    model = transformers.WhisperModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tiny_en.items()}, strict=True)
    theirs_q = {}
    for i, layer in enumerate(model.encoder.layers):
        layer.self_attn.q_proj.register_forward_hook(lambda _m, _i, out, i=i: theirs_q.update({i: out[0].numpy() / 8}))
    mel = log_mel(load_audio(jfk_path()).samples)
    with torch.no_grad():
        theirs = model.encoder(torch.from_numpy(mel)[None]).last_hidden_state[0].numpy()
    ours_q = {}
    ours = encode(tiny_en, mel, observer=lambda layer, q, _k, _v, _o: ours_q.update({layer: q}))
    assert np.linalg.norm(ours - theirs) < 5e-6 * np.linalg.norm(theirs)
    for layer, q in theirs_q.items():
        q = q.reshape(1500, 6, 64).swapaxes(0, 1)
        assert np.linalg.norm(ours_q[layer] - q) < 5e-6 * np.linalg.norm(q)
