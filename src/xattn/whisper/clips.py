"""Speech clips that come with the package; data/README.md names their origin and licence."""

from __future__ import annotations

from pathlib import Path


def jfk_path() -> Path:
    """The path of an 11.0 s public-domain clip (16 kHz mono 16-bit WAV): a sentence of Kennedy's inaugural address."""
    return Path(__file__).parent / "data" / "jfk.wav"


JFK_TEXT = (
    "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country."
)
"""What is said in it, as the speech was printed."""
