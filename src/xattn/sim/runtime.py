"""What the generated code calls: the few lane operations that NumPy has no single expression for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Lanes = NDArray[Any]


def shift_left(value: int, amount: int, bits: int) -> int:
    """A scalar shifted left; amounts of `bits` and more give 0."""
    return value << amount & (1 << bits) - 1 if amount < bits else 0


def shl(lanes: Lanes, amount: int | Lanes, bits: int) -> Lanes:
    """Lanes shifted left by one amount or by one a lane; `bits` and more give 0."""
    shifted: Lanes = lanes << _within(amount, bits, lanes)
    return _cleared(shifted, amount, bits)


def lshr(lanes: Lanes, amount: int | Lanes, bits: int) -> Lanes:
    """Lanes shifted right, zeros coming in."""
    shifted: Lanes = lanes >> _within(amount, bits, lanes)
    return _cleared(shifted, amount, bits)


def ashr(lanes: Lanes, amount: int | Lanes, bits: int) -> Lanes:
    """Signed lanes shifted right, signs coming in."""
    shifted: Lanes = lanes >> _within(amount, bits, lanes)
    return shifted


def _within(amount: int | Lanes, bits: int, lanes: Lanes) -> Any:
    if isinstance(amount, int):
        return lanes.dtype.type(min(amount, bits - 1))
    return np.minimum(amount, bits - 1).astype(lanes.dtype)


def _cleared(shifted: Lanes, amount: int | Lanes, bits: int) -> Lanes:
    if isinstance(amount, int):
        return shifted if amount < bits else np.zeros_like(shifted)
    return np.where(amount < bits, shifted, shifted.dtype.type(0))


def leading_zeros(lanes: Lanes, bits: int) -> Lanes:
    """Number of leading zeros of each lane of `bits`."""
    count = np.full(lanes.shape, bits, lanes.dtype)
    for position in range(bits):
        count[lanes >> lanes.dtype.type(position) != 0] = bits - 1 - position
    return count


def raw_of(value: int, size: int) -> Lanes:
    """The bytes of an int, lowest first."""
    return np.frombuffer(int(value).to_bytes(size, "little"), np.uint8)


def padded(raw: Lanes, size: int) -> Lanes:
    """Bytes with `size` zeros behind them."""
    return np.concatenate((raw, np.zeros(size, np.uint8)))


def bits_of(raw: Lanes) -> Lanes:
    """Bytes as lanes of 1 bit."""
    return np.unpackbits(raw, bitorder="little").view(bool)


def join_bits(lanes: Lanes) -> Lanes:
    """Lanes of 1 bit as bytes."""
    return np.packbits(lanes, bitorder="little")


def nibbles_of(raw: Lanes) -> Lanes:
    """Bytes as lanes of 4 bits."""
    return np.stack((raw & np.uint8(15), raw >> np.uint8(4)), axis=1).reshape(-1)


def join_nibbles(lanes: Lanes) -> Lanes:
    """Lanes of 4 bits as bytes."""
    low, high = lanes.reshape(-1, 2).T
    joined: Lanes = low | high << np.uint8(4)
    return joined


def inserted(lanes: Lanes, index: int, value: int) -> Lanes:
    """A copy with one lane replaced."""
    copy: Lanes = lanes.copy()
    copy[index] = value
    return copy


def unspecified(site: Any, why: str, held: str, lanes: int, bits: int) -> Any:
    """Zeros for a result that nothing defines; the site reports that it was used."""
    site.undefined_result(why)
    if held == "int":
        return 0
    if held == "raw":
        return np.zeros(bits // 8, np.uint8)
    if held == "wide":
        return np.zeros((lanes, bits // 64), np.uint64)
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    return np.zeros(lanes, bool if held == "bool" else f"u{size}")


NAMES: dict[str, Any] = {
    "ALL": slice(None),
    "np": np,
    "np_u1": np.uint8,
    "np_u2": np.uint16,
    "np_u4": np.uint32,
    "np_u8": np.uint64,
    **{
        function.__name__: function
        for function in (
            shift_left,
            shl,
            lshr,
            ashr,
            leading_zeros,
            raw_of,
            padded,
            bits_of,
            join_bits,
            nibbles_of,
            join_nibbles,
            inserted,
            unspecified,
        )
    },
}
