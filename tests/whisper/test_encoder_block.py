"""An encoder block in int8: the models against float, the kernels against the models, on random and on real weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from block_cases import HEADS, HIDDEN, TOKENS, WIDTH, RandomWeights, random_block

from xattn.errors import InputError
from xattn.numerics.metrics import relative_l2
from xattn.whisper import WhisperWeights, jfk_path, load_audio
from xattn.whisper.block_activations import block_input, float_activations
from xattn.whisper.block_kernels import Kernels
from xattn.whisper.block_report import UPDATE, measure_encoder_block
from xattn.whisper.encoder import block as float_block
from xattn.whisper.encoder_block import Models, forward, quantized_block


def test_every_step_of_the_models_is_near_float() -> None:
    """A channel rounded to 127 steps of its largest number is about 0.7 % off; errors of steps add up."""
    block, x, truth = random_block()
    found = forward(block, x, Models())
    assert relative_l2(found["norm1"] * block.scales["norm1"], truth["norm1"]) < 0.012
    for name, values in found.items():
        assert relative_l2(values * block.scales[name], truth[name]) < 0.03, name


def test_some_tokens_alone_give_what_they_give_among_all() -> None:
    block, x, _ = random_block()
    found = forward(block, x, Models())
    part = forward(block, x[64:], Models(), (found["k"], found["v"]), 64)
    for name, values in part.items():
        np.testing.assert_array_equal(values, found[name][64:], err_msg=name)
    with pytest.raises(InputError, match="99 of 100 tokens"):
        forward(block, x[:99], Models(), (found["k"], found["v"]), 0)


def test_each_step_by_kernels_is_the_models() -> None:
    """Every method of `Steps` once, in the MLP and in one head, on the models' numbers."""
    block, x, _ = random_block()
    models, found = Models(), forward(block, x, Models())
    kernels = Kernels(block, TOKENS, engine="interpreter")
    first = {name: values[:64] for name, values in found.items()}
    steps = {
        "norm2": kernels.norm(first["x1"], block.norm2),
        "fc1": kernels.linear(first["norm2"], block.fc1),
        "gelu": kernels.gelu(first["fc1"], block.gelu),
        "x2": kernels.add(first["gelu"], block.fc2, first["x1"]),
    }
    for name, values in steps.items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)
    head = slice(0, 64)
    operands = first["q"][:, head], found["k"][:, head], found["v"][:, head], int(block.shift[0]), 0
    state = kernels.attend(*operands)
    np.testing.assert_array_equal(state.matrix, models.attend(*operands).matrix)
    np.testing.assert_array_equal(kernels.end(state, block.gain[0]), first["attention"][:, head])
    assert not kernels.findings


@pytest.mark.slow
def test_kernels_give_every_number_of_the_models() -> None:
    """64 of 100 tokens: 36 keys make the last block, the rest of it is padding."""
    block, x, _ = random_block()
    found = forward(block, x, Models())
    told: list[tuple[int, int, str]] = []
    kernels = Kernels(block, len(x), lambda *step: told.append(step), "interpreter")
    ran = forward(block, x[:64], kernels, (found["k"], found["v"]), 0)
    for name, values in ran.items():
        np.testing.assert_array_equal(values, found[name][:64], err_msg=name)
    assert not kernels.findings
    calls = {name: cost.calls for name, cost in kernels.by_kernel.items()}
    columns, depth, hidden = WIDTH // 64, WIDTH // 64, HIDDEN // 64
    assert calls == {
        "layer_norm_384": 8,
        "matmul_start": 4 * columns + hidden + columns,
        "matmul_accumulate": 3 * columns * (depth - 2) + columns * (depth - 1) + hidden * (depth - 2)
        + columns * (hidden - 1),
        "matmul_narrow": 3 * columns + hidden,
        "sound": HEADS,
        "sound_masked": HEADS,
        "attention_end": HEADS,
        "add_residual": 2 * columns,
        "gelu": hidden,
    }  # fmt: skip
    assert told[-1][:2] == (sum(calls.values()), sum(calls.values()))
    # the comparison can fail: one other number in one step shows from there on
    other = replace(block, fc1=replace(block.fc1, bias=block.fc1.bias + np.int32(1 << 16)))
    wrong = forward(other, x[:64], Models(), (found["k"], found["v"]), 0)
    differ = [name for name in ran if not np.array_equal(ran[name], wrong[name])]
    assert differ == ["fc1", "gelu", "x2"]


def test_the_float_activations_are_the_encoders() -> None:
    _, _, truth = random_block()
    weights = RandomWeights()
    np.testing.assert_allclose(truth["x2"], float_block(weights, truth["x"], 0), rtol=0, atol=1e-5)  # type: ignore[arg-type]


def test_a_residual_stream_that_grows_gets_coarser_steps() -> None:
    """As in the last layer of Whisper tiny: what goes out is many times what comes in."""
    weights = RandomWeights()
    weights["encoder.layers.0.fc2.weight"] = weights["encoder.layers.0.fc2.weight"] * np.float32(40)
    _, _, truth = random_block()
    large = float_activations(weights, truth["x"], 0)  # type: ignore[arg-type]
    block = quantized_block(weights, 0, large)  # type: ignore[arg-type]
    assert block.fc2.octaves >= 2 and block.out.octaves == 0
    found = forward(block, np.rint(truth["x"] / block.x_scale).astype(np.int16), Models())
    assert relative_l2(found["x2"] * block.scales["x2"], large["x2"]) < 0.04


def test_other_models_are_refused() -> None:
    _, _, truth = random_block()
    with pytest.raises(InputError, match="heads of width 32; the kernels take 64"):
        quantized_block(RandomWeights(head_width=32), 0, truth)  # type: ignore[arg-type]
    block, _, _ = random_block()
    wide = replace(block, norm1=replace(block.norm1, gain=np.ones(1024, np.int16)))
    with pytest.raises(InputError, match="no LayerNorm of 1024 channels; there are 384, 512, 768"):
        Kernels(wide, TOKENS)


@pytest.mark.parametrize(
    ("layer", "first", "message"),
    [(4, 0, "encoder layers 0 to 3"), (0, 5, "a multiple of 64 on, 0 to 1408"), (0, 1472, "0 to 1408")],
)
def test_layers_and_tokens_that_there_are_not(tiny_en: WhisperWeights, layer: int, first: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure_encoder_block(tiny_en, load_audio(jfk_path()), layer, first)


@pytest.mark.slow
def test_a_real_block_by_kernels(tiny_en: WhisperWeights) -> None:
    record = measure_encoder_block(tiny_en, load_audio(jfk_path()), 1, 128)
    assert record.passed and record.wrong == dict.fromkeys(record.wrong, 0) and len(record.wrong) == 10
    assert sum(kernel.calls for kernel in record.kernels) == 626
    assert record.peak_fraction > 0.75
    assert all(kernel.cycles > kernel.least for kernel in record.kernels)


@pytest.mark.slow
def test_real_blocks_are_near_float(tiny_en: WhisperWeights) -> None:
    """All layers of tiny.en: what each block adds is a few percent off at most."""
    clip = load_audio(jfk_path())
    for layer, bound in enumerate((0.02, 0.04, 0.035, 0.02)):
        record = measure_encoder_block(tiny_en, clip, layer, kernels=False)
        errors = {step.name: step for step in record.steps}
        assert errors[UPDATE].rel_l2 < bound and errors[UPDATE].cosine > 0.999, layer
        assert errors["x2"].cosine > 0.999 and record.kernels == [] and record.peak_fraction == 0


@pytest.mark.slow
def test_scales_may_come_from_other_speech(tiny_en: WhisperWeights) -> None:
    clip = load_audio(jfk_path())
    part = replace(clip, samples=clip.samples[: clip.samples.size // 2], name="half of it")
    record = measure_encoder_block(tiny_en, clip, 0, calibration=part, kernels=False)
    own = measure_encoder_block(tiny_en, clip, 0, kernels=False)
    update, best = (next(s for s in r.steps if s.name == UPDATE).rel_l2 for r in (record, own))
    assert record.calibration == "half of it" and best < update < 1.2 * best
    assert block_input(tiny_en, clip.samples, 0).shape == (1500, 384)
