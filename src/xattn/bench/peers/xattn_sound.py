"""Sound attention as its integer model in NumPy, quantization included."""

from __future__ import annotations

from functools import partial

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors
from xattn.numerics.sound import attention_sound


def _prepare(tensors: Tensors, _precision: str, _threads: int) -> tuple[Attend, Read]:
    return partial(attention_sound, tensors.q, tensors.k, tensors.v, scaling=1.0), lambda output: output


PEER = Peer("sound model", ("numpy",), ("int8",), _prepare)
