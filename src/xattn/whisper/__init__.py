"""The workload: a real Whisper encoder in NumPy, fed with real speech, and the Q, K and V that its attention sees.

The names below are loaded when first used, so that ``import xattn.whisper`` costs nothing:

* ``find_weights`` → ``WeightsSource`` → ``WhisperWeights``: weights from CTranslate2, Hugging Face or openai files;
* ``load_audio`` → ``Audio``: speech as 16 kHz mono float32; ``jfk_path`` is a clip that is always there;
* ``log_mel``, ``encode``: Whisper's features and encoder, with pluggable attention;
* ``capture_qkv`` → ``Captured``: the Q, K and V of one layer, kept in a cache on disk.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.whisper.audio import Audio, load_audio
    from xattn.whisper.capture import Captured, capture_qkv
    from xattn.whisper.clips import jfk_path
    from xattn.whisper.dims import WhisperDims
    from xattn.whisper.encoder import encode
    from xattn.whisper.mel import log_mel
    from xattn.whisper.weights import WeightsSource, WhisperWeights, find_weights

_HOME = {
    "Audio": "audio",
    "Captured": "capture",
    "WeightsSource": "weights",
    "WhisperDims": "dims",
    "WhisperWeights": "weights",
    "capture_qkv": "capture",
    "encode": "encoder",
    "find_weights": "weights",
    "jfk_path": "clips",
    "load_audio": "audio",
    "log_mel": "mel",
}

__all__ = [
    "Audio",
    "Captured",
    "WeightsSource",
    "WhisperDims",
    "WhisperWeights",
    "capture_qkv",
    "encode",
    "find_weights",
    "jfk_path",
    "load_audio",
    "log_mel",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
