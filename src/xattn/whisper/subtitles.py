"""Transcripts as subtitle files: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from collections.abc import Sequence

from xattn.whisper.transcribe import Segment


def as_srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered cues, times as 00:00:08,000."""
    cues = [
        f"{number}\n{_time(s.start, ',')} --> {_time(s.end, ',')}\n{_one_cue(s.text)}\n"
        for number, s in enumerate(segments, 1)
    ]
    return "\n".join(cues)


def as_vtt(segments: Sequence[Segment]) -> str:
    """WebVTT: a heading, then cues, times as 00:00:08.000."""
    cues = [f"{_time(s.start, '.')} --> {_time(s.end, '.')}\n{_escaped(_one_cue(s.text))}\n" for s in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _one_cue(text: str) -> str:
    return " ".join(text.replace("-->", "->").split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
