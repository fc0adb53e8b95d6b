"""`xattn bench`: the ladder of kernels on real activations, on the simulated core, and the suite around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xattn.cli.activations import Wanted, activations_of, heads_of
from xattn.cli.encoder_block import Request, bench_encoder_block, refuse_others
from xattn.cli.files import clock_of, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.cli.results import StoreOption, opened_for_writing
from xattn.cli.suite import Against, Outputs, run_steps, suite_of
from xattn.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_CLOCK = "1.8GHz"


@app.command()
def bench(
    kernel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A kernel to run, repeatable (default: all).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole suite: kernels, accuracy, host, peers; all of it is stored.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs and tiles: under two minutes.")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Only the step peers: attention in other libraries on this host.")
    ] = False,
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
    simulator: Annotated[
        bool, typer.Option("--simulator", help="Measure how fast the simulator is instead, on both of its engines.")
    ] = False,
    encoder_block: Annotated[
        bool,
        typer.Option(
            "--encoder-block",
            help="A whole encoder block in int8 instead: errors at each step, cycles of its kernels for 64 tokens.",
        ),
    ] = False,
    scales_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --encoder-block: speech that fixes the scales (default: --audio's)."),
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

    if simulator:
        if json is not None:
            require_writable(json)
        _bench_simulator(json)
        return
    if encoder_block:
        refuse_others(
            kernel=kernel, all=everything, peers=peers, skip_accuracy=skip_accuracy, config=config, against=against,
            target=target, head=head is not None, shape=shape, synthetic=synthetic, seed=seed is not None,
            output_dir=output_dir, store=store,
        )  # fmt: skip
        if not bench_encoder_block(
            Request(layer, token, audio, scales_from, weights, clock_of(clock or _CLOCK), quick, json)
        ):
            raise typer.Exit(1)
        return
    if scales_from is not None:
        raise InputError(f"--scales-from {scales_from} has no effect without --encoder-block")
    suite = suite_of(config)
    names = tuple(kernel or suite.kernels)
    shapes = tuple(dict.fromkeys(tile_shape(text) for text in ([shape] if shape is not None else suite.shapes)))
    clock_hz = clock_of(clock or suite.clock or _CLOCK)
    opponent = Against.of(against or suite.against, suite.target if target is None else target, names)
    if opponent is not None and opponent.name in kernels() and names:
        names = tuple(dict.fromkeys([opponent.name, *names]))
    whole = everything or config is not None
    steps = steps_named(["peers"] if peers else suite.steps if whole else ["ladder"])
    if skip_accuracy:
        steps = [step for step in steps if step.name != "accuracy"]
    folder = _output_folder(output_dir or suite.output_dir)
    if json is not None:
        require_writable(json)
    kept = None if no_store else opened_for_writing(store, required=whole)
    given = suite.input
    wanted = Wanted(
        layer=given.layer if layer is None else layer,
        head=given.head if head is None else head,
        audio=audio or given.audio,
        weights=weights or given.weights,
        synthetic=synthetic or given.synthetic,
        seed=given.seed if seed is None else seed,
    )
    with progress_bar("compiling the kernels") as progress:
        if any(step.name == "ladder" for step in steps):
            for tokens, width in shapes:
                chosen_kernels(names, tokens, width)
        job = Job(
            activations=activations_of(wanted, progress),
            heads=lambda: heads_of(wanted),
            kernels=names,
            shapes=shapes,
            first=(given.token or 0) if token is None else token,
            clock_hz=clock_hz,
            quick=quick or suite.quick,
            folder=folder,
        )
    if not run_steps(steps, job, opponent, Outputs(Console(stderr=json == "-"), kept, json, folder)):
        raise typer.Exit(1)


def _bench_simulator(json: str | None) -> None:
    from xattn.bench.simulator_speed import as_json, lines, measure_simulator

    with progress_bar("preparing the programs") as steps:
        record = measure_simulator(steps)
    for line in lines(record):
        typer.echo(line, err=json == "-")
    if json is not None:
        write_bytes(json, as_json(record))


def _output_folder(text: str | None) -> Path | None:
    from xattn.bench.store import require_writable_folder

    if text is None:
        return None
    require_writable_folder(Path(text))
    return Path(text)
