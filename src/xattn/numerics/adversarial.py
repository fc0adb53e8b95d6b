"""Inputs that break careless attention kernels: int8 Q, K, V whose rows have one awkward shape of scores each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError

Int8Array: TypeAlias = NDArray[np.int8]


@dataclass(frozen=True)
class AdversarialCase:
    """int8 Q, K, V `[tokens, dim]` and what is awkward about them. V is full-range noise unless the case says more."""

    name: str
    q: Int8Array
    k: Int8Array
    v: Int8Array


def _uniform(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """All keys alike: every row's scores are equal, and every weight is 1 / tokens."""
    return _noise(rng, tokens, dim), np.broadcast_to(_noise(rng, 1, dim), (tokens, dim)).copy()


def _one_hot(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Each query is answered by one key, as far above all others as int8 allows."""
    k = np.where(rng.random((tokens, dim)) < 0.5, -127, 127).astype(np.int8)
    return k[rng.permutation(tokens)], k


def _ties(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Each key occurs four times, in places far apart: the maximum of every row is tied."""
    k = _noise(rng, -(-tokens // 4), dim)
    return _noise(rng, tokens, dim), np.concatenate([k] * 4)[:tokens]


def _all_minimum(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Every score is the lowest that int8 operands reach, -127 * 128 * dim."""
    del rng
    return np.full((tokens, dim), 127, np.int8), np.full((tokens, dim), -128, np.int8)


def _alternating(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Scores that change between the two extremes from key to key."""
    del rng
    sign = np.where(np.arange(tokens) % 2 == 0, 127, -127).astype(np.int8)
    return np.full((tokens, dim), 127, np.int8), np.repeat(sign[:, np.newaxis], dim, axis=1)


def _saturating(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Every score is the highest that int8 operands reach, 128 * 128 * dim."""
    del rng
    return np.full((tokens, dim), -128, np.int8), np.full((tokens, dim), -128, np.int8)


def _max_last(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Scores that rise along the keys: a running max rises in every block, and the row's maximum is the last key."""
    del rng
    ramp = np.linspace(-60, 120, tokens).astype(np.int8)
    return np.full((tokens, dim), 8, np.int8), np.repeat(ramp[:, np.newaxis], dim, axis=1)


def _max_first(rng: np.random.Generator, tokens: int, dim: int) -> tuple[Int8Array, Int8Array]:
    """Scores that fall along the keys: the running max stands from the first key on."""
    q, k = _max_last(rng, tokens, dim)
    return q, k[::-1].copy()


_CASES: dict[str, Callable[[np.random.Generator, int, int], tuple[Int8Array, Int8Array]]] = {
    "uniform": _uniform,
    "one_hot": _one_hot,
    "ties": _ties,
    "all_minimum": _all_minimum,
    "alternating": _alternating,
    "saturating": _saturating,
    "max_last": _max_last,
    "max_first": _max_first,
}

ADVERSARIAL_CASES = MappingProxyType({name: make.__doc__ or "" for name, make in _CASES.items()})
"""The names of the cases, and in a sentence what each is."""


def adversarial_case(name: str, tokens: int = 64, dim: int = 64, seed: int = 0) -> AdversarialCase:
    """Make one case, the same for the same arguments.

    Raises:
        InputError: an unknown name, or a size below 1.
    """
    if name not in _CASES:
        raise InputError(f"no adversarial case {name!r}, expected one of {', '.join(_CASES)}")
    if min(tokens, dim) < 1:
        raise InputError(f"tokens {tokens}, dim {dim}: expected at least 1 of each")
    rng = np.random.default_rng(seed)
    q, k = _CASES[name](rng, tokens, dim)
    return AdversarialCase(name, q, k, _noise(rng, tokens, dim))


def _noise(rng: np.random.Generator, tokens: int, dim: int) -> Int8Array:
    return rng.integers(-128, 128, size=(tokens, dim), dtype=np.int8)
