"""Text from real speech with real weights, and from windows whose words go on; subtitles and word errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xattn.errors import FileFormatError, InputError
from xattn.whisper import transcribe as module
from xattn.whisper.audio import Audio, load_audio
from xattn.whisper.clips import jfk_path
from xattn.whisper.compare import compare
from xattn.whisper.subtitles import as_srt, as_vtt
from xattn.whisper.transcribe import Segment, softmax_attention, transcribe
from xattn.whisper.vocabulary import Vocabulary, load_vocabulary
from xattn.whisper.weights import WhisperWeights
from xattn.whisper.word_errors import word_error_rate, words

JFK = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country."


@pytest.fixture
def vocabulary(tiny_en: WhisperWeights) -> Vocabulary:
    pytest.importorskip("tokenizers", reason="NOT CHECKED: text needs the package tokenizers")
    return load_vocabulary(tiny_en.path, tiny_en.dims.vocabulary)


def clip(*parts: Any) -> Audio:
    return Audio("clip.wav", np.concatenate(parts).astype(np.float32), 16_000, 1, ())


def test_int8_hears_what_was_said(tiny_en: WhisperWeights, vocabulary: Vocabulary) -> None:
    told: list[tuple[float, float]] = []
    found = transcribe(tiny_en, vocabulary, load_audio(jfk_path()), progress=lambda *at: told.append(at))
    assert word_error_rate(JFK, found.text) == 0
    assert found.language == "en" and found.notes == []
    assert found.segments[0].start == 0 and found.segments[-1].end == pytest.approx(11.0, abs=0.3)
    assert told[-1] == (11.0, 11.0)


@pytest.mark.slow
def test_float_and_int8_side_by_side(tiny_en: WhisperWeights, vocabulary: Vocabulary) -> None:
    both = compare(tiny_en, vocabulary, load_audio(jfk_path()))
    assert both.wer == 0 and both.float_.text == both.int8.text
    assert 0.9995 < both.encoder_cosine < 1
    assert len(both.layer_errors) == 4 and 0.002 < np.mean(both.layer_errors) < 0.012


@pytest.mark.slow
def test_speech_longer_than_a_window(tiny_en: WhisperWeights, vocabulary: Vocabulary) -> None:
    speech = load_audio(jfk_path()).samples
    silence = np.zeros(25 * 16_000)
    found = transcribe(tiny_en, vocabulary, clip(speech, silence, speech), attention=softmax_attention)
    assert word_error_rate(f"{JFK} {JFK}", found.text) < 0.2
    assert any(segment.start >= 28 and 40 <= segment.end <= 47.2 for segment in found.segments)
    starts = [segment.start for segment in found.segments]
    assert starts == sorted(starts)


def test_silence_is_no_speech(tiny_en: WhisperWeights, vocabulary: Vocabulary) -> None:
    found = transcribe(tiny_en, vocabulary, clip(np.zeros(70 * 16_000)))
    assert found.text == "" and found.notes == ["no speech was found"]


def test_a_language_that_the_model_does_not_know(tiny_en: WhisperWeights, vocabulary: Vocabulary) -> None:
    with pytest.raises(InputError, match="language 'de' is not one of the model's: en"):
        transcribe(tiny_en, vocabulary, clip(np.ones(1600)), language="de")


def test_windows_go_on_where_words_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second window starts at the end of the last whole segment, not 30 s on; repetition is noted."""
    starts: list[int] = []
    stamp = 18
    scripts = iter([[stamp, 1, stamp + 500, stamp + 500, 2], [stamp, 3, stamp + 100], [stamp, *[4] * 90, stamp + 9]])
    text = SimpleNamespace(decode=lambda tokens, **_: "".join(f" w{t}" for t in tokens))
    vocabulary = Vocabulary(text, 10, 11, 15, 17, 16, {}, (), ())
    monkeypatch.setattr(module, "log_mel", lambda samples, *_: starts.append(int(samples[0])))
    monkeypatch.setattr(module, "encode", lambda *_: None)
    monkeypatch.setattr(module, "Decoder", lambda *_: None)
    monkeypatch.setattr(
        module, "search", lambda *_: SimpleNamespace(tokens=next(scripts), no_speech=0.0, mean_log_probability=-0.1)
    )
    weights: Any = SimpleNamespace(dims=SimpleNamespace(mel_bins=80))
    found = transcribe(weights, vocabulary, clip(np.arange(1, 70 * 16_000 + 1)))
    assert starts == [1, 160_001, 640_001]
    assert [(s.start, s.end) for s in found.segments] == [(0, 10), (10, 12), (40, 40.18)]
    assert found.notes == ["the text from 40 s on repeats itself and may be wrong"]


def test_windows_without_speech_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(None, 10, 11, 15, 17, 16, {}, (), ())
    monkeypatch.setattr(module, "log_mel", lambda *_: None)
    monkeypatch.setattr(module, "encode", lambda *_: None)
    monkeypatch.setattr(module, "Decoder", lambda *_: None)
    unsure = SimpleNamespace(tokens=[18, 1], no_speech=0.9, mean_log_probability=-1.5)
    monkeypatch.setattr(module, "search", lambda *_: unsure)
    weights: Any = SimpleNamespace(dims=SimpleNamespace(mel_bins=80))
    assert transcribe(weights, vocabulary, clip(np.ones(16_000))).text == ""


# -- vocabularies --------------------------------------------------------------------------------------------------


def tokenizer(folder: Path, names: list[str]) -> Path:
    path = folder / "tokenizer.json"
    added = [{"id": 50256 + n, "content": f"<|{name}|>"} for n, name in enumerate(names)]
    path.write_text(json.dumps({"added_tokens": added}))
    return path


def test_special_tokens_and_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xattn.whisper.vocabulary._tokenizer", lambda path: path)
    names = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "nospeech", "notimestamps"]
    tokenizer(tmp_path, names)
    (tmp_path / "generation_config.json").write_text('{"suppress_tokens": [1, -1, 2], "begin_suppress_tokens": [5]}')
    found = load_vocabulary(tmp_path / "model.safetensors", 51865)
    assert found.languages == {"en": 50258, "de": 50259} and found.prompt("de") == [50257, 50259, 50261]
    assert (found.never, found.never_first, found.no_speech) == ((1, 2), (5,), 50262)
    assert found.seconds(found.first_timestamp + 75) == 1.5
    assert load_vocabulary(tmp_path / "model.safetensors", 51864).languages == {}


def test_vocabularies_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name it with --tokenizer FILE"):
        load_vocabulary(tmp_path / "model.bin", 51864)
    tokenizer(tmp_path, ["endoftext"])
    with pytest.raises(FileFormatError, match="expected a Whisper model's tokenizer"):
        load_vocabulary(tmp_path / "model.bin", 51864)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FileFormatError, match="no list of added tokens"):
        load_vocabulary(tmp_path / "model.bin", 51864)


# -- subtitles and word errors -------------------------------------------------------------------------------------

SEGMENTS = [Segment(0, 8.0, " And so <my> -->"), Segment(3671.5, 3672.25, " ask & you")]


def test_subrip() -> None:
    assert as_srt(SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:08,000\nAnd so <my> ->\n\n2\n01:01:11,500 --> 01:01:12,250\nask & you\n"
    )


def test_webvtt() -> None:
    assert as_vtt(SEGMENTS) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:08.000\nAnd so &lt;my&gt; -&gt;\n\n"
        "01:01:11.500 --> 01:01:12.250\nask &amp; you\n"
    )


@pytest.mark.parametrize(
    ("reference", "text", "rate"),
    [
        ("a b c d", "A, b. c d!", 0),
        ("a b c d", "a c d", 0.25),
        ("a b c d", "a x b y d", 0.5),
        ("a b", "", 1),
        ("", "", 0),
        ("", "a", 1),
        ("a", "b c d", 3),
        ("don’t", "don't", 0),
        ("cold hearted and ill-disposed", "coldhearted and ill disposed", 0),
        ("coldhearted", "cold hearted", 0),
        ("cold hearted", "colder hearted", 0.5),
        ("mister Dashwood", "Mr. Dashwood", 0),
    ],
)
def test_word_error_rate(reference: str, text: str, rate: float) -> None:
    assert word_error_rate(reference, text) == rate


def test_words_keep_letters_of_every_script() -> None:
    assert words("L’été — 日本 x_y 3.5") == ["l'été", "日本", "x", "y", "3", "5"]
