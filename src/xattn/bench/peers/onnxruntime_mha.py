"""ONNX Runtime's fused MultiHeadAttention (domain com.microsoft)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.bench.peers.peer import Attend, Peer, Read, Tensors


def _prepare(tensors: Tensors, _precision: str, threads: int) -> tuple[Attend, Read]:
    import onnxruntime

    heads, tokens, width = tensors.q.shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_model(heads), options, providers=["CPUExecutionProvider"])
    given = {name: _tokens_first(x) for name, x in (("q", tensors.q), ("k", tensors.k), ("v", tensors.v))}

    def read(outputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = outputs[0].reshape(tokens, heads, width).swapaxes(0, 1)
        return output

    return lambda: session.run(None, given), read


def _tokens_first(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[heads, tokens, width]` → `[1, tokens, heads · width]`."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(1, x.shape[1], -1)


def _model(heads: int) -> bytes:
    from onnx import TensorProto, helper

    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None]) for name in "qkvo"}
    node = helper.make_node(
        "MultiHeadAttention", list("qkv"), ["o"], domain="com.microsoft", num_heads=heads, scale=1.0
    )
    graph = helper.make_graph([node], "attention", [ends[name] for name in "qkv"], [ends["o"]])
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: bytes = helper.make_model(graph, opset_imports=versions, ir_version=8).SerializeToString()
    return model


PEER = Peer("ONNX Runtime MHA", ("onnxruntime", "onnx"), ("fp32",), _prepare)
