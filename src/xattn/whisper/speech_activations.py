"""Real activations for a benchmark: one head of one encoder layer of a real Whisper, hearing real speech."""

from __future__ import annotations

from pathlib import Path

from xattn.bench.activations import Activations
from xattn.errors import InputError
from xattn.whisper.audio import load_audio
from xattn.whisper.capture import Progress, capture_qkv
from xattn.whisper.clips import jfk_path
from xattn.whisper.weights import WeightsSource


def speech_activations(
    source: WeightsSource,
    audio: Path | None = None,
    layer: int = 0,
    head: int = 0,
    progress: Progress | None = None,
) -> Activations:
    """Q, K, V `[1500, 64]` of `head` in encoder `layer`, on the clip `audio` (default: the one that comes with xattn).

    InputError for a layer or head that the model lacks, FileFormatError for a clip or weights that cannot be used.
    """
    weights = source.load()
    clip = load_audio(jfk_path() if audio is None else audio)
    captured = capture_qkv(weights, clip, layer, head, progress=progress)
    if captured.q.shape[-1] != 64:
        raise InputError(f"{weights.name} has heads of width {captured.q.shape[-1]}; the kernels take 64")
    return Activations(
        captured.q,
        captured.k,
        captured.v,
        source="speech",
        description=f"{weights.name}, {weights.precision} {weights.container} weights from {source.origin}",
        model=captured.model,
        clip=captured.clip,
        clip_seconds=clip.seconds,
        layer=layer,
        head=head,
        notes=captured.notes,
    )
