"""Matrix products in LLVM IR: general, and with the byte dot products that newer x86 CPUs have.

Both give the sums modulo the width of a lane. The dot product instruction multiplies unsigned by signed bytes; a signed
operand is therefore shifted into the unsigned range by 128, and 128 times the other operand's sum is taken off again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xattn.isa.semantics.lanes import Value
from xattn.sim.translate.ir import vector_type

if TYPE_CHECKING:
    from xattn.sim.translate.lanes import LaneCode

DOT_FEATURES = frozenset({"avx512vnni", "avx512bw", "avx512vl"})
INSTRUCTION = "llvm.x86.avx512.vpdpbusd.512"
MIDDLE = "splat (i8 128)"  # 128 unsigned, -128 signed
GROUP = 4  # products that one dot product instruction adds
REGISTER_LANES = 16


def product(code: LaneCode, value: Value) -> str:
    """The name of a `matmul` node's result."""
    bytes_ = _bytes(value) if code.writer.features >= DOT_FEATURES else None
    if bytes_ is not None:
        return _with_dot_products(code, value, *bytes_)
    return _plain(code, value)


def _plain(code: LaneCode, value: Value) -> str:
    rows, inner, cols = value.data
    x, y = value.args
    lanes, type_ = rows * cols, vector_type(rows * cols, value.bits)
    writer, total = code.writer, ""
    left, right = code.name(x), code.name(y)
    if lanes == 1 or x.lanes == 1 or y.lanes == 1:
        raise TypeError(f"matmul of {x.shape} and {y.shape} (lanes, bits)")
    for k in range(inner):
        a = writer.shuffled(left, vector_type(x.lanes, x.bits), [lane // cols * inner + k for lane in range(lanes)])
        b = writer.shuffled(right, vector_type(y.lanes, y.bits), [k * cols + lane % cols for lane in range(lanes)])
        term = writer.line(f"mul {type_} {a}, {b}")
        total = writer.line(f"add {type_} {total}, {term}") if total else term
    return total


def _bytes(value: Value) -> tuple[Value, bool, Value, bool] | None:
    """Both operands before they were widened from bytes, and whether each is signed; None for other products."""
    rows, inner, cols = value.data
    if value.bits != 32 or inner % GROUP or (rows * cols) % REGISTER_LANES or cols > REGISTER_LANES:
        return None
    found = []
    for operand in value.args:
        lanes, first = operand, 0
        if lanes.op == "take":
            first = lanes.data[0]
            if lanes.data != tuple(range(first, first + lanes.lanes)):
                return None
            lanes = lanes.args[0]
        if lanes.op not in ("sext", "zext") or lanes.args[0].bits != 8:
            return None
        narrow = lanes.args[0]
        found += [narrow if narrow.lanes == operand.lanes else narrow.part(first, operand.lanes), lanes.op == "sext"]
    return tuple(found)  # type: ignore[return-value]


def _with_dot_products(code: LaneCode, value: Value, x: Value, x_signed: bool, y: Value, y_signed: bool) -> str:
    """Each 32-bit lane adds four products at a time; registers of 16 lanes."""
    rows, inner, cols = value.data
    groups, lanes = inner // GROUP, rows * cols
    writer = code.writer
    left, right = code.name(x), code.name(y)
    # the instruction's first operand is unsigned, its second one signed
    swapped = not y_signed and x_signed
    shifted = "" if x_signed != y_signed else "x" if x_signed else "y"
    if shifted:
        type_, name = (vector_type(x.lanes, 8), left) if shifted == "x" else (vector_type(y.lanes, 8), right)
        moved = writer.line(f"xor {type_} {name}, {MIDDLE}")
        left, right = (moved, right) if shifted == "x" else (left, moved)
    # y so that the four bytes that meet one dword of x lie together: dword (group, column)
    order = [(g * GROUP + part) * cols + c for g in range(groups) for c in range(cols) for part in range(GROUP)]
    grouped = writer.shuffled(right, vector_type(y.lanes, 8), order)
    x_words = writer.line(f"bitcast {vector_type(x.lanes, 8)} {left} to {vector_type(x.lanes // 4, 32)}")
    y_words = writer.line(f"bitcast {vector_type(y.lanes, 8)} {grouped} to {vector_type(y.lanes // 4, 32)}")
    columns = [
        writer.shuffled(y_words, vector_type(y.lanes // 4, 32), [g * cols + k % cols for k in range(REGISTER_LANES)])
        for g in range(groups)
    ]
    result, count = "", 0
    for first in range(0, lanes, REGISTER_LANES):
        rows_ = [
            writer.shuffled(
                x_words,
                vector_type(x.lanes // 4, 32),
                [(first + k) // cols * groups + g for k in range(REGISTER_LANES)],
            )
            for g in range(groups)
        ]
        total = _dots(code, columns, rows_) if swapped else _dots(code, rows_, columns)
        if shifted:
            constant_ = [MIDDLE] * groups
            excess = _dots(code, constant_, columns) if shifted == "x" else _dots(code, rows_, constant_)
            total = writer.line(f"sub {vector_type(REGISTER_LANES, 32)} {total}, {excess}")
        result, count = writer.joined(result, count, total, REGISTER_LANES, 32) if count else (total, REGISTER_LANES)
    return result


def _dots(code: LaneCode, unsigned: list[str], signed: list[str]) -> str:
    type_, total = vector_type(REGISTER_LANES, 32), "zeroinitializer"
    bytes_ = vector_type(4 * REGISTER_LANES, 8)
    for a, b in zip(unsigned, signed, strict=True):
        words = [
            (bytes_, word if word is MIDDLE else code.writer.line(f"bitcast {type_} {word} to {bytes_}"))
            for word in (a, b)
        ]
        total = code.writer.line(code.writer.intrinsic(INSTRUCTION, type_, [(type_, total), *words]))
    return total
