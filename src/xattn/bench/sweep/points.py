"""The points of a sweep, and what is found at one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import msgspec

from xattn.bench.activations import Activations
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec, kernels


class Point(msgspec.Struct, kw_only=True, frozen=True):
    """One kernel on one tile: of synthetic activations (`seed`), or of a layer and head of a real model."""

    kernel: str
    tokens: int
    width: int
    token: int = 0
    seed: int | None = None
    layer: int | None = None
    head: int | None = None

    @property
    def text(self) -> str:
        """The point in words."""
        where = f"seed {self.seed}" if self.seed is not None else f"layer {self.layer}, head {self.head}"
        return f"{self.kernel} {self.tokens}×{self.width}, {where}, token {self.token}"


class Row(msgspec.Struct, kw_only=True):
    """What was found at a point; cycles are simulated."""

    point: Point
    passed: bool
    """Exact, and nothing found wrong."""
    cycles: int | None
    stalls: int | None
    program_bytes: int | None
    cosine: float | None
    rel_l2: float | None
    faults: list[str]
    worker: str
    """Host and process that ran it."""


ActivationsOf = Callable[[Point], Activations]
"""Makes a point's activations. It goes to other processes, so it must be a function of a module."""


def points_of(
    names: Sequence[str], shapes: Iterable[tuple[int, int]], inputs: Iterable[dict[str, int]], token: int = 0
) -> tuple[list[Point], list[str]]:
    """Every kernel of `names` (all, where empty) at every shape on every input, each point once.

    `inputs` are {"seed": n} or {"layer": n, "head": n}. Returns also the combinations that are left out because the
    kernel cannot take the shape. InputError for an unknown kernel, or when nothing is left.
    """
    specs = [kernel_spec(name) for name in names] or list(kernels().values())
    pairs = list(dict.fromkeys(product((spec.name for spec in specs), shapes)))
    possible = [(name, shape) for name, shape in pairs if shape in kernel_spec(name).shapes]
    left_out = [f"{name} {t}×{w}" for name, (t, w) in pairs if (name, (t, w)) not in possible]
    if not possible:
        raise InputError(f"no kernel takes its shape: {', '.join(left_out)}")
    given = list(inputs)
    points = [
        Point(kernel=name, tokens=tokens, width=width, token=token, **one)
        for (name, (tokens, width)), one in product(possible, given)
    ]
    return list(dict.fromkeys(points)), left_out if names else []
