"""The original kernels' arithmetic once more, as a C programmer would write it: plain loops over Python integers.

Written from the description of the kernels and sharing nothing with `xattn.numerics`, so that the two can be compared.
"""

import math
from decimal import ROUND_FLOOR, Decimal, getcontext

getcontext().prec = 50


def clamp(x, low, high):
    return low if x < low else high if x > high else x


def dot(a, b):
    total = 0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def exp_lut():
    """trunc(min(255, max(0, 64 exp(x / 64)))) in 50-digit decimals."""
    return [int(min(Decimal(255), 64 * (Decimal(x) / 64).exp())) for x in range(-128, 128)]


EXP_LUT = exp_lut()
V3_LUT = [max(1, int((Decimal(2**20) * Decimal(-n).exp()).to_integral_value(rounding=ROUND_FLOOR))) for n in range(128)]


def score_row(q_row, k, shift, clamped):
    row = [dot(q_row, k_row) >> shift for k_row in k]
    return [clamp(s, -128, 127) for s in row] if clamped else row


def softmax_v0(row):
    top = max(row)
    e = []
    for s in row:
        x = clamp(s - top, -64, 0)
        e.append(max(0, 64 + x + math.floor(x * x / 128)))
    return [min(127, 127 * value // sum(e)) for value in e]


def softmax_v1(row):
    top = max(row)
    e = []
    for s in row:
        x = clamp(s - top, -127, 0)
        if x <= -80:
            e.append(1)
        elif x <= -40:
            e.append(65536 // (256 - 4 * x))
        else:
            e.append(max(1, 256 + 8 * x + (((x * x) >> 5) >> 1)))
    total = sum(e)
    return [clamp((127 * value + total // 2) // total, 0, 127) for value in e]


def softmax_v3(row):
    top = max(row)
    e = [V3_LUT[-clamp((s - top) >> 8, -127, 0)] for s in row]
    total = max(1, sum(e) >> 10)
    return [min(127, (value >> 10) * 127 // total) for value in e]


def softmax_lut(row):
    top = max(row)
    e = []
    for s in row:
        x = s - top
        if x < -128:
            x = -128
        e.append(EXP_LUT[x + 128])
    total = sum(e)
    return [min(127, value * 127 // total) for value in e]


def output_floor(total):
    return clamp(total >> 7, -128, 127)


def output_rounded(total):
    return clamp((total + (64 if total >= 0 else -64)) >> 7, -128, 127)


MODELS = {
    "v0": (True, softmax_v0, output_floor),
    "v1": (True, softmax_v1, output_rounded),
    "v3": (False, softmax_v3, output_rounded),
    "lut": (True, softmax_lut, output_floor),
}


def stages(name, q, k, v, shift):
    """Scores, weights and output of lists of rows."""
    clamped, softmax, narrow = MODELS[name]
    scores = [score_row(q_row, k, shift, clamped) for q_row in q]
    weights = [softmax(row) for row in scores]
    columns = list(zip(*v, strict=True))
    output = [[narrow(dot(row, column)) for column in columns] for row in weights]
    return scores, weights, output
