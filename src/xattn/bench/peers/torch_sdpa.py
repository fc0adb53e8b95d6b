"""PyTorch's scaled_dot_product_attention."""

from __future__ import annotations

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors


def _prepare(tensors: Tensors, precision: str, threads: int) -> tuple[Attend, Read]:
    import torch

    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    q, k, v = (torch.from_numpy(x).to(dtype)[None] for x in (tensors.q, tensors.k, tensors.v))

    def attend() -> torch.Tensor:
        with torch.inference_mode():
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)

    return attend, lambda output: output[0].float().numpy()


PEER = Peer("PyTorch SDPA", ("torch",), ("fp32", "bf16"), _prepare)
