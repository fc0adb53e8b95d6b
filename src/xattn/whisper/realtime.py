"""Seconds of audio per second of work: an account whose every line says how it is known.

`simulated`: cycles of the kernel `sound` on the simulated core, over a stated clock. `measured`: on this computer.
`published`: by somebody who measured it on an NPU, who is named. `computed`: from other lines. Nothing ran on an NPU.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from xattn.bench.recorded import SEED_KERNEL
from xattn.numerics.sound import BLOCK
from xattn.whisper.dims import WhisperDims
from xattn.whisper.host_times import HostTimes

Kind = Literal["simulated", "measured", "published", "computed"]
WINDOW = 30.0
CORES = (1, 4, 16)

# Published figures, each by somebody who measured it.
DDR_BYTES_PER_SECOND = 26e9
DDR_SOURCE = "ignite-xdna, on a Ryzen 7 8700G: 26–28 GB/s a direction for the whole array"
LAUNCH_SECONDS = 110e-6
LAUNCH_SOURCE = "xrt-smi's latency test on Phoenix, RyzenAI-SW discussion 142"
# The seed's formula (its benchmark_pipeline): milliseconds for 11 s of audio.
_SEED_CLIP, _SEED_MEL, _SEED_TILES, _SEED_LAYERS = 11_000.0, 304.7, 23.4, 6
SEED_TILE_MS = 3.034  # attention 2.233, and its layer norm, matmul and GELU, as the seed published them


class Line(msgspec.Struct):
    """One line of the account: seconds for a window of 30 s, how they are known, and from where."""

    what: str
    seconds: float
    kind: Kind
    source: str


class Scenario(msgspec.Struct):
    """A way to run the model: its seconds for a window, and the realtime factor. `attention` is part of `seconds`."""

    what: str
    attention: float
    seconds: float
    factor: float


class Budget(msgspec.Struct):
    """What a tile may cost for a realtime factor; `seconds` is null where no tile is fast enough.

    `cycles` by number of cores, whole model; `alone_cycles` as if attention were all there is.
    """

    factor: float
    seconds: float | None
    cycles: dict[str, float | None]
    alone_cycles: dict[str, float]


class Account(msgspec.Struct, kw_only=True):
    """The whole account of one model."""

    model: str
    clock_hz: float
    tiles: int
    cycles_quiet: int
    cycles_rising: int
    rising: float
    rising_source: str
    tokens: int
    tokens_source: str
    cycles_per_tile: float
    lines: list[Line]
    scenarios: list[Scenario]
    ceiling: float
    """The realtime factor if attention cost nothing."""
    budgets: list[Budget]
    seed_factor: float
    seed_tiles: float
    left_out: list[str]


class Blocks(msgspec.Struct, kw_only=True):
    """Cycles of a block without and with a rescale, the fraction of blocks with one, and how that is known."""

    quiet: int
    rising: int
    fraction: float
    source: str


def tile_count(dims: WhisperDims) -> int:
    """64×64 tiles of attention in the encoder for one window."""
    across = -(-dims.audio_positions // BLOCK)
    return dims.encoder_layers * dims.heads * across**2


def make_account(
    dims: WhisperDims, blocks: Blocks, host: HostTimes, tokens: int, tokens_source: str, clock_hz: float
) -> Account:
    """Add it all up."""
    tiles, layers = tile_count(dims), dims.encoder_layers
    cycles = blocks.quiet + blocks.fraction * (blocks.rising - blocks.quiet)
    positions = -(-dims.audio_positions // BLOCK) * BLOCK
    moved = 4 * layers * dims.heads * positions * BLOCK
    rest = [
        Line("log-mel spectrogram", host.mel, "measured", "this computer, NumPy"),
        Line("encoder: convolutions", host.stem, "measured", "this computer, NumPy float32"),
        Line("encoder: layers without attention", layers * host.layer, "measured", f"one layer, {layers} times"),
        Line("decoder", tokens * host.token, "measured", f"one token, {tokens} times ({tokens_source})"),
    ]
    npu = [
        Line(f"attention on {n} core{'s' * (n > 1)}", tiles * cycles / n / clock_hz, "simulated",
             f"{tiles:,} tiles of {cycles:,.0f} cycles, shared out evenly") for n in CORES
    ]  # fmt: skip
    transfers = Line(
        "Q, K, V, O between memory and the array", moved / DDR_BYTES_PER_SECOND, "published",
        f"{moved / 1e6:.1f} MB, each once, at {DDR_SOURCE}; hidden where shorter than the computation",
    )  # fmt: skip
    launches = Line(
        "launches", layers * LAUNCH_SECONDS, "published", f"one a layer, {LAUNCH_SECONDS * 1e6:.0f} µs: {LAUNCH_SOURCE}"
    )
    on_host = Line("attention on this computer instead", layers * host.attention, "measured", "sound int8, all threads")
    others = sum(line.seconds for line in rest)
    scenarios = [_scenario("everything on this computer", on_host.seconds, others)]
    for line, count in zip(npu, CORES, strict=True):
        busy = max(line.seconds, transfers.seconds) + launches.seconds
        scenarios.append(_scenario(f"attention on {count} NPU core{'s' * (count > 1)}, the rest here", busy, others))
    overhead = others + launches.seconds
    return Account(
        model=dims.model_name,
        clock_hz=clock_hz,
        tiles=tiles,
        cycles_quiet=blocks.quiet,
        cycles_rising=blocks.rising,
        rising=blocks.fraction,
        rising_source=blocks.source,
        tokens=tokens,
        tokens_source=tokens_source,
        cycles_per_tile=cycles,
        lines=[*npu, transfers, launches, on_host, *rest],
        scenarios=scenarios,
        ceiling=WINDOW / others,
        budgets=[_budget(factor, overhead, tiles, clock_hz) for factor in (40.0, 60.0)],
        seed_factor=_SEED_CLIP / (_SEED_MEL + SEED_TILE_MS * _SEED_TILES * _SEED_LAYERS),
        seed_tiles=_SEED_TILES * _SEED_LAYERS,
        left_out=[
            "the division at the end of each row block, and packing and unpacking of int8 blocks",
            "waiting of cores for each other and for data (an array simulation or a chip has to show it)",
            "the first start of the array, and memory traffic of the rest of the model",
        ],
    )


def _scenario(what: str, attention: float, others: float) -> Scenario:
    return Scenario(what, attention, attention + others, WINDOW / (attention + others))


def _budget(factor: float, overhead: float, tiles: int, clock_hz: float) -> Budget:
    """What is left of the time for a tile, once all else is done."""
    left = WINDOW / factor - overhead
    alone = WINDOW / factor / tiles
    return Budget(
        factor,
        left / tiles if left > 0 else None,
        {str(n): left / tiles * clock_hz * n if left > 0 else None for n in CORES},
        {str(n): alone * clock_hz * n for n in CORES},
    )


def recorded_seconds(dims: WhisperDims, clock_hz: float) -> float:
    """All tiles by the seed's own compiled kernel, one core."""
    return tile_count(dims) * SEED_KERNEL.cycles / clock_hz
