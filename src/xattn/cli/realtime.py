"""`xattn realtime`: seconds of audio per second of work, line by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import clock_of, indented_json, require_writable, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from xattn.whisper.realtime import Account, Blocks
    from xattn.whisper.weights import WeightsSource

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 118
_TOKENS = 72
_Steps = Callable[[int, int, str], None]


@app.command()
def realtime(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="tiny, base, small, medium, large-v3 …")],
    clock: Annotated[
        str, typer.Option(metavar="FREQUENCY", help="Core clock of the NPU: 1.8, 1.03GHz, 800MHz.")
    ] = "1.8GHz",
    tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Text tokens in 30 s (default: what the weights say of the clip).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Whisper weights for what depends on speech (default: installed)."),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the account as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """How fast a Whisper model would be with its encoder's attention on the NPU, and what bounds it.

    Every line is measured on this computer, simulated, or published by somebody who is named. No NPU is used.
    """
    from rich.console import Console

    from xattn.whisper import find_weights
    from xattn.whisper.dims import published_dims
    from xattn.whisper.host_times import measure_host
    from xattn.whisper.realtime import make_account

    dims, clock_hz = published_dims(model), clock_of(clock)
    if tokens is not None and not 1 <= tokens <= 448:
        raise InputError(f"--tokens {tokens}: expected 1 to 448")
    if json is not None:
        require_writable(json)
    source = find_weights(None if weights is None else Path(weights))
    with progress_bar("simulating blocks of attention") as steps:
        blocks = _blocks(source, steps)
        said, origin = (tokens, "--tokens") if tokens is not None else _tokens(source, steps)
        account = make_account(dims, blocks, measure_host(dims, steps), said, origin, clock_hz)
    console = Console(stderr=json == "-")
    _show(account, console)
    if json is not None:
        write_bytes(json, indented_json(account))


def _blocks(source: WeightsSource | None, steps: _Steps) -> Blocks:
    """Cycles by simulation, and how often references rise: on real speech where there are weights."""
    from xattn.bench import synthetic_activations
    from xattn.bench.blocks import tile_for
    from xattn.devices import Simulator
    from xattn.kernels.registry import kernel_spec
    from xattn.whisper.realtime import Blocks

    cycles = []
    for name in ("sound", "sound_rescale"):
        spec = kernel_spec(name)
        tile = tile_for(spec, synthetic_activations(0), 0, 64, 64)
        result = Simulator().load(spec, 64, 64).run(tile.q, tile.k, tile.v, tile.shift, tile.before)
        assert result.cycles is not None
        cycles.append(result.cycles)
    if source is None:
        return Blocks(
            quiet=cycles[0], rising=cycles[1], fraction=1.0, source="no weights to measure on: taken as all of them"
        )
    fraction, where = _rises(source, steps)
    return Blocks(quiet=cycles[0], rising=cycles[1], fraction=fraction, source=where)


def _rises(source: WeightsSource, steps: _Steps) -> tuple[float, str]:
    from xattn.whisper import capture_qkv, jfk_path, load_audio
    from xattn.whisper.rises import rising_blocks

    weights, audio = source.load(), load_audio(jfk_path())
    found = []
    for layer in range(weights.dims.encoder_layers):
        steps(layer, weights.dims.encoder_layers, f"{weights.name}: where references rise")
        captured = capture_qkv(weights, audio, layer)
        found.append(rising_blocks(captured.q, captured.k))
    return sum(found) / len(found), f"measured: {weights.name} on {audio.name}, diagonal block first"


def _tokens(source: WeightsSource | None, steps: _Steps) -> tuple[int, str]:
    """Text tokens in 30 s of speech like the clip's."""
    from xattn.whisper import jfk_path, load_audio
    from xattn.whisper.transcribe import transcribe
    from xattn.whisper.vocabulary import load_vocabulary

    if source is None or not source.load().dims.decoder_layers:
        return _TOKENS, "a guess: no weights to measure on, see --tokens"
    weights, audio = source.load(), load_audio(jfk_path())
    vocabulary = load_vocabulary(weights.path, weights.dims.vocabulary)
    steps(0, 1, f"{weights.name}: how many tokens are said")
    found = transcribe(weights, vocabulary, audio)
    count = len(vocabulary.tokenizer.encode(found.text, add_special_tokens=False).ids)
    return round(count * 30 / audio.seconds), f"{weights.name} finds {count} in {audio.seconds:.0f} s of {audio.name}"


def _show(account: Account, console: Console) -> None:
    from rich.table import Table

    console.width = max(console.width, _WIDTH)

    def say(text: str = "") -> None:
        console.print(text, soft_wrap=True, highlight=False)

    say(f"{account.model}, a window of 30 s; NPU cores at {account.clock_hz / 1e9:g} GHz; nothing ran on an NPU")
    say(
        f"a block of 64×64×64: {account.cycles_quiet:,} cycles, {account.cycles_rising:,} where a reference rises "
        f"({account.rising:.1%} of blocks; {account.rising_source})\n"
    )
    table = Table(pad_edge=False, show_edge=False, box=None)
    for name in ("what", "ms", "known how", "from where"):
        table.add_column(name, justify="right" if name == "ms" else "left", no_wrap=name != "from where")
    for line in account.lines:
        table.add_row(line.what, f"{1000 * line.seconds:,.2f}", line.kind, line.source)
    console.print(table)
    say()
    table = Table(pad_edge=False, show_edge=False, box=None)
    for name in ("in all", "attention ms", "window ms", "realtime factor"):
        table.add_column(name, justify="left" if name == "in all" else "right")
    for s in account.scenarios:
        table.add_row(s.what, f"{1000 * s.attention:,.2f}", f"{1000 * s.seconds:,.1f}", f"{s.factor:.1f}×")
    table.add_row(
        "attention at no cost: Amdahl's ceiling", "0", f"{30_000 / account.ceiling:,.1f}", f"{account.ceiling:.1f}×"
    )
    console.print(table)
    say()
    for budget in account.budgets:
        alone = ", ".join(f"{c:,.0f} on {n}" for n, c in budget.alone_cycles.items())
        if budget.seconds is None:
            say(f"{budget.factor:.0f}×: no tile is fast enough: all else takes longer than the window may")
        else:
            cycles = ", ".join(f"{c:,.0f} on {n}" for n, c in budget.cycles.items() if c is not None)
            say(f"{budget.factor:.0f}×: a tile may cost {1e6 * budget.seconds:,.2f} µs, in cycles: {cycles} cores")
        say(f"     if attention were all there is, in cycles: {alone} cores; it costs {account.cycles_per_tile:,.0f}")
    say(
        f"\nthe seed's formula, 11,000 / (304.7 + 3.034 · 23.4 · 6), gives {account.seed_factor:.1f}×: it counts "
        f"{account.seed_tiles:.0f} tiles where {account.model} has {account.tiles:,} (64 queries, their own 64 keys "
        "only, one head, no projections), takes the spectrogram from elsewhere, and leaves the decoder out"
    )
    say("left out: " + "; ".join(account.left_out))
