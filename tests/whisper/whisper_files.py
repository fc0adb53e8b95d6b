"""A small random Whisper, and writers of each weights container made for the tests, apart from the readers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

WIDTH, HEADS, MELS, POSITIONS, VOCABULARY, TEXT = 8, 2, 5, 6, 7, 4
LAYERS = 2


def random_model(seed=0, width=WIDTH, mels=MELS, positions=POSITIONS, layers=LAYERS, vocabulary=VOCABULARY):
    """{common name: float32 array}; the values are multiples of 1/64 below 2, exact in float16 and bfloat16."""
    rng = np.random.default_rng(seed)
    model = {}

    def put(name, *shape):
        model[name] = (rng.integers(-127, 128, shape) / 64).astype(np.float32)

    put("encoder.conv1.weight", width, mels, 3)
    put("encoder.conv1.bias", width)
    put("encoder.conv2.weight", width, width, 3)
    put("encoder.conv2.bias", width)
    put("encoder.embed_positions.weight", positions, width)
    put("decoder.embed_tokens.weight", vocabulary, width)
    put("decoder.embed_positions.weight", TEXT, width)
    for side in ("encoder", "decoder"):
        put(f"{side}.layer_norm.weight", width)
        put(f"{side}.layer_norm.bias", width)
        for i in range(layers):
            at = f"{side}.layers.{i}"
            for attention in ("self_attn", "encoder_attn")[: 1 + (side == "decoder")]:
                for p in "qkv":
                    put(f"{at}.{attention}.{p}_proj.weight", width, width)
                for p in ("q_proj", "v_proj", "out_proj"):
                    put(f"{at}.{attention}.{p}.bias", width)
                put(f"{at}.{attention}.out_proj.weight", width, width)
                put(f"{at}.{attention}_layer_norm.weight", width)
                put(f"{at}.{attention}_layer_norm.bias", width)
            put(f"{at}.fc1.weight", 4 * width, width)
            put(f"{at}.fc1.bias", 4 * width)
            put(f"{at}.fc2.weight", width, 4 * width)
            put(f"{at}.fc2.bias", width)
            put(f"{at}.final_layer_norm.weight", width)
            put(f"{at}.final_layer_norm.bias", width)
    return model


def to_bytes(array, precision):
    """An array's bytes as float16, float32 or (the values being exact in it) bfloat16."""
    if precision == "bfloat16":
        return (array.view(np.uint32) >> 16).astype("<u2").tobytes()
    return array.astype({"float16": "<f2", "float32": "<f4"}[precision]).tobytes()


def ctranslate2_variables(model, heads=HEADS, key_bias=0.0):
    """{CTranslate2 name: array}, with the stacked projections that CTranslate2 makes."""
    layers = 1 + max(int(name.split(".")[2]) for name in model if name.startswith("encoder.layers."))
    width = model["encoder.conv1.bias"].size
    zero = np.full(width, key_bias, np.float32)
    out = {"encoder/num_heads": np.int16(heads), "decoder/num_heads": np.int16(heads), "decoder/pre_norm": np.int8(1)}
    for conv in ("conv1", "conv2"):
        for leaf in ("weight", "bias"):
            out[f"encoder/{conv}/{leaf}"] = model[f"encoder.{conv}.{leaf}"]
    out["decoder/embeddings/weight"] = model["decoder.embed_tokens.weight"]
    for side in ("encoder", "decoder"):
        out[f"{side}/position_encodings/encodings"] = model[f"{side}.embed_positions.weight"]
        out[f"{side}/layer_norm/gamma"] = model[f"{side}.layer_norm.weight"]
        out[f"{side}/layer_norm/beta"] = model[f"{side}.layer_norm.bias"]
        for i in range(layers):
            hf, ct = f"{side}.layers.{i}", f"{side}/layer_{i}"
            norms = {"self_attention": "self_attn_layer_norm", "ffn": "final_layer_norm"}
            stacks = {"self_attention/linear_0": ("self_attn", "qkv"), "self_attention/linear_1": ("self_attn", "o")}
            if side == "decoder":
                norms["attention"] = "encoder_attn_layer_norm"
                stacks["attention/linear_0"] = ("encoder_attn", "q")
                stacks["attention/linear_1"] = ("encoder_attn", "kv")
                stacks["attention/linear_2"] = ("encoder_attn", "o")
            for place, norm in norms.items():
                out[f"{ct}/{place}/layer_norm/gamma"] = model[f"{hf}.{norm}.weight"]
                out[f"{ct}/{place}/layer_norm/beta"] = model[f"{hf}.{norm}.bias"]
            for place, (attention, parts) in stacks.items():
                names = [f"{hf}.{attention}.{'out' if p == 'o' else p}_proj" for p in parts]
                out[f"{ct}/{place}/weight"] = np.concatenate([model[f"{n}.weight"] for n in names])
                out[f"{ct}/{place}/bias"] = np.concatenate([model.get(f"{n}.bias", zero) for n in names])
            for place, fc in (("ffn/linear_0", "fc1"), ("ffn/linear_1", "fc2")):
                out[f"{ct}/{place}/weight"] = model[f"{hf}.{fc}.weight"]
                out[f"{ct}/{place}/bias"] = model[f"{hf}.{fc}.bias"]
    return out


def ctranslate2_bytes(variables, precision="float16", version=6, spec=b"WhisperSpec"):
    """The bytes of a model.bin."""

    def string(raw):
        return struct.pack("<H", len(raw) + 1) + raw + b"\0"

    parts = [struct.pack("<I", version), string(spec), struct.pack("<II", 3, len(variables))]
    for name, array in sorted(variables.items()):
        array = np.asarray(array)
        if array.dtype.kind == "f":
            raw, code = to_bytes(array, precision), {"float32": 0, "float16": 4, "bfloat16": 5}[precision]
        else:
            raw, code = array.tobytes(), {1: 1, 2: 2, 4: 3}[array.itemsize]
        parts.append(string(name.encode()) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
        parts.append(struct.pack("<BI", code, len(raw)) + raw)
    parts.append(struct.pack("<I", 1) + string(b"decoder/projection/weight") + string(b"decoder/embeddings/weight"))
    return b"".join(parts)


def safetensors_bytes(model, precision="float16", prefix="model."):
    """The bytes of a .safetensors file."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in model.items():
        raw = to_bytes(array, precision)
        code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[precision]
        header[prefix + name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def write_ctranslate2(folder: Path, model, precision="float16", heads=HEADS):
    """A model.bin in a folder; the folder."""
    (folder / "model.bin").write_bytes(ctranslate2_bytes(ctranslate2_variables(model, heads), precision))
    return folder


def write_huggingface(folder: Path, model, precision="float16", heads=HEADS):
    """A model.safetensors and config.json in a folder; the folder."""
    (folder / "model.safetensors").write_bytes(safetensors_bytes(model, precision))
    config = {"model_type": "whisper", "encoder_attention_heads": heads, "decoder_attention_heads": heads}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def openai_state(model):
    """The model under openai-whisper's names, written out from its model.py's module tree."""
    state = {}
    for name, array in model.items():
        new = name.replace(".layers.", ".blocks.")
        if name.startswith("decoder.") and "encoder_attn" in new:
            new = new.replace("encoder_attn_layer_norm", "cross_attn_ln").replace("encoder_attn", "cross_attn")
        new = new.replace("self_attn_layer_norm", "attn_ln").replace("self_attn", "attn")
        for old, short in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out")):
            new = new.replace(old, short)
        new = new.replace("final_layer_norm", "mlp_ln").replace("fc1", "mlp.0").replace("fc2", "mlp.2")
        new = new.replace("encoder.layer_norm", "encoder.ln_post").replace("decoder.layer_norm", "decoder.ln")
        new = new.replace("embed_positions.weight", "positional_embedding").replace("embed_tokens", "token_embedding")
        state[new] = array
    return state
