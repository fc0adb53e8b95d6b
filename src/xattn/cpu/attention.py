"""Sound int8 attention for arrays and tensors of any length: the integers of the `sound` kernel, on the host's CPU.

Two engines give the same bits: `native` (extra `jit`, heads of 64 channels) and `numpy` (any head size, slower).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xattn.cpu.engine import is_available
from xattn.cpu.program import WIDTH
from xattn.errors import InputError
from xattn.numerics.checks import require_qkv_shapes
from xattn.numerics.sound import (
    MAX_KEYS,
    Order,
    attention_sound,
    blind_rows,
    broadcast_key_mask,
    quantize_operands,
    require_in_range,
)
from xattn.numerics.sound.operands import Share

Engine: TypeAlias = Literal["auto", "native", "numpy"]
Layout: TypeAlias = Literal["HND", "NHD"]
Array = NDArray[Any]


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    scaling: float | None = None,
    key_mask: Any = None,
    causal: bool = False,
    order: Order = "natural",
    share: Share = "channel",
    smooth_k: bool = False,
    q_scale: ArrayLike | None = None,
    k_scale: ArrayLike | None = None,
    v_scale: ArrayLike | None = None,
    engine: Engine = "auto",
    threads: int | None = None,
) -> Any:
    """Attend in int8: softmax(Q·Kᵀ · scaling)·V, for NumPy arrays or torch tensors on the CPU.

    Floats are quantized here (V and, by default, Q and K per channel, see `quantize_operands`). Keys are taken in
    blocks of 64 with a running max, so memory does not grow with the square of the length.

    Args:
        q: `[..., queries, 64]`, e.g. `[batch, heads, tokens, 64]`; floats, or int8 with `q_scale`.
        k: `[..., keys, 64]`, the same kind.
        v: `[..., keys, 64]`, the same kind.
        scaling: factor of the dot products; None means `1 / sqrt(64)`. Whisper multiplies Q by it beforehand: pass 1.
        key_mask: bool, `[batch, keys]` or what broadcasts against `[..., keys]`; False keys (padding) weigh exactly 0.
        causal: query i sees keys up to i + (keys - queries), i.e. the last query sees every key.
        order: in which key blocks are taken, `natural` or `diagonal` (from the query's own block on). It matters for
            how often a running max rises, hardly for accuracy.
        share: what shares one scale of Q and one of K, `channel` or `head`.
        smooth_k: subtract K's mean over the keys first; no softmax changes by it.
        q_scale: what int8 Q stands for, `q * q_scale`, broadcast against q; for int8 operands only.
        k_scale: the same of K.
        v_scale: the same of V.
        engine: `auto` takes the native one where it can, `numpy` needs no extra. Both give the same bits.
        threads: of the native engine; None means all CPUs that this process may use.

    Returns:
        `[..., queries, 64]`: an array or a tensor as q is, with q's dtype (float32 for int8).
        Rows that see no key are 0.

    Raises:
        InputError: shapes that do not fit together, NaN or infinity, more than 65,793 keys, a mask that does not fit,
            logits beyond what int16 scores can tell apart, or an engine that cannot do it.
    """
    if engine not in get_args(Engine):
        raise InputError(f"engine is {engine!r}, expected one of {', '.join(get_args(Engine))}")
    arrays = [_as_array(name, x) for name, x in (("q", q), ("k", k), ("v", v))]
    dtype = np.dtype(np.float32) if arrays[0].dtype == np.int8 else arrays[0].dtype
    scales = {"q": q_scale, "k": k_scale, "v": v_scale}
    floats = [_as_floats(name, x, scales[name]) for name, x in zip("qkv", arrays, strict=True)]
    require_qkv_shapes(*floats)
    mask = _as_mask(key_mask, floats[1].shape[:-1])
    result = _attend(floats, mask, scaling, causal, order, share, smooth_k, _chosen(engine, floats), threads)
    return _like(q, result.astype(dtype, copy=False))


def sageattn(
    q: Any,
    k: Any,
    v: Any,
    tensor_layout: Layout = "HND",
    is_causal: bool = False,
    sm_scale: float | None = None,
    return_lse: bool = False,
    **others: Any,
) -> Any:
    """Attend, called as SageAttention's `sageattn` is.

    Args:
        q: `[batch, heads, queries, 64]` (HND) or `[batch, queries, heads, 64]` (NHD), floats.
        k: the same with keys.
        v: the same with keys.
        tensor_layout: `HND` or `NHD`.
        is_causal: as `causal` of `attention`.
        sm_scale: factor of the dot products; None means `1 / sqrt(64)`.
        return_lse: not offered: this softmax keeps no logarithm of its sums.
        others: refused by name unless None, so that nothing is silently ignored.

    Returns:
        `[..., 64]` in the layout of q, with q's dtype.

    Raises:
        InputError: as `attention`, an unknown layout, or an argument that is not offered.
    """
    refused = [name for name, value in {"return_lse": return_lse or None, **others}.items() if value is not None]
    if refused:
        raise InputError(f"sageattn of xattn does not take {', '.join(refused)}: leave it out")
    if tensor_layout not in get_args(Layout):
        raise InputError(f"tensor_layout is {tensor_layout!r}, expected one of {', '.join(get_args(Layout))}")
    if tensor_layout == "HND":
        return attention(q, k, v, causal=is_causal, scaling=sm_scale)
    heads_first = [x.swapaxes(1, 2) for x in (q, k, v)]
    return attention(*heads_first, causal=is_causal, scaling=sm_scale).swapaxes(1, 2)


def _as_array(name: str, x: Any) -> Array:
    """NumPy's view of an array or tensor; bfloat16, which NumPy lacks, as float32."""
    if hasattr(x, "detach"):  # a torch tensor, without importing torch
        x = x.detach()
        if x.device.type != "cpu":
            raise InputError(f"{name} is on {x.device}, expected a tensor on the CPU: call .cpu()")
        x = (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    array = np.asarray(x)
    if array.dtype not in (np.float16, np.float32, np.float64, np.int8):
        raise InputError(f"{name} has dtype {array.dtype}, expected float16, float32, float64, bfloat16 or int8")
    return array


def _as_floats(name: str, x: Array, scale: ArrayLike | None) -> Array:
    if x.dtype == np.int8:
        if scale is None:
            raise InputError(f"{name} is int8 and has no scale: give {name}_scale")
        return (x * np.asarray(scale, np.float64)).astype(np.float64)
    if scale is not None:
        raise InputError(f"{name} has dtype {x.dtype}, and {name}_scale is for int8: leave it out")
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _as_mask(key_mask: Any, keys_shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if key_mask is None:
        return None
    mask = np.asarray(key_mask.detach().cpu().numpy() if hasattr(key_mask, "detach") else key_mask)
    if len(keys_shape) > 2 and mask.shape == (keys_shape[0], keys_shape[-1]):
        mask = mask.reshape(keys_shape[0], *[1] * (len(keys_shape) - 2), keys_shape[-1])
    return broadcast_key_mask(mask, keys_shape)


def _chosen(engine: Engine, floats: list[Array]) -> Engine:
    widths = {x.shape[-1] for x in floats}
    if engine == "native" and widths != {WIDTH}:
        raise InputError(f"the native engine takes heads of {WIDTH} channels, found {sorted(widths)}: use numpy")
    if engine == "auto":
        return "native" if widths == {WIDTH} and is_available() else "numpy"
    return engine


def _attend(
    floats: list[Array],
    mask: NDArray[np.bool_] | None,
    scaling: float | None,
    causal: bool,
    order: Order,
    share: Share,
    smooth_k: bool,
    engine: Engine,
    threads: int | None,
) -> Array:
    q, k, v = floats
    if engine == "numpy":
        return attention_sound(
            q, k, v, scaling=scaling, order=order, share=share, smooth_k=smooth_k, key_mask=mask, causal=causal
        )
    from xattn.cpu import native

    if k.shape[-2] > MAX_KEYS:
        raise InputError(f"k has {k.shape[-2]} tokens, expected at most {MAX_KEYS}: the int32 accumulators could wrap")
    count = native.usable_threads() if threads is None else threads
    if count < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    factor = q.shape[-1] ** -0.5 if scaling is None else scaling
    if smooth_k or not all(x.dtype == np.float32 for x in floats):
        operands = quantize_operands(q, k, v, scaling=factor, share=share, smooth_k=smooth_k)
        prepared = native.prepare_integers(operands, count)
    else:
        prepared = native.prepare_floats(q, k, v, factor, share, count)
    if (prepared.shift < 0).any():  # logits that would saturate anyway; the native program shifts to the right only
        return _attend(floats, mask, scaling, causal, order, share, smooth_k, "numpy", threads)
    out = np.empty(q.shape, np.float64 if q.dtype == np.float64 else np.float32)
    heads = prepared.q.shape[0]
    flat_mask = None if mask is None else mask.reshape(heads, -1)
    reference = native.run_prepared(
        prepared,
        visible=native.visible_keys(prepared.keys, heads, flat_mask),
        diagonal=_is_diagonal(order),
        causal=causal,
        threads=count,
        out=out,
    ).reference
    blind = blind_rows((heads, prepared.queries), prepared.keys, flat_mask, causal)
    require_in_range(reference, blind)
    return out


def _is_diagonal(order: Order) -> bool:
    if order not in get_args(Order):
        raise InputError(f"order is {order!r}, expected one of {', '.join(get_args(Order))}")
    return order == "diagonal"


def _like(q: Any, result: Array) -> Any:
    """As a tensor of q's dtype where q is one."""
    if not hasattr(q, "detach"):
        return result
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(result))
    return tensor.to(q.dtype) if q.dtype.is_floating_point else tensor
