"""`xattn transcribe`: text from speech, with the encoder's attention in int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.files import indented_json, require_writable, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError, XattnError

if TYPE_CHECKING:
    from xattn.whisper.compare import Comparison
    from xattn.whisper.transcribe import Transcript

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Attention(str, Enum):
    """Of the encoder."""

    int8 = "int8"
    float = "float"


@app.command()
def transcribe(
    audio: Annotated[
        list[str], typer.Argument(metavar="AUDIO…", help="Speech: WAV, FLAC, Ogg, MP3, AIFF; any length.")
    ],
    weights: Annotated[
        str | None, typer.Option(metavar="PATH", help="Whisper weights, file or folder (default: installed).")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="The model's tokenizer.json (default: beside the weights).")
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Language such as en (default: heard from the speech).")
    ] = None,
    attention: Annotated[Attention, typer.Option(help="The encoder's attention.")] = Attention.int8,
    compare: Annotated[
        bool, typer.Option("--compare", help="Run float and int8, and say how far they are apart.")
    ] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Also write subtitles, AUDIO.srt.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Also write subtitles, AUDIO.vtt.")] = False,
    output_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where subtitles go (default: beside the audio).")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write everything as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Transcribe speech with a Whisper model whose encoder attends in sound int8.

    A file that cannot be used is named and the others go on; the exit code is 2 then.
    """
    from xattn.whisper import find_weights
    from xattn.whisper.vocabulary import load_vocabulary

    if json is not None:
        require_writable(json)
    if output_dir is not None and not Path(output_dir).is_dir():
        raise InputError(f"--output-dir {output_dir} is not a folder: make it first")
    source = find_weights(None if weights is None else Path(weights))
    if source is None:
        raise InputError("no Whisper weights were found: name a file or folder with --weights, or set XATTN_WEIGHTS")
    model = source.load()
    vocabulary = load_vocabulary(model.path, model.dims.vocabulary, None if tokenizer is None else Path(tokenizer))
    options = _Options(attention.value, compare, language, srt, vtt, output_dir)
    files = []
    for path in audio:
        files.append(_file(model, vocabulary, path, options))
        _print(files[-1], title=len(audio) > 1, to_stderr=json == "-")
    if json is not None:
        write_bytes(json, indented_json({"model": source.describe(), "attention": attention.value, "files": files}))
    if any("error" in file for file in files):
        raise typer.Exit(2)


@dataclass(frozen=True)
class _Options:
    attention: str
    compare: bool
    language: str | None
    srt: bool
    vtt: bool
    folder: str | None


def _file(model: Any, vocabulary: Any, path: str, options: _Options) -> dict[str, Any]:
    """What is found in one file, or why nothing is."""
    try:
        with progress_bar(path) as steps:
            result = _one(model, vocabulary, path, options, steps)
        _write_subtitles(path, result["segments"], options)
    except XattnError as error:
        return {"path": path, "error": str(error)}
    return {"path": path} | result


def _one(
    model: Any,
    vocabulary: Any,
    path: str,
    options: _Options,
    steps: Callable[[int, int, str], None],
) -> dict[str, Any]:
    from xattn.whisper.audio import load_audio
    from xattn.whisper.compare import compare
    from xattn.whisper.transcribe import ATTENTION, transcribe

    clip = load_audio(Path(path))

    def tell(done: float, total: float) -> None:
        steps(round(done), round(total), f"{clip.name}: seconds heard")

    if options.compare:
        both = compare(model, vocabulary, clip, language=options.language, progress=tell)
        return _comparison_record(both, clip.seconds)
    chosen = ATTENTION[options.attention]
    found = transcribe(model, vocabulary, clip, attention=chosen, language=options.language, progress=tell)
    return _record(found, clip.seconds)


def _record(found: Transcript, seconds: float) -> dict[str, Any]:
    return {
        "text": found.text,
        "language": found.language,
        "seconds": round(seconds, 3),
        "segments": [{"start": s.start, "end": s.end, "text": s.text.strip()} for s in found.segments],
        "notes": found.notes,
    }


def _comparison_record(found: Comparison, seconds: float) -> dict[str, Any]:
    return _record(found.int8, seconds) | {
        "text_float": found.float_.text,
        "text_int8": found.int8.text,
        "wer": found.wer,
        "encoder_cosine": found.encoder_cosine,
        "layer_errors": found.layer_errors,
    }


def _write_subtitles(path: str, segments: list[dict[str, Any]], options: _Options) -> None:
    from xattn.whisper.subtitles import as_srt, as_vtt
    from xattn.whisper.transcribe import Segment

    lines = [Segment(**segment) for segment in segments]
    for wanted, suffix, make in ((options.srt, ".srt", as_srt), (options.vtt, ".vtt", as_vtt)):
        if wanted:
            beside = Path(path) if options.folder is None else Path(options.folder) / Path(path).name
            write_bytes(str(beside.with_suffix(suffix)), make(lines).encode())


def _print(file: dict[str, Any], title: bool, to_stderr: bool) -> None:
    if "error" in file:
        typer.secho(f"xattn: {file['error']}", fg=typer.colors.RED, err=True)
        return
    if title:
        typer.secho(f"{file['path']}:", bold=True, err=to_stderr)
    for line in _lines(file):
        typer.echo(line, err=to_stderr)
    for note in file["notes"]:
        typer.echo(f"note: {note}", err=True)


def _lines(file: dict[str, Any]) -> list[str]:
    if "wer" not in file:
        return [file["text"]]
    errors = ", ".join(f"{error:.4f}" for error in file["layer_errors"])
    return [
        f"float  {file['text_float']}",
        f"int8   {file['text_int8']}",
        f"word error rate of int8 against float: {file['wer']:.4f}",
        f"encoder output, cosine: {file['encoder_cosine']:.6f}",
        f"attention, relative L2 layer by layer: {errors}",
    ]
