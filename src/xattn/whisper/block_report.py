"""An encoder block in int8 on real speech: how far from float at each step, and what it costs in simulated cycles."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from xattn.bench.record import CYCLES_ARE, PEAK_MACS_PER_CYCLE
from xattn.errors import InputError
from xattn.numerics.metrics import cosine, relative_l2
from xattn.whisper.audio import Audio
from xattn.whisper.block_activations import Activations, block_input, float_activations
from xattn.whisper.block_kernels import TOKENS, Kernels, multiplier_cycles
from xattn.whisper.encoder_block import (
    RESIDUAL_MAX,
    EncoderBlock,
    Int16,
    Models,
    forward,
    quantized_block,
)
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

ATTENTION_UPDATE, UPDATE = "attention update", "whole update"
WHAT = {
    "norm1": "LayerNorm",
    "q": "Q",
    "k": "K",
    "v": "V",
    "attention": "attention",
    "x1": "stream after attention",
    "norm2": "LayerNorm",
    "fc1": "first layer of the MLP",
    "gelu": "GELU",
    "x2": "stream after the MLP: the block's output",
    ATTENTION_UPDATE: "what attention adds to the stream",
    UPDATE: "what the block adds to the stream",
}

Progress = Callable[[int, int, str], None]


class StepError(msgspec.Struct, kw_only=True):
    """How far a step's output is from the float block's, all steps before it included, over all tokens."""

    name: str
    rel_l2: float
    cosine: float


class KernelCost(msgspec.Struct, kw_only=True):
    """All calls of a kernel for 64 tokens. `least`: cycles of the multiplier, below which no program can be."""

    name: str
    calls: int
    cycles: int
    least: int


class EncoderBlockRecord(msgspec.Struct, kw_only=True):
    """A measurement. `wrong`: by step, how many elements of 64 tokens kernels computed otherwise than the models.

    `macs`: multiply-accumulates that the mathematics of 64 tokens needs, padding left out. Kernel fields are
    empty where only the models ran.
    """

    model: str
    clip: str
    calibration: str
    layer: int
    tokens: int
    first: int
    clock_hz: float
    steps: list[StepError]
    cycles_are: str
    kernels: list[KernelCost]
    macs: int
    wrong: dict[str, int]
    findings: list[str]

    @property
    def cycles(self) -> int:
        """Of all kernels together."""
        return sum(kernel.cycles for kernel in self.kernels)

    @property
    def peak_fraction(self) -> float:
        """Of the core's peak; 0 where only the models ran."""
        return self.macs / PEAK_MACS_PER_CYCLE / self.cycles if self.kernels else 0.0

    @property
    def passed(self) -> bool:
        """Whether kernels computed what the models did, and nothing was found wrong."""
        return not any(self.wrong.values()) and not self.findings


def measure_encoder_block(
    weights: WhisperWeights,
    clip: Audio,
    layer: int = 0,
    first: int = 0,
    *,
    calibration: Audio | None = None,
    clock_hz: float = 1.8e9,
    kernels: bool = True,
    progress: Progress = lambda *_: None,
) -> EncoderBlockRecord:
    """Run layer `layer` in float and in int8 on all tokens of a clip, and by machine code on 64 of them.

    Args:
        weights: the model.
        clip: speech; its first 30 s are used.
        layer: which block of the encoder, from 0.
        first: the first of the tokens that kernels run on, a multiple of 64.
        calibration: the speech from which all scales come; by default the clip itself.
        clock_hz: kept in the record.
        kernels: whether kernels run too.
        progress: told what is done.

    Raises:
        InputError: a layer or tokens that there are not, or a model that the kernels do not take.
    """
    dims = weights.dims
    if not 0 <= layer < dims.encoder_layers:
        raise InputError(
            f"layer {layer} does not exist; {weights.name} has encoder layers 0 to {dims.encoder_layers - 1}"
        )
    if first % TOKENS or not 0 <= first <= dims.audio_positions - TOKENS:
        last = (dims.audio_positions - TOKENS) // TOKENS * TOKENS
        raise InputError(f"token {first}: kernels run on 64 tokens from a multiple of 64 on, 0 to {last}")
    progress(0, 1, "the float block")
    x = block_input(weights, clip.samples, layer)
    truth = float_activations(weights, x, layer)
    seen = truth
    if calibration is not None:
        seen = float_activations(weights, block_input(weights, calibration.samples, layer), layer)
    block = quantized_block(weights, layer, seen)
    progress(0, 1, "the integer models")
    stream = quantized_stream(x, block)
    found = forward(block, stream, Models())
    ran = Kernels(block, dims.audio_positions, progress) if kernels else None
    wrong = {} if ran is None else _differences(block, stream, found, ran, first)
    return EncoderBlockRecord(
        model=weights.name,
        clip=clip.name,
        calibration=(calibration or clip).name,
        layer=layer,
        tokens=dims.audio_positions,
        first=first,
        clock_hz=clock_hz,
        steps=_errors(block, found, truth),
        cycles_are=CYCLES_ARE,
        kernels=[] if ran is None else _costs(ran),
        macs=macs_of(block, dims.audio_positions),
        wrong=wrong,
        findings=[] if ran is None else list(ran.findings),
    )


def quantized_stream(x: Float32, block: EncoderBlock) -> Int16:
    """The residual stream in the block's steps."""
    stream: Int16 = np.clip(np.rint(x / block.x_scale), -RESIDUAL_MAX, RESIDUAL_MAX).astype(np.int16)
    return stream


def macs_of(block: EncoderBlock, tokens: int) -> int:
    """Multiply-accumulates of 64 of `tokens` tokens: all linear layers, and attention to all keys."""
    layers = sum(layer.weight.size for layer in (block.qkv, block.out, block.fc1, block.fc2))
    return TOKENS * (layers + 2 * tokens * block.width)


def _differences(
    block: EncoderBlock, stream: Int16, found: dict[str, NDArray[np.generic]], ran: Kernels, first: int
) -> dict[str, int]:
    part = slice(first, first + TOKENS)
    k, v = (found[name].astype(np.int8) for name in ("k", "v"))
    again = forward(block, stream[part], ran, (k, v), first)
    return {name: int(np.count_nonzero(again[name] != found[name][part])) for name in again}


def _errors(block: EncoderBlock, found: dict[str, NDArray[np.generic]], truth: Activations) -> list[StepError]:
    real = {name: values.astype(np.float64) * block.scales[name] for name, values in found.items()}
    pairs = {name: (values, truth[name].astype(np.float64)) for name, values in real.items()}
    x = truth["x"].astype(np.float64)
    for name, after in ((ATTENTION_UPDATE, "x1"), (UPDATE, "x2")):
        pairs[name] = real[after] - x, truth[after] - x
    return [StepError(name=n, rel_l2=relative_l2(a, b), cosine=cosine(a, b)) for n, (a, b) in pairs.items()]


def _costs(ran: Kernels) -> list[KernelCost]:
    return [
        KernelCost(name=name, calls=c.calls, cycles=c.cycles, least=c.calls * multiplier_cycles(name))
        for name, c in sorted(ran.by_kernel.items(), key=lambda item: -item[1].cycles)
    ]
