"""A small model of random weights for encoder blocks: narrow enough to be quick, wide enough for the kernels."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from xattn.whisper.block_activations import Activations, float_activations
from xattn.whisper.encoder_block import EncoderBlock, Int16, quantized_block
from xattn.whisper.tensors import Float32

TOKENS, WIDTH, HIDDEN, HEADS = 100, 384, 128, 6


class RandomWeights(dict[str, Float32]):
    """One encoder block; `dims` as a real model has them."""

    name = "random weights"

    def __init__(self, head_width: int = 64) -> None:
        rng = np.random.default_rng(7)
        super().__init__()
        self.dims = SimpleNamespace(width=WIDTH, heads=WIDTH // head_width, head_width=head_width, encoder_layers=1,
                                    audio_positions=TOKENS, mel_bins=80)  # fmt: skip

        def layer(name: str, rows: int, columns: int, bias: bool = True) -> None:
            spread = np.exp(0.3 * rng.standard_normal((rows, 1)))
            self[f"{name}.weight"] = (rng.standard_normal((rows, columns)) * spread * columns**-0.5).astype(np.float32)
            if bias:
                self[f"{name}.bias"] = (0.1 * rng.standard_normal(rows)).astype(np.float32)

        prefix = "encoder.layers.0"
        for each in "qkv":
            layer(f"{prefix}.self_attn.{each}_proj", WIDTH, WIDTH, each != "k")
        layer(f"{prefix}.self_attn.out_proj", WIDTH, WIDTH)
        layer(f"{prefix}.fc1", HIDDEN, WIDTH)
        layer(f"{prefix}.fc2", WIDTH, HIDDEN)
        for each in ("self_attn", "final"):
            self[f"{prefix}.{each}_layer_norm.weight"] = rng.uniform(0.5, 1.5, WIDTH).astype(np.float32)
            self[f"{prefix}.{each}_layer_norm.bias"] = (0.2 * rng.standard_normal(WIDTH)).astype(np.float32)


@lru_cache(maxsize=1)
def random_block() -> tuple[EncoderBlock, Int16, Activations]:
    """The block, its input, and the float block's activations."""
    weights, rng = RandomWeights(), np.random.default_rng(8)
    x: Float32 = rng.standard_normal((TOKENS, WIDTH)).astype(np.float32)
    x[:, 19] *= 8  # as one channel of real streams is
    truth = float_activations(weights, x, 0)  # type: ignore[arg-type]
    block = quantized_block(weights, 0, truth)  # type: ignore[arg-type]
    return block, np.rint(x / block.x_scale).astype(np.int16), truth
