"""The decoder against its definition in loops and against Transformers, however its tokens come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper_files as files

from xattn.errors import InputError
from xattn.whisper.audio import load_audio
from xattn.whisper.clips import jfk_path
from xattn.whisper.decoder import Decoder
from xattn.whisper.encoder import encode
from xattn.whisper.mel import log_mel
from xattn.whisper.weights import WhisperWeights, load_weights

ENCODED = np.random.default_rng(1).standard_normal((6, files.WIDTH)).astype(np.float32)


def model() -> dict[str, Any]:
    return {name: array * np.float32(0.25) for name, array in files.random_model().items()}


@pytest.fixture
def small(tmp_path: Path) -> WhisperWeights:
    return load_weights(files.write_huggingface(tmp_path, model(), "float32"))


def reference(tokens: list[int]) -> Any:
    """Logits after all tokens, in float64, a head and a query at a time."""
    w = {name: array.astype(np.float64) for name, array in model().items()}
    heads, width = files.HEADS, files.WIDTH // files.HEADS

    def norm(x: Any, name: str) -> Any:
        rows = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in x]
        return np.array(rows) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return np.einsum("ti,oi->to", x, w[f"{name}.weight"]) + w.get(f"{name}.bias", 0.0)

    def attend(x: Any, source: Any, name: str, causal: bool) -> Any:
        q, k, v = (linear(s, f"{name}.{p}_proj") for s, p in ((x, "q"), (source, "k"), (source, "v")))
        out = np.zeros_like(q)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for i in range(len(q)):
                seen = range(i + 1) if causal else range(len(k))
                weights = np.exp([q[i, part] @ k[j, part] / math.sqrt(width) for j in seen])
                out[i, part] = sum(p * v[j, part] for p, j in zip(weights, seen, strict=True)) / weights.sum()
        return linear(out, f"{name}.out_proj")

    x = w["decoder.embed_tokens.weight"][tokens] + w["decoder.embed_positions.weight"][: len(tokens)]
    for layer in range(files.LAYERS):
        at = f"decoder.layers.{layer}"
        h = norm(x, f"{at}.self_attn_layer_norm")
        x = x + attend(h, h, f"{at}.self_attn", True)
        h = norm(x, f"{at}.encoder_attn_layer_norm")
        x = x + attend(h, ENCODED, f"{at}.encoder_attn", False)
        h = linear(norm(x, f"{at}.final_layer_norm"), f"{at}.fc1")
        h = np.vectorize(lambda value: value * 0.5 * math.erfc(-value / math.sqrt(2)))(h)
        x = x + linear(h, f"{at}.fc2")
    return w["decoder.embed_tokens.weight"] @ norm(x, "decoder.layer_norm")[-1]


@pytest.mark.parametrize("pieces", [[[3, 1, 6, 2]], [[3], [1], [6], [2]], [[3, 1], [6, 2]]])
def test_logits_are_the_definitions_however_the_tokens_come(small: WhisperWeights, pieces: list[list[int]]) -> None:
    decoder = Decoder(small, ENCODED)
    for piece in pieces:
        logits = decoder.say(piece)
    np.testing.assert_allclose(logits, reference([3, 1, 6, 2]), rtol=1e-4, atol=1e-4)


def test_more_tokens_than_places(small: WhisperWeights) -> None:
    decoder = Decoder(small, ENCODED)
    decoder.say([1, 2, 3])
    with pytest.raises(InputError, match="5 tokens, of 4 that the decoder has places for"):
        decoder.say([1, 2])


def test_an_encoder_alone(tmp_path: Path) -> None:
    encoder = {name: array for name, array in model().items() if name.startswith("encoder.")}
    weights = load_weights(files.write_huggingface(tmp_path, encoder, "float32"))
    with pytest.raises(InputError, match="holds an encoder alone"):
        Decoder(weights, ENCODED)


@pytest.mark.slow
def test_real_weights_say_what_transformers_says(tiny_en: WhisperWeights) -> None:
    torch = pytest.importorskip("torch", reason="NOT CHECKED against Transformers: needs torch")
    transformers = pytest.importorskip("transformers", reason="NOT CHECKED against Transformers")
    dims = tiny_en.dims
    config = transformers.WhisperConfig(
        vocab_size=dims.vocabulary, num_mel_bins=dims.mel_bins, d_model=dims.width,
        encoder_layers=dims.encoder_layers, decoder_layers=dims.decoder_layers,
        encoder_attention_heads=dims.heads, decoder_attention_heads=dims.decoder_heads,
        encoder_ffn_dim=4 * dims.width, decoder_ffn_dim=4 * dims.width,
    )  # fmt: skip
    peer = transformers.WhisperModel(config).eval()
    state = {name: torch.from_numpy(tiny_en[name].copy()) for name in tiny_en}
    missing = peer.load_state_dict(state, strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys
    mel = log_mel(load_audio(jfk_path()).samples)
    tokens = [50257, 50363, 843, 523, 616]  # start, 0.00 s, " And so my"
    with torch.no_grad():
        hidden = peer(torch.from_numpy(mel)[None], decoder_input_ids=torch.tensor([tokens])).last_hidden_state
        expected = (hidden[0, -1] @ peer.decoder.embed_tokens.weight.T).numpy()
    logits = Decoder(tiny_en, encode(tiny_en, mel)).say(tokens)
    np.testing.assert_allclose(logits, expected, atol=2e-3)
    assert logits.argmax() == expected.argmax()
