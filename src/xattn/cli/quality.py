"""`xattn quality`: what schemes of attention do to a model, on real speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import indented_json, require_writable, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from xattn.whisper.quality import QualityRecord, SchemeQuality

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 130


@app.command()
def quality(
    audio: Annotated[
        list[str] | None, typer.Argument(metavar="[AUDIO…]", help="Speech (default: the clip that comes along).")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="PATH", help="Whisper weights, file or folder (default: installed).")
    ] = None,
    scheme: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A scheme to judge, repeatable (default: all).")
    ] = None,
    language: Annotated[str | None, typer.Option(metavar="CODE", help="Language such as en.")] = None,
    spoken: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is said: a line for each clip, words and then (name of its file)."),
    ] = None,
    texts: Annotated[bool, typer.Option("--texts", help="Print what each scheme hears.")] = False,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave transcripts out: faster.")] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the table as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Judge schemes of attention: output errors, weights, the encoder, word errors, awkward rows.

    Every figure is measured against float attention in the same model on the same speech; with --spoken, word errors
    against what is said as well.
    """
    from rich.console import Console

    from xattn.whisper import find_weights
    from xattn.whisper.audio import load_audio
    from xattn.whisper.clips import jfk_path
    from xattn.whisper.quality import measure_quality
    from xattn.whisper.schemes import scheme as named
    from xattn.whisper.schemes import schemes
    from xattn.whisper.spoken import read_spoken, spoken_in
    from xattn.whisper.vocabulary import load_vocabulary

    chosen = [named(name) for name in dict.fromkeys(scheme or schemes())]
    if json is not None:
        require_writable(json)
    source = find_weights(None if weights is None else Path(weights))
    if source is None:
        raise InputError("no Whisper weights were found: name a file or folder with --weights, or set XATTN_WEIGHTS")
    paths = [Path(path) for path in audio or [str(jfk_path())]]
    said = None if spoken is None else spoken_in(paths, read_spoken(spoken))
    clips = [load_audio(path) for path in paths]
    model = source.load()
    vocabulary = None if no_text else load_vocabulary(model.path, model.dims.vocabulary)
    with progress_bar("hearing the clips") as steps:
        record = measure_quality(model, clips, chosen, vocabulary, language=language, spoken=said, progress=steps)
    console = Console(stderr=json == "-")
    _show(record, source.describe(), console, texts)
    if json is not None:
        write_bytes(json, indented_json(record))


def _show(record: QualityRecord, description: str, console: Console, texts: bool) -> None:
    from rich.table import Table

    console.width = max(console.width, _WIDTH)
    console.print(f"model  {description}", soft_wrap=True, highlight=False)
    console.print(f"clips  {', '.join(record.clips)}\n", soft_wrap=True, highlight=False)
    table = Table(pad_edge=False, show_edge=False, box=None)
    table.add_column("scheme")
    for name in ("cosine\nworst", "rel. L2\nmean", "rel. L2\nworst", "KL\nnats", "same\ntop key", "encoder\ncosine",
                 "encoder\nrel. L2", "WER", "WER of\nspoken", "same\ntexts", "awkward\nrel. L2"):  # fmt: skip
        table.add_column(name, justify="right", vertical="bottom")
    for row in record.schemes:
        table.add_row(*_cells(row, len(record.clips)))
    console.print(table)
    console.print()
    for row in record.schemes:
        console.print(f"{row.name}: {row.summary}", soft_wrap=True, highlight=False)
    console.print(
        "awkward: the worst of the adversarial rows: "
        + ", ".join(f"{row.name} {row.awkward_case}" for row in record.schemes if row.awkward_worst > 0),
        soft_wrap=True,
        highlight=False,
    )
    if texts:
        for name, lines in record.texts.items():
            for clip, line in zip(record.clips, lines, strict=True):
                console.print(f"\n{name}, {clip}: {line}", soft_wrap=True, highlight=False)


def _cells(row: SchemeQuality, clips: int) -> list[str]:
    return [
        row.name,
        f"{row.cosine_worst:.5f}",
        f"{row.rel_l2_mean:.4f}",
        f"{row.rel_l2_worst:.4f}",
        f"{row.kl_mean:.4f}",
        f"{row.top1_mean:.1%}",
        f"{row.encoder_cosine:.5f}",
        f"{row.encoder_rel_l2:.4f}",
        "–" if row.wer is None else f"{row.wer:.3f}",
        "–" if row.wer_spoken is None else f"{row.wer_spoken:.3f}",
        "–" if row.same_texts is None else f"{row.same_texts} of {clips}",
        f"{row.awkward_worst:.3f}",
    ]
