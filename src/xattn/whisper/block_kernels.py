"""The steps of an encoder block for 64 tokens by machine code on the simulated core, every call counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.devices import Simulator
from xattn.devices.device import LoadedKernel
from xattn.devices.layer_simulator import SimulatedLayer
from xattn.errors import InputError
from xattn.kernels.gelu import gelu_arrays
from xattn.kernels.layer_norm import TOKENS as NORM_TOKENS
from xattn.kernels.layer_norm import norm_arrays, norm_tokens
from xattn.kernels.layers import NORM_WIDTHS, layer_kernel
from xattn.kernels.matmul import multiplier_lanes
from xattn.kernels.panels import from_panels, to_column_panels, to_panels
from xattn.kernels.registry import kernel_spec
from xattn.kernels.sound_layout import pack_state
from xattn.numerics.layers import GeluConstants, NormConstants
from xattn.numerics.layers.attention_end import LAST_SHIFT
from xattn.numerics.sound import BLOCK, BlockMask, SoundState, init_state, to_blocks
from xattn.whisper.encoder_block import EncoderBlock, Int8, Int16, Linear, by_64

SOUND, MASKED = "sound", "sound_masked"  # the latter where some of 64 keys are padding
TOKENS = BLOCK

Progress = Callable[[int, int, str], None]


@dataclass
class Calls:
    """How often a kernel was called, and the simulated cycles of all calls together."""

    calls: int = 0
    cycles: int = 0


class Kernels:
    """`Steps` for 64 tokens, as kernels compute them.

    `by_kernel`: what they cost. `findings`: what is wrong with them.
    """

    def __init__(
        self, block: EncoderBlock, tokens: int, progress: Progress = lambda *_: None, engine: str = "auto"
    ) -> None:
        """`tokens`: of the whole window. `engine`: of the simulator; translating pays from a hundred calls on.

        InputError for a width for which there is no LayerNorm.
        """
        if block.width not in NORM_WIDTHS:
            widths = ", ".join(map(str, NORM_WIDTHS))
            raise InputError(f"there is no LayerNorm of {block.width} channels; there are {widths}")
        self.by_kernel: dict[str, Calls] = {}
        self.findings: dict[str, None] = {}
        self._layers: dict[str, SimulatedLayer] = {}
        self._attention: dict[str, LoadedKernel] = {}
        self._engine = engine
        self._progress, self._done, self._total = progress, 0, _calls_of(block, tokens)

    def norm(self, x: Int16, constants: NormConstants) -> Int8:
        """As in `Steps`, sixteen tokens a call."""
        c, name = constants, f"layer_norm_{x.shape[1]}"
        scalars = {"least": c.least, "scale": c.scale, "narrow": c.narrow, "lift": c.lift}
        parts = []
        for at in range(0, len(x), NORM_TOKENS):
            tokens = x[at : at + NORM_TOKENS]
            y = self._call(name, {**norm_tokens(tokens), **norm_arrays(c)}, scalars)["y"]
            parts.append(from_panels(y, *tokens.shape))
        return np.concatenate(parts)

    def linear(self, x: Int8, layer: Linear) -> Int8:
        """As in `Steps`, 64 columns after the other; the last piece of the depth narrows."""
        parts = []
        for column, by in enumerate(layer.by):
            *pieces, last = _pieces(x, layer, column)
            sums = self._sums(pieces, layer, column)
            arrays = {**last, **sums, "multiplier": multiplier_lanes(by.multiplier)}
            out = self._call("matmul_narrow", arrays, {"first": by.first, "second": by.second})["out"]
            parts.append(from_panels(out, TOKENS, TOKENS))
        return np.concatenate(parts, axis=1)

    def add(self, x: Int8, layer: Linear, residual: Int16) -> Int16:
        """As in `Steps`."""
        parts = []
        for column, (old, by) in enumerate(zip(by_64(residual), layer.by, strict=True)):
            sums = self._sums(_pieces(x, layer, column), layer, column)
            arrays = {**sums, "multiplier": multiplier_lanes(by.multiplier), "x": to_panels(old)}
            scalars = {"first": by.first, "second": by.second, "lift": by.second - layer.octaves}
            parts.append(from_panels(self._call("add_residual", arrays, scalars)["x"], TOKENS, TOKENS))
        return np.concatenate(parts, axis=1)

    def gelu(self, x: Int8, constants: Sequence[GeluConstants]) -> Int8:
        """As in `Steps`."""
        parts = []
        for part, c in zip(by_64(x), constants, strict=True):
            scalars = {"square": c.square, "fall": c.fall, "narrow": c.narrow}
            y = self._call("gelu", {"x": to_panels(part), **gelu_arrays(c)}, scalars)["y"]
            parts.append(from_panels(y, *part.shape))
        return np.concatenate(parts, axis=1)

    def attend(self, q: Int8, k: Int8, v: Int8, shift: int, first: int) -> SoundState:
        """As in `Steps`, from the queries' own key block on, cyclically."""
        state, q = init_state((len(q),)), np.ascontiguousarray(q)
        counts = to_blocks(np.ones((len(k), 1), np.bool_))[..., 0]
        blocks = list(zip(to_blocks(k), to_blocks(v), counts, strict=True))
        for step in range(len(blocks)):
            keys, values, mask = blocks[(first // BLOCK + step) % len(blocks)]
            name, masks = (SOUND, ()) if mask.all() else (MASKED, (BlockMask(mask),))
            if name not in self._attention:
                self._attention[name] = Simulator(engine=self._engine).load(kernel_spec(name), TOKENS, TOKENS)
            run = self._attention[name].run(q, keys, values, shift, state, *masks)
            assert run.cycles is not None
            self._count(name, run.cycles, run.findings)
            state = SoundState.from_matrix(run.output.astype(np.int32))
        return state

    def end(self, state: SoundState, gain: int) -> Int8:
        """As in `Steps`."""
        out = self._call("attention_end", pack_state(state), {"narrow": LAST_SHIFT - gain})["out"]
        return from_panels(out, TOKENS, TOKENS)

    def _sums(self, pieces: Sequence[Mapping[str, Int8]], layer: Linear, column: int) -> dict[str, NDArray[Any]]:
        bias = layer.bias[TOKENS * column : TOKENS * (column + 1)]
        sums = self._call("matmul_start", {**pieces[0], "bias": bias}, {})
        for piece in pieces[1:]:
            sums = self._call("matmul_accumulate", {**piece, **sums}, {})
        return sums

    def _call(
        self, name: str, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, int]
    ) -> dict[str, NDArray[Any]]:
        if name not in self._layers:
            # LayerNorm is long and called rarely: translating it would take longer than all its calls
            seldom = name.startswith("layer_norm")
            self._layers[name] = SimulatedLayer(name, "interpreter" if seldom else self._engine)
        run = self._layers[name].run(arrays, scalars)
        self._count(name, run.cycles, run.findings)
        return run.results

    def _count(self, name: str, cycles: int, findings: Sequence[str]) -> None:
        calls = self.by_kernel.setdefault(name, Calls())
        calls.calls += 1
        calls.cycles += cycles
        self.findings.update(dict.fromkeys(f"{name}: {finding}" for finding in findings))
        self._done += 1
        self._progress(self._done, self._total, name)


def _pieces(x: Int8, layer: Linear, column: int) -> list[dict[str, Int8]]:
    """A and B of 64 columns, for each 64 of the depth."""
    columns = slice(TOKENS * column, TOKENS * (column + 1))
    depth = range(0, x.shape[1], TOKENS)
    return [
        {"a": to_panels(x[:, c : c + TOKENS]), "b": to_column_panels(layer.weight[c : c + TOKENS, columns])}
        for c in depth
    ]


def _calls_of(block: EncoderBlock, tokens: int) -> int:
    """Calls of all kernels for 64 tokens."""
    products = sum(layer.weight.size for layer in (block.qkv, block.out, block.fc1, block.fc2)) // TOKENS**2
    residuals = len(block.out.by) + len(block.fc2.by)
    norms = 2 * TOKENS // NORM_TOKENS
    return products + residuals + norms + len(block.gelu) + block.heads * (-(-tokens // BLOCK) + 1)


def multiplier_cycles(name: str) -> int:
    """Below which no call of the kernel can be: one product a cycle."""
    return kernel_spec(SOUND).macs(BLOCK, BLOCK) // 256 if name in (SOUND, MASKED) else layer_kernel(name).multiplier
