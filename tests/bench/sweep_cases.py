"""Activations of a sweep's points, as a function of a module: other processes must find it."""

from __future__ import annotations

from xattn.bench import Activations, synthetic_activations
from xattn.bench.sweep import Point
from xattn.errors import InputError


def activations(point: Point) -> Activations:
    if point.seed == 13:
        raise InputError("no luck with 13")
    return synthetic_activations(point.seed or 0)
