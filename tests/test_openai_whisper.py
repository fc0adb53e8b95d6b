"""Patching a model of openai-whisper, by a stand-in with the same attributes, and by the package where it is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xattn
from xattn.errors import InputError
from xattn.openai_whisper import patch, unpatch

slow = pytest.mark.slow


class Attention:
    n_head = 2

    def qkv_attention(self, q: Any, k: Any, v: Any, mask: Any = None) -> tuple[str, None]:
        del q, k, v, mask
        return "original", None


def model(layers: int = 3) -> Any:
    blocks = [SimpleNamespace(attn=Attention()) for _ in range(layers)]
    return SimpleNamespace(encoder=SimpleNamespace(blocks=blocks))


def test_every_encoder_layer_is_changed_and_changed_back() -> None:
    made = model()
    assert patch(made) == 3 and patch(made) == 3
    assert all("qkv_attention" in vars(block.attn) for block in made.encoder.blocks)
    assert unpatch(made) == 3 and unpatch(made) == 0
    assert made.encoder.blocks[0].attn.qkv_attention(0, 0, 0)[0] == "original"


@pytest.mark.parametrize("other", [object(), SimpleNamespace(encoder=SimpleNamespace(blocks=[]))])
def test_other_models_are_refused(other: Any) -> None:
    with pytest.raises(InputError, match=r"is no model of openai-whisper: expected encoder\.blocks"):
        patch(other)


@slow
def test_the_layer_attends() -> None:
    torch = pytest.importorskip("torch", reason="NOT CHECKED: needs torch")
    made = model(1)
    patch(made)
    q, k, v = (torch.randn(1, 50, 128, generator=torch.Generator().manual_seed(n)) for n in range(3))
    out, weights = made.encoder.blocks[0].attn.qkv_attention(q, k, v)
    heads = [x.view(1, 50, 2, 64).transpose(1, 2).numpy() for x in (q, k, v)]
    expected = xattn.attention(*heads).transpose(0, 2, 1, 3).reshape(1, 50, 128)
    assert weights is None
    np.testing.assert_array_equal(out.numpy(), expected)
    with pytest.raises(InputError, match="has no mask"):
        made.encoder.blocks[0].attn.qkv_attention(q, k, v, mask=torch.zeros(50, 50))


@slow
def test_a_model_of_the_package() -> None:
    torch = pytest.importorskip("torch", reason="NOT CHECKED: needs torch")
    whisper = pytest.importorskip("whisper", reason="NOT CHECKED: openai-whisper is not installed")
    torch.manual_seed(0)
    made = whisper.model.Whisper(whisper.model.ModelDimensions(80, 100, 128, 2, 2, 51864, 32, 128, 2, 1)).eval()
    mel = torch.randn(1, 80, 200)
    with torch.no_grad():
        expected = made.embed_audio(mel)
        assert patch(made) == 2
        found = made.embed_audio(mel)
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < 0.05
