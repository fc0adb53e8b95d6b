"""xattn.attention on the host: sound attention as machine code for this processor, quantization included."""

from __future__ import annotations

from functools import partial

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors


def _prepare(tensors: Tensors, _precision: str, threads: int) -> tuple[Attend, Read]:
    from xattn.cpu.attention import attention

    q, k, v = tensors.q, tensors.k, tensors.v
    return partial(attention, q, k, v, scaling=1.0, engine="native", threads=threads), lambda output: output


PEER = Peer("xattn.attention", ("llvmlite",), ("int8",), _prepare)
