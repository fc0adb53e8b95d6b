"""Sound attention once more, one number at a time: exact rationals and Python integers, no arrays, no float tricks.

Written from the definition and sharing nothing with `xattn.numerics`, so that the two can be compared.
"""

import struct
from fractions import Fraction

BIAS = 127 * 128
LOWEST = -129 * 128


def bfloat16(bits):
    """The value of a bfloat16, by the machine's own reading of the upper half of a float32."""
    return Fraction(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


def weight16(score, reference):
    bits = max(score + BIAS - reference, 0)
    scaled = bfloat16(bits) * 2**16
    return scaled.numerator // scaled.denominator


def dither16(j):
    u = Fraction(2 * (7 * j % 16) + 1, 32)
    return int(u * 256)


def dither64(j):
    u = Fraction(2 * (27 * j % 64) + 1, 128)
    return int(u * 256)


def nearest(_j):
    return 128


DITHERS = {"dither16": dither16, "dither64": dither64, "nearest": nearest}


def divide(x, octaves, rounding):
    octaves = min(octaves, 31)
    if rounding == "floor":
        return x >> octaves
    assert rounding == "half_even"
    return round(Fraction(x, 2**octaves))


def score(q_row, k_row, shift):
    dot = sum(x * y for x, y in zip(q_row, k_row, strict=True))
    moved = dot >> shift if shift >= 0 else dot << -shift
    return max(-32768, min(32767, moved))


class Row:
    """One query row: what is known of it after each block."""

    def __init__(self, width):
        self.accumulator = [0] * width
        self.running_sum = 0
        self.reference = LOWEST

    def block(self, q_row, k, v, shift, allowed, *, maximum, dither, rescale_rounding):
        s = [score(q_row, k_row, shift) if ok else -32768 for k_row, ok in zip(k, allowed, strict=True)]
        own = max((max(s) // 128) * 128 + 128, LOWEST)
        new = max(self.reference, own)
        used = new if maximum == "running" else own
        p = [(weight16(x, used) + DITHERS[dither](j)) // 256 for j, x in enumerate(s)]
        old_octaves, new_octaves = (new - self.reference) // 128, (new - used) // 128

        def merge(old, add):
            return divide(old, old_octaves, rescale_rounding) + divide(add, new_octaves, rescale_rounding)

        products = [sum(w * row[c] for w, row in zip(p, v, strict=True)) for c in range(len(self.accumulator))]
        self.accumulator = [merge(old, add) for old, add in zip(self.accumulator, products, strict=True)]
        self.running_sum = merge(self.running_sum, sum(p))
        self.reference = new
        return s, p
