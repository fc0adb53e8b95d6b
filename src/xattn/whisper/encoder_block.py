"""One block of Whisper's encoder in int8: x → x + attention(LN(x)) → x + MLP(LN(x)), in the integer models alone.

The residual stream has 16 bits and one scale; everything that a product takes has 8. Where scales can stand in a
neighbour's weights they cost nothing, so these have one a channel: LayerNorm's outputs, Q, K, V, the attention's
output and GELU's. GELU's input has one for each 64 channels, as many as one call of its kernel takes. Weights have one
an output channel. All of them are fixed beforehand, from the float block's activations on some speech.

`forward` says what happens in which order; who does it, the models or kernels on the simulator, are `Steps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.layers import (
    GeluConstants,
    NormConstants,
    Requantization,
    add_to_residual,
    attention_end,
    gelu,
    gelu_constants,
    layer_norm,
    linear_sums,
    norm_constants,
    requantization,
    requantize,
)
from xattn.numerics.layers.gelu import SMALLEST_SCALE
from xattn.numerics.quantize import QMAX
from xattn.numerics.sound import BLOCK, SoundOperands, SoundState, attend, power_of_two_scales
from xattn.whisper.block_activations import Activations
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

CHANNELS = 64  # of a head, and of a call of the kernels
RESIDUAL_MAX = 32767
HEADROOM = 1.05  # of the residual stream and of sums, above what was seen
FARTHEST = 128.0  # output scales of GELU within 64 channels
QUIETEST = 0.5
"""Of the largest of 64 channels of GELU's output, what every channel has room for: those that were quiet in the speech
from which scales come may be loud in another."""
BALANCE = 0.75
"""How much of what outlying channels of LayerNorm's output need goes into the weights: 0 all, 1 nothing."""

Int8: TypeAlias = NDArray[np.int8]
Int16: TypeAlias = NDArray[np.int16]
Scales = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """int8 `weight` `[depth, columns]`, int32 `bias` `[columns]`, and how sums are narrowed, by 64 columns.

    `octaves`: what a step of the residual stream after the layer is worth, against one before it.
    """

    weight: Int8
    bias: NDArray[np.int32]
    by: tuple[Requantization, ...]
    octaves: int = 0


@dataclass(frozen=True)
class EncoderBlock:
    """All constants of a block. `x_scale`: a step of the residual stream; others say what a step of a channel is worth.

    `qkv` has the columns of Q, then K, then V. `shift` `[heads]` is that of the scores, `gain` `[heads]` the left shift
    before the division that ends attention.
    """

    heads: int
    x_scale: float
    norm1: NormConstants
    qkv: Linear
    shift: NDArray[np.int32]
    gain: tuple[int, ...]
    out: Linear
    norm2: NormConstants
    fc1: Linear
    gelu: tuple[GeluConstants, ...]
    fc2: Linear
    scales: Mapping[str, Scales]

    @property
    def width(self) -> int:
        """Channels of the residual stream."""
        return len(self.norm1.gain)


class Steps(Protocol):
    """Who computes the steps of a block, of some tokens."""

    def norm(self, x: Int16, constants: NormConstants) -> Int8:
        """LayerNorm, `[tokens, width]`."""

    def linear(self, x: Int8, layer: Linear) -> Int8:
        """`[tokens, depth]` → `[tokens, columns]`."""

    def add(self, x: Int8, layer: Linear, residual: Int16) -> Int16:
        """`[tokens, depth]` → the residual stream with what the layer makes of it, `[tokens, columns]`."""

    def gelu(self, x: Int8, constants: Sequence[GeluConstants]) -> Int8:
        """`[tokens, columns]`, constants for each 64 columns."""

    def attend(self, q: Int8, k: Int8, v: Int8, shift: int, first: int) -> SoundState:
        """One head: the state of queries `[tokens, 64]`, from token `first` on, after all keys and values."""

    def end(self, state: SoundState, gain: int) -> Int8:
        """The division that ends a head's attention, `[tokens, 64]`."""


def forward(
    block: EncoderBlock, x: Int16, steps: Steps, around: tuple[Int8, Int8] | None = None, first: int = 0
) -> dict[str, NDArray[Any]]:
    """The block's output "x2" `[tokens, width]` int16, and all that was computed on the way, by name.

    `around`: K and V `[all tokens, width]`, when x is only some of the tokens, from token `first` on.
    """
    norm1 = steps.norm(x, block.norm1)
    q, k, v = np.split(steps.linear(norm1, block.qkv), 3, axis=1)
    keys, values = (k, v) if around is None else (_placed(k, around[0], first), _placed(v, around[1], first))
    attended = []
    for head in range(block.heads):
        part = slice(CHANNELS * head, CHANNELS * (head + 1))
        state = steps.attend(q[:, part], keys[:, part], values[:, part], int(block.shift[head]), first)
        attended.append(steps.end(state, block.gain[head]))
    o = np.concatenate(attended, axis=1)
    x1 = steps.add(o, block.out, x)
    norm2 = steps.norm(x1, block.norm2)
    fc1 = steps.linear(norm2, block.fc1)
    activated = steps.gelu(fc1, block.gelu)
    x2 = steps.add(activated, block.fc2, x1)
    return {
        "norm1": norm1, "q": q, "k": k, "v": v, "attention": o, "x1": x1,
        "norm2": norm2, "fc1": fc1, "gelu": activated, "x2": x2,
    }  # fmt: skip


def _placed(own: Int8, everything: Int8, first: int) -> Int8:
    whole: Int8 = everything.copy()
    whole[first : first + len(own)] = own
    return whole


class Models:
    """The integer models, for any number of tokens."""

    def norm(self, x: Int16, constants: NormConstants) -> Int8:
        """As in `Steps`."""
        return layer_norm(x, constants)

    def linear(self, x: Int8, layer: Linear) -> Int8:
        """As in `Steps`."""
        sums = by_64(linear_sums(x, layer.weight, layer.bias))
        return np.concatenate([requantize(part, by) for part, by in zip(sums, layer.by, strict=True)], axis=1)

    def add(self, x: Int8, layer: Linear, residual: Int16) -> Int16:
        """As in `Steps`."""
        parts = zip(by_64(residual), by_64(linear_sums(x, layer.weight, layer.bias)), layer.by, strict=True)
        return np.concatenate([add_to_residual(old, sums, by, layer.octaves) for old, sums, by in parts], axis=1)

    def gelu(self, x: Int8, constants: Sequence[GeluConstants]) -> Int8:
        """As in `Steps`."""
        return np.concatenate([gelu(part, c) for part, c in zip(by_64(x), constants, strict=True)], axis=1)

    def attend(self, q: Int8, k: Int8, v: Int8, shift: int, first: int) -> SoundState:
        """As in `Steps`. Key blocks are taken from the queries' own one on, cyclically."""
        one, shifts = np.ones((1, 1)), np.full((1, 1), shift, np.int32)
        if len(q) == len(k):
            return attend(SoundOperands(q, k, v, shifts, one, one, one), order="diagonal")
        if len(q) > BLOCK:
            raise InputError(f"{len(q)} of {len(k)} tokens: expected all of them, or one block of {BLOCK}")
        padded = (np.pad(x, ((0, -len(x) % BLOCK), (0, 0))) for x in (k, v))
        seen = np.arange(len(k) + -len(k) % BLOCK) < len(k)
        keys, values = (np.roll(x, -first, axis=0) for x in padded)
        return attend(SoundOperands(q, keys, values, shifts, one, one, one), key_mask=np.roll(seen, -first))

    def end(self, state: SoundState, gain: int) -> Int8:
        """As in `Steps`."""
        return attention_end(state, gain)


def by_64(x: NDArray[Any]) -> list[NDArray[Any]]:
    """`[tokens, columns]` cut into 64 columns each."""
    return np.split(x, x.shape[1] // CHANNELS, axis=1)


def quantized_block(weights: WhisperWeights, layer: int, seen: Activations) -> EncoderBlock:
    """The constants of encoder layer `layer`, from the activations of the float block on some speech.

    InputError for a model whose widths are no multiples of 64, or whose heads have another width than 64.
    """
    dims, prefix = weights.dims, f"encoder.layers.{layer}"
    if dims.head_width != CHANNELS:
        raise InputError(f"{weights.name} has heads of width {dims.head_width}; the kernels take {CHANNELS}")

    def tensor(name: str) -> Scales:
        return weights[f"{prefix}.{name}"].astype(np.float64)

    factor = dims.head_width**-0.5
    w_qkv = np.concatenate(
        [tensor("self_attn.q_proj.weight").T * factor, *(tensor(f"self_attn.{n}_proj.weight").T for n in "kv")], axis=1
    )
    b_qkv = np.concatenate(
        [tensor("self_attn.q_proj.bias") * factor, np.zeros(dims.width), tensor("self_attn.v_proj.bias")]
    )
    w_out, w_fc1, w_fc2 = (tensor(f"{name}.weight").T for name in ("self_attn.out_proj", "fc1", "fc2"))
    largest = {name: float(np.abs(seen[name]).max()) for name in ("x", "x1", "x2")}
    inner = max(largest["x"], largest["x1"])
    x_scale = HEADROOM * inner / RESIDUAL_MAX
    octaves = max(int(np.ceil(np.log2(largest["x2"] / inner))), 0)
    h1, h2 = (_balanced(_ranges(seen[name]), w) for name, w in (("norm1", w_qkv), ("norm2", w_fc1)))
    q_scale, k_scale, shift = _score_scales(seen["q"], seen["k"], dims.heads)
    v_scale = _ranges(seen["v"]) / QMAX
    gain = _gains(seen["attention"], v_scale, dims.heads)
    o_scale = v_scale / np.repeat(2.0 ** np.array(gain), CHANNELS)
    g_scale = _not_too_far(_balanced(_shared(_ranges(seen["gelu"])), w_fc2))
    f_range = np.maximum(_ranges(seen["fc1"]).reshape(-1, CHANNELS).max(axis=1), QMAX * SMALLEST_SCALE)
    f_scale = np.repeat(f_range / QMAX, CHANNELS)
    x1_scale, x2_scale = np.full(dims.width, x_scale), np.full(dims.width, x_scale * 2.0**octaves)
    return EncoderBlock(
        heads=dims.heads,
        x_scale=x_scale,
        norm1=_norm(tensor, "self_attn_layer_norm", h1, seen["x"], x_scale),
        qkv=_linear(w_qkv, b_qkv, h1, np.concatenate([q_scale, k_scale, v_scale]), QMAX),
        shift=shift,
        gain=gain,
        out=_linear(w_out, tensor("self_attn.out_proj.bias"), o_scale, x1_scale, RESIDUAL_MAX, seen["x1"] - seen["x"]),
        norm2=_norm(tensor, "final_layer_norm", h2, seen["x1"], x_scale),
        fc1=_linear(w_fc1, tensor("fc1.bias"), h2, f_scale, QMAX),
        gelu=tuple(
            gelu_constants(float(f_scale[c]), g_scale[c : c + CHANNELS]) for c in range(0, len(f_scale), CHANNELS)
        ),
        fc2=replace(
            _linear(w_fc2, tensor("fc2.bias"), g_scale, x2_scale, RESIDUAL_MAX, seen["x2"] - seen["x1"]),
            octaves=octaves,
        ),
        scales={
            "norm1": h1, "q": q_scale, "k": k_scale, "v": v_scale, "attention": o_scale, "x1": x1_scale,
            "norm2": h2, "fc1": f_scale, "gelu": g_scale, "x2": x2_scale,
        },
    )  # fmt: skip


def _ranges(x: Float32) -> Scales:
    """The largest magnitude of each channel, none of them 0."""
    largest: Scales = np.abs(x.astype(np.float64)).max(axis=0)
    return np.maximum(largest, 1e-6 * max(float(largest.max()), 1e-30))


def _balanced(ranges: Scales, weight: Scales) -> Scales:
    """Scales of channels between ranges and weights: coarse where weights are small, never too fine for the range."""
    rows = np.maximum(np.abs(weight).max(axis=1), 1e-9)
    wanted = ranges**BALANCE / rows ** (1 - BALANCE)
    scale: Scales = wanted * float((ranges / wanted).max()) / QMAX
    return scale


def _shared(ranges: Scales) -> Scales:
    """Ranges of channels, none below half the largest of its 64."""
    groups = ranges.reshape(-1, CHANNELS)
    raised: Scales = np.maximum(groups, QUIETEST * groups.max(axis=1, keepdims=True)).reshape(-1)
    return raised


def _not_too_far(scale: Scales) -> Scales:
    """Scales of GELU's output no further apart, in 64 channels, than its factors can be; small channels lose least."""
    groups = scale.reshape(-1, CHANNELS)
    raised: Scales = np.maximum(groups, groups.max(axis=1, keepdims=True) / FARTHEST).reshape(-1)
    return raised


def _score_scales(q: Float32, k: Float32, heads: int) -> tuple[Scales, Scales, NDArray[np.int32]]:
    """Of Q's and K's channels, `[width]`, and the shift of each head."""
    q_range, k_range = (_ranges(x).reshape(heads, 1, CHANNELS) for x in (q, k))
    q_scale, k_scale, shift = power_of_two_scales(q_range, k_range, 1.0)
    return q_scale.reshape(-1), k_scale.reshape(-1), shift.reshape(-1)


def _gains(o: Float32, v_scale: Scales, heads: int) -> tuple[int, ...]:
    """By head: by how many octaves averages of V are smaller than V."""
    largest = (_ranges(o) / v_scale).reshape(heads, CHANNELS).max(axis=1)
    return tuple(int(np.clip(np.floor(np.log2(QMAX / top)), 0, 15)) for top in largest)


def _norm(tensor: Any, name: str, scale: Scales, x: Float32, x_scale: float) -> NormConstants:
    smallest = float(x.std(axis=1).min()) / x_scale
    return norm_constants(tensor(f"{name}.weight"), tensor(f"{name}.bias"), scale, smallest)


def _linear(
    weight: Scales, bias: Scales, in_scale: Scales, out_scale: Scales, limit: int, seen: Float32 | None = None
) -> Linear:
    """Quantize a layer: `[depth, columns]` and `[columns]`; `seen`: outputs, where their range is not the limit's."""
    depth, columns = weight.shape
    if depth % CHANNELS or columns % CHANNELS:
        raise InputError(f"a layer of {depth} to {columns} channels; the kernels take multiples of {CHANNELS}")
    scaled = weight * in_scale[:, np.newaxis]
    step = np.maximum(np.abs(scaled).max(axis=0), 1e-12) / QMAX
    largest = depth * QMAX * QMAX if seen is None else int(2 * HEADROOM * (_ranges(seen) / step).max())
    parts = (slice(c, c + CHANNELS) for c in range(0, columns, CHANNELS))
    return Linear(
        np.clip(np.rint(scaled / step), -QMAX, QMAX).astype(np.int8),
        np.rint(bias / step).astype(np.int32),
        tuple(requantization(step[part] / out_scale[part], largest, limit) for part in parts),
    )
