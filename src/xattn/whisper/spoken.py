"""What is said in clips, from a transcription file: one line a clip, its words and then its name in parentheses.

That is the trn form of NIST's scoring tools; CMU Sphinx writes the same with <s> and </s> around the words.
"""

from __future__ import annotations

import re
from pathlib import Path

from xattn.errors import FileFormatError, InputError
from xattn.whisper.clips import JFK_TEXT, jfk_path

_LINE = re.compile(r"(?:<s>)?(?P<words>[^()<>]*)(?:</s>)?\s*\((?P<name>[^()]+)\)\s*")


def read_spoken(path: Path) -> dict[str, str]:
    """Words by clip name, of a transcription file; FileFormatError names the first line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read as text ({error}); expected a transcription file") from None
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is not None:
            found[match["name"].strip()] = match["words"].strip()
        elif line.strip():
            raise FileFormatError(f"{path}: line {number} is {line[:60]!r}, expected words and then (name of the clip)")
    return found


def spoken_in(clips: list[Path], known: dict[str, str]) -> list[str]:
    """What is said in each clip, by its file's stem; the clip that comes along is always known.

    InputError names the clips of which nothing is known.
    """
    known = {jfk_path().stem: JFK_TEXT, **known}
    unknown = [clip.stem for clip in clips if clip.stem not in known]
    if unknown:
        raise InputError(
            f"the transcription has no line for {', '.join(unknown)}; it has {', '.join(sorted(known)[:20])}"
        )
    return [known[clip.stem] for clip in clips]
