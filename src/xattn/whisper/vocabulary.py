"""A Whisper model's tokens: what the special ones are, which are never said, and text from the others.

They stand in files beside the weights: `tokenizer.json`, and `generation_config.json` (Hugging Face) or `config.json`
(CTranslate2) for the tokens that are suppressed. Reading text needs the package `tokenizers` (extra `whisper`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xattn.errors import FileFormatError, InputError
from xattn.whisper.json_file import read_object

TIMESTAMP_SECONDS = 0.02
_TOKENIZER = "tokenizer.json"
_ENGLISH_ONLY = 51864  # tokens of the models that know English alone
_SETTINGS = {
    "generation_config.json": ("suppress_tokens", "begin_suppress_tokens"),
    "config.json": ("suppress_ids", "suppress_ids_begin"),
}


@dataclass(frozen=True)
class Vocabulary:
    """Token numbers of one model. Timestamps follow `no_timestamps`, in steps of 0.02 s."""

    tokenizer: Any
    end: int
    start: int
    transcribe: int
    no_timestamps: int
    no_speech: int
    languages: dict[str, int]
    """Language tokens by code; empty for a model that knows English alone."""
    never: tuple[int, ...]
    never_first: tuple[int, ...]

    @property
    def first_timestamp(self) -> int:
        """The token for 0.00 s."""
        return self.no_timestamps + 1

    def seconds(self, token: int) -> float:
        """The time that a timestamp stands for."""
        return round((token - self.first_timestamp) * TIMESTAMP_SECONDS, 2)

    def prompt(self, language: str | None) -> list[int]:
        """What a transcript with timestamps begins with."""
        if not self.languages:
            return [self.start]
        return [self.start, self.languages[str(language)], self.transcribe]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""
        text: str = self.tokenizer.decode([t for t in tokens if t < self.end], skip_special_tokens=True)
        return text


def load_vocabulary(weights: Path, size: int, tokenizer: Path | None = None) -> Vocabulary:
    """The vocabulary that belongs to a weights file.

    Args:
        weights: the file; the others are looked for beside it.
        size: tokens that the model knows; one of 51,864 knows English alone.
        tokenizer: a `tokenizer.json` to take instead of the one beside the weights.

    Raises:
        InputError: the package `tokenizers` is missing, or there is no `tokenizer.json`.
        FileFormatError: a file that is damaged or another model's.
    """
    path = weights.parent / _TOKENIZER if tokenizer is None else tokenizer
    if not path.is_file():
        raise InputError(f"no {_TOKENIZER} at {path}: text needs the model's own one, name it with --tokenizer FILE")
    numbers = _special_tokens(path)
    languages = _languages(numbers) if size > _ENGLISH_ONLY else {}
    never, never_first = _suppressed(weights.parent)
    try:
        return Vocabulary(
            _tokenizer(path),
            end=numbers["endoftext"],
            start=numbers["startoftranscript"],
            transcribe=numbers["transcribe"],
            no_timestamps=numbers["notimestamps"],
            no_speech=numbers["nospeech"] if "nospeech" in numbers else numbers["nocaptions"],
            languages=languages,
            never=never,
            never_first=never_first,
        )
    except KeyError as missing:
        raise FileFormatError(f"{path}: no token <|{missing.args[0]}|>; expected a Whisper model's tokenizer") from None


def _tokenizer(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError('text needs the package tokenizers: pip install "xattn[whisper]"') from None
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more special
        raise FileFormatError(f"{path}: {error}; expected a Whisper model's {_TOKENIZER}") from None


def _special_tokens(path: Path) -> dict[str, int]:
    """Special tokens by what stands between `<|` and `|>`."""
    try:
        added = read_object(path)["added_tokens"]
        return {str(t["content"])[2:-2]: int(t["id"]) for t in added if str(t["content"]).startswith("<|")}
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"{path}: no list of added tokens; expected a Whisper model's {_TOKENIZER}") from None


def _languages(numbers: dict[str, int]) -> dict[str, int]:
    first, last = numbers.get("startoftranscript", 0), numbers.get("translate", 0)
    return {name: number for name, number in numbers.items() if first < number < last}


def _suppressed(folder: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    for name, keys in _SETTINGS.items():
        path = folder / name
        settings = read_object(path) if path.is_file() else {}
        if all(isinstance(settings.get(key), list) for key in keys):
            never, never_first = (tuple(int(t) for t in settings[key] if int(t) >= 0) for key in keys)
            return never, never_first
    return (), ()
