"""Transformers with xattn's attention: what goes where, the pitfalls of its interface, and the bits of a layer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import xattn
from xattn.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
torch = pytest.importorskip("torch", reason="NOT CHECKED: xattn.hf needs torch")
transformers = pytest.importorskip("transformers", reason="NOT CHECKED: xattn.hf needs transformers")


def config(heads: int = 2, width: int = 128) -> Any:
    return transformers.WhisperConfig(
        vocab_size=100,
        num_mel_bins=80,
        d_model=width,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_source_positions=100,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


@pytest.fixture(scope="module")
def model() -> Any:
    import xattn.hf  # noqa: F401

    torch.manual_seed(0)
    made = transformers.WhisperForConditionalGeneration(config())
    return made.eval()


def features(seed: int = 0) -> Any:
    return torch.randn((1, 80, 200), generator=torch.Generator().manual_seed(seed))


def test_the_encoder_goes_through_xattn_and_the_decoder_through_sdpa(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xattn.hf as hf

    seen: list[tuple[int, ...]] = []

    def counting(q: Any, k: Any, v: Any, **options: Any) -> Any:
        seen.append(tuple(q.shape))
        assert options == {"scaling": 1.0}  # Whisper multiplies Q beforehand
        return xattn.attention(q, k, v, **options)

    monkeypatch.setattr(hf, "attention", counting)
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        expected = model(input_features=features(), decoder_input_ids=torch.tensor([[1, 5, 7]])).logits
        assert seen == []
        model.set_attn_implementation(hf.NAME)
        found = model(input_features=features(), decoder_input_ids=torch.tensor([[1, 5, 7]])).logits
    assert seen == [(1, 2, 100, 64)] * 2  # two encoder layers, no decoder layer, no cross-attention
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < 0.05


def test_generate_masks_and_caches_as_with_sdpa(model: Any) -> None:
    import xattn.hf as hf

    tokens = {}
    for name in ("sdpa", hf.NAME):
        model.set_attn_implementation(name)
        with torch.no_grad():
            tokens[name] = model.generate(features(), max_new_tokens=8, do_sample=False)
    assert tokens[hf.NAME].shape == tokens["sdpa"].shape


def test_a_layer_gives_the_bits_of_xattn_attention(model: Any) -> None:
    import xattn.hf as hf

    layer = model.model.encoder.layers[0].self_attn
    q, k, v = (torch.randn(2, 2, 70, 64, generator=torch.Generator().manual_seed(n)) for n in range(3))
    out, weights = hf.int8_attention(layer, q, k, v, None, scaling=1.0, is_causal=False)
    assert weights is None and out.shape == (2, 70, 2, 64) and out.is_contiguous()
    np.testing.assert_array_equal(
        out.transpose(1, 2).numpy(), xattn.attention(q.numpy(), k.numpy(), v.numpy(), scaling=1.0)
    )


def test_half_precision_models(model: Any) -> None:
    import xattn.hf as hf

    half = copy.deepcopy(model).to(torch.bfloat16)
    half.set_attn_implementation(hf.NAME)
    with torch.no_grad():
        out = half.model.encoder(features().to(torch.bfloat16)).last_hidden_state
    assert out.dtype == torch.bfloat16 and torch.isfinite(out).all()


def test_from_config_takes_the_name() -> None:
    import xattn.hf as hf

    made = transformers.AutoModel.from_config(config(), attn_implementation=hf.NAME)
    assert made.config._attn_implementation == hf.NAME


@pytest.mark.parametrize(("dropout", "gradients"), [(0.1, False), (0.0, True)])
def test_training_is_refused(model: Any, dropout: float, gradients: bool) -> None:
    import xattn.hf as hf

    q, k, v = (torch.randn(1, 2, 8, 64) for _ in range(3))
    layer = model.model.encoder.layers[0].self_attn
    with pytest.raises(InputError, match=r"for inference: call model\.eval\(\)"):
        hf.int8_attention(layer, q.requires_grad_(gradients), k, v, None, scaling=1.0, dropout=dropout)


def test_other_head_sizes_are_right_too() -> None:
    import xattn.hf as hf

    torch.manual_seed(1)
    made = transformers.WhisperForConditionalGeneration(config(heads=4)).eval()  # heads of 32 channels
    outputs = {}
    for name in ("sdpa", hf.NAME):
        made.set_attn_implementation(name)
        with torch.no_grad():
            outputs[name] = made.model.encoder(features()).last_hidden_state
    assert (outputs[hf.NAME] - outputs["sdpa"]).norm() < 0.05 * outputs["sdpa"].norm()
