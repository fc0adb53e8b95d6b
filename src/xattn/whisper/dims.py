"""What size a Whisper model is, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass

from xattn.errors import InputError

# (width, encoder layers, decoder layers) of the published models: the dimension table of openai/whisper's README
# and the config.json files of the Hugging Face distillations.
_NAMES = {
    (384, 4, 4): "tiny",
    (512, 6, 6): "base",
    (768, 12, 12): "small",
    (1024, 24, 24): "medium",
    (1280, 32, 32): "large",
    (1280, 32, 4): "large-v3-turbo",
    (768, 12, 4): "distil-small",
    (1024, 24, 2): "distil-medium",
    (1280, 32, 2): "distil-large",
}
_ENGLISH_VOCABULARY = 51864
_V3_VOCABULARY = 51866


@dataclass(frozen=True)
class WhisperDims:
    """The sizes of one Whisper model; every tensor's shape follows from them.

    The decoder's fields are 0 for a file that holds the encoder alone.
    """

    mel_bins: int
    audio_positions: int
    """Encoder tokens of one 30 s window (1500): the mel spectrogram has twice as many frames."""
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    decoder_heads: int
    text_positions: int
    vocabulary: int

    @property
    def head_width(self) -> int:
        """Channels of one attention head (64 in every published Whisper)."""
        return self.width // self.heads

    @property
    def english_only(self) -> bool:
        """Whether the vocabulary is the one without language tokens."""
        return self.vocabulary == _ENGLISH_VOCABULARY

    @property
    def model_name(self) -> str:
        """The published model with these sizes, e.g. "Whisper tiny.en"; "custom Whisper" where there is none."""
        name = _NAMES.get((self.width, self.encoder_layers, self.decoder_layers))
        if name is None:
            return "custom Whisper"
        if self.english_only:
            name += ".en"
        elif name in ("large", "distil-large") and self.vocabulary == _V3_VOCABULARY:
            name += "-v3"
        return f"Whisper {name}"

    def describe(self) -> str:
        """One phrase for report headers: name, encoder layers, heads, width, mel bins, tokens."""
        return (
            f"{self.model_name} ({self.encoder_layers} encoder layers, {self.heads} heads × {self.head_width}, "
            f"width {self.width}, {self.mel_bins} mel bins, {self.audio_positions} tokens)"
        )


_PUBLISHED = ("tiny", "base", "small", "medium", "large-v2", "large-v3", "large-v3-turbo")


def published_dims(name: str) -> WhisperDims:
    """The sizes of a published model by its name: tiny, base, small, medium (all also with .en), large-v2, large-v3 …

    InputError lists the names there are.
    """
    plain = name.removesuffix(".en")
    english = name != plain
    if plain not in _PUBLISHED or (english and plain.startswith("large")):
        raise InputError(
            f"no Whisper model is called {name!r}; there are {', '.join(_PUBLISHED)}, and .en up to medium"
        )
    family = "large" if plain in ("large-v2", "large-v3") else plain
    width, encoder, decoder = next(sizes for sizes, known in _NAMES.items() if known == family)
    third = plain.startswith("large-v3")
    return WhisperDims(
        mel_bins=128 if third else 80,
        audio_positions=1500,
        width=width,
        heads=width // 64,
        encoder_layers=encoder,
        decoder_layers=decoder,
        decoder_heads=width // 64,
        text_positions=448,
        vocabulary=_ENGLISH_VOCABULARY if english else _V3_VOCABULARY if third else _ENGLISH_VOCABULARY + 1,
    )
