"""Greedy search with a decoder that says what the test wants, and how a window's tokens become segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from xattn.whisper.search import detect_language, search
from xattn.whisper.transcribe import Segment, split_segments
from xattn.whisper.vocabulary import Vocabulary


class Words:
    """Text tokens are words of their number."""

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(f" w{t}" for t in tokens)


# text 0–9, end 10, start 11, languages 12–13, transcribe 15, no speech 16, no timestamps 17, 0.00 s 18
VOCABULARY = Vocabulary(Words(), 10, 11, 15, 17, 16, {"en": 12, "de": 13}, never=(9,), never_first=(8,))
STAMP, SIZE = 18, 18 + 1501


class Script:
    """A decoder whose logits favour tokens in a given order; it keeps what it was told."""

    def __init__(self, *favourites: dict[int, float]) -> None:
        self.favourites, self.told = list(favourites), []

    def say(self, tokens: Sequence[int]) -> Any:
        self.told.append(list(tokens))
        logits = np.full(SIZE, -20, np.float32)
        step = len(self.told) - 1
        for token, value in self.favourites[min(step, len(self.favourites) - 1)].items():
            logits[token] = value
        return logits


def found(*favourites: dict[int, float], language: str | None = "en") -> list[int]:
    script = Script({}, *favourites)
    return search(script, VOCABULARY, language, 20).tokens  # type: ignore[arg-type]


def test_the_prompt_and_a_plain_transcript() -> None:
    script = Script({}, {STAMP: 5}, {1: 5}, {2: 5}, {STAMP + 50: 5}, {10: 5})
    result = search(script, VOCABULARY, "de", 20)  # type: ignore[arg-type]
    assert script.told[:2] == [[11], [13, 15]]
    assert result.tokens == [STAMP, 1, 2, STAMP + 50]
    assert -1e-3 < result.mean_log_probability <= 0 and result.no_speech < 0.01


def test_a_transcript_starts_with_an_early_timestamp() -> None:
    assert found({1: 9, STAMP + 60: 8, STAMP + 50: 3}, {10: 5})[0] == STAMP + 50


def test_suppressed_tokens_are_never_said() -> None:
    assert found({STAMP: 5}, {9: 9, 3: 5}, {17: 9, 12: 9, 4: 5}, {10: 5}) == [STAMP, 3, 4]


def test_timestamps_come_in_pairs_and_never_run_backwards() -> None:
    tokens = found(
        {STAMP: 5},
        {STAMP + 1: 9, 1: 5},  # after the first one comes text
        {STAMP + 10: 5},
        {1: 9, STAMP + 10: 5},  # after an end comes a start, at the same time or later
        {STAMP + 20: 9, 2: 5},
        {STAMP + 5: 9, STAMP + 10: 8, STAMP + 30: 3},  # not before, nor at, its start
        {10: 5},
    )
    assert tokens == [STAMP, 1, STAMP + 10, STAMP + 10, 2, STAMP + 30]


def test_timestamps_that_together_outweigh_any_word_are_taken() -> None:
    spread = {STAMP + n: 3.0 for n in range(10, 20)} | {STAMP + 15: 3.1}
    assert found({STAMP: 5}, {1: 5}, {2: 4.0} | spread, {10: 5}) == [STAMP, 1, STAMP + 15]
    assert found({STAMP: 5}, {1: 5}, {2: 9.0} | spread, {10: 5})[2] == 2


def test_it_ends_at_the_limit() -> None:
    assert len(search(Script({}, {STAMP: 5}, {1: 5}), VOCABULARY, "en", 7).tokens) == 6  # type: ignore[arg-type]


def test_the_language_is_the_likeliest_one() -> None:
    assert detect_language(Script({13: 3, 12: 1, 1: 9}), VOCABULARY) == "de"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "segments", "heard"),
    [
        ([STAMP, 1, STAMP + 100], [Segment(0.0, 2.0, " w1")], None),
        ([STAMP, 1, STAMP + 100, STAMP + 150, 2, STAMP + 200], [Segment(0, 2, " w1"), Segment(3, 4, " w2")], None),
        ([STAMP, 1, STAMP + 100, STAMP + 100, 2], [Segment(0, 2, " w1")], 2.0),  # the second one goes on
        ([STAMP + 10, 1, 2], [Segment(0.2, 9.0, " w1 w2")], None),
        ([STAMP, 1, STAMP + 1500], [Segment(0, 9.0, " w1")], None),  # no later than the speech
        ([], [], None),
        ([STAMP], [], None),
    ],
)
def test_segments(tokens: list[int], segments: list[Segment], heard: float | None) -> None:
    assert split_segments(tokens, VOCABULARY, 9.0) == (segments, heard)
