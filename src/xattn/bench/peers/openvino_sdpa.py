"""OpenVINO's ScaledDotProductAttention on the processor, its inference precision set explicitly."""

from __future__ import annotations

import numpy as np

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors


def _prepare(tensors: Tensors, precision: str, threads: int) -> tuple[Attend, Read]:
    import openvino
    from openvino import opset13

    inputs = [opset13.parameter([1, *tensors.q.shape], np.float32, name) for name in "qkv"]
    model = openvino.Model([opset13.scaled_dot_product_attention(*inputs)], inputs, "attention")
    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    # the operation multiplies by width^−½, which Q has already in it
    given = [(tensors.q * np.float32(tensors.q.shape[-1] ** 0.5))[None], tensors.k[None], tensors.v[None]]
    return lambda: request.infer(given, share_inputs=True), lambda outputs: np.array(outputs[0][0])


PEER = Peer("OpenVINO SDPA", ("openvino",), ("fp32", "bf16"), _prepare)
