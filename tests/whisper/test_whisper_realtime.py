"""The account of the realtime factor: sums and quotients by hand, and what is timed on the host."""

from __future__ import annotations

import numpy as np
import pytest

from xattn.errors import InputError
from xattn.whisper.dims import published_dims
from xattn.whisper.host_times import HostTimes, RandomWeights, measure_host
from xattn.whisper.layout import tensor_shapes
from xattn.whisper.realtime import Blocks, make_account, recorded_seconds, tile_count

BLOCKS = Blocks(quiet=2500, rising=3500, fraction=0.1, source="a test")
HOST = HostTimes(mel=0.010, stem=0.020, layer=0.030, attention=0.005, token=0.001)


def test_tiles_are_those_of_the_whole_encoder() -> None:
    assert tile_count(published_dims("base")) == 6 * 8 * 24 * 24 == 27_648
    assert tile_count(published_dims("large-v3")) == 32 * 20 * 24 * 24
    assert recorded_seconds(published_dims("base"), 1.8e9) == pytest.approx(27_648 * 2_975_089 / 1.8e9)


def test_the_account_adds_up() -> None:
    account = make_account(published_dims("base"), BLOCKS, HOST, 50, "a test", 1e9)
    ms = {line.what: 1000 * line.seconds for line in account.lines}
    assert account.cycles_per_tile == 2600
    assert ms["attention on 1 core"] == pytest.approx(27_648 * 2600 / 1e6)
    assert ms["attention on 16 cores"] == pytest.approx(27_648 * 2600 / 16e6)
    assert ms["Q, K, V, O between memory and the array"] == pytest.approx(4 * 6 * 8 * 1536 * 64 / 26e6)
    assert ms["launches"] == pytest.approx(0.66)
    rest = 10 + 20 + 6 * 30 + 50 * 1
    by_name = {s.what: s for s in account.scenarios}
    here = by_name["everything on this computer"]
    assert 1000 * here.seconds == pytest.approx(rest + 30) and here.factor == pytest.approx(30_000 / (rest + 30))
    sixteen = by_name["attention on 16 NPU cores, the rest here"]
    assert 1000 * sixteen.seconds == pytest.approx(rest + 0.66 + ms["attention on 16 cores"])
    assert account.ceiling == pytest.approx(30_000 / rest)
    assert {line.kind for line in account.lines} == {"simulated", "published", "measured"}
    assert all(line.source for line in account.lines) and account.left_out


def test_transfers_count_where_they_are_longer() -> None:
    fast = Blocks(quiet=10, rising=10, fraction=0.0, source="a test")
    account = make_account(published_dims("base"), fast, HOST, 1, "a test", 1e9)
    transfers = next(line.seconds for line in account.lines if line.kind == "published")
    assert account.scenarios[-1].attention == pytest.approx(transfers + 6 * 110e-6)


def test_what_a_tile_may_cost() -> None:
    account = make_account(published_dims("base"), BLOCKS, HOST, 50, "a test", 1e9)
    forty, sixty = account.budgets
    left = 0.75 - 0.260 - 0.00066
    assert forty.seconds == pytest.approx(left / 27_648)
    assert forty.cycles["4"] == pytest.approx(left / 27_648 * 4e9)
    assert sixty.alone_cycles["1"] == pytest.approx(0.5 / 27_648 * 1e9)
    slow = HostTimes(0.01, 0.02, 0.2, 0.005, 0.001)
    none = make_account(published_dims("base"), BLOCKS, slow, 50, "a test", 1e9).budgets[0]
    assert none.seconds is None and set(none.cycles.values()) == {None}


def test_the_seeds_formula_is_its_own() -> None:
    account = make_account(published_dims("tiny"), BLOCKS, HOST, 50, "a test", 1e9)
    assert account.seed_factor == pytest.approx(11_000 / (304.7 + 3.034 * 23.4 * 6))
    assert round(account.seed_tiles) == 140


def test_random_weights_have_the_models_shapes_and_one_layer() -> None:
    dims = published_dims("tiny")
    weights = RandomWeights(dims)
    for name, shape in tensor_shapes(dims).items():
        if "layers.0" in name or "layers.3" in name:
            assert weights[name].shape == shape and weights[name].dtype == np.float32
    assert weights["encoder.layers.3.fc1.weight"] is weights["encoder.layers.0.fc1.weight"]
    with pytest.raises(KeyError):
        weights["encoder.layers.0.fc3.weight"]


@pytest.mark.slow
def test_what_is_timed_takes_time_and_larger_models_more() -> None:
    told: list[str] = []
    tiny, base = (measure_host(published_dims(n), lambda *at: told.append(at[2])) for n in ("tiny", "base"))
    for name in ("mel", "stem", "layer", "attention", "token"):
        assert 0 < getattr(tiny, name) < 60
    assert base.layer > tiny.layer and base.token > tiny.token
    assert told[:5] == ["log-mel spectrogram", "convolutions", "an encoder layer", "attention", "the decoder"]


@pytest.mark.parametrize(
    ("name", "width", "layers", "vocabulary"),
    [("tiny.en", 384, (4, 4), 51864), ("medium", 1024, (24, 24), 51865), ("large-v3-turbo", 1280, (32, 4), 51866)],
)
def test_published_sizes(name: str, width: int, layers: tuple[int, int], vocabulary: int) -> None:
    dims = published_dims(name)
    assert (dims.width, (dims.encoder_layers, dims.decoder_layers), dims.vocabulary) == (width, layers, vocabulary)
    assert dims.heads * 64 == width and name.removesuffix("-v3-turbo") in dims.model_name


@pytest.mark.parametrize("name", ["giant", "large-v3.en", ""])
def test_models_that_there_are_not(name: str) -> None:
    with pytest.raises(InputError, match="there are tiny, base, small, medium, large-v2"):
        published_dims(name)
