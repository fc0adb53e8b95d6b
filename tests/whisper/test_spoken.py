"""Transcription files: both forms, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from xattn.errors import FileFormatError, InputError
from xattn.whisper.clips import JFK_TEXT
from xattn.whisper.spoken import read_spoken, spoken_in
from xattn.whisper.word_errors import words


def test_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "words.trn"
    file.write_text("<s> ten of clubs  </s> (001)\n\nfive five (a b-2)\n")
    known = read_spoken(file)
    assert known == {"001": "ten of clubs", "a b-2": "five five"}
    assert spoken_in([Path("x/001.wav"), Path("jfk.wav")], known) == ["ten of clubs", JFK_TEXT]
    assert len(words(JFK_TEXT)) == 22


def test_what_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "words.trn"
    file.write_text("five five (a)\nfive five\n")
    with pytest.raises(FileFormatError, match="line 2 is 'five five'"):
        read_spoken(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="cannot be read as text"):
        read_spoken(file)
    with pytest.raises(InputError, match="no line for b; it has a, jfk"):
        spoken_in([Path("b.wav")], {"a": "x"})
