"""The integer models of the published kernels, on the host: what their output is compared with."""

from __future__ import annotations

from functools import partial

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors
from xattn.numerics.compat import COMPAT_MODELS, DEFAULT_SHIFT
from xattn.numerics.quantize import quantize


def _prepare(name: str, tensors: Tensors, _precision: str, _threads: int) -> tuple[Attend, Read]:
    q, k, v = (quantize(x) for x in (tensors.q, tensors.k, tensors.v))
    attend = partial(COMPAT_MODELS[name], q.values, k.values, v.values, DEFAULT_SHIFT)
    return attend, lambda output: output * v.scale


def models() -> list[Peer]:
    """One for each arithmetic."""
    return [Peer(f"{name} model", ("numpy",), ("int8",), partial(_prepare, name)) for name in COMPAT_MODELS]
