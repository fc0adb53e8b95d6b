"""Native preparation of operands: largest magnitudes, quantization, and the packed order of keys and values."""

from __future__ import annotations

from xattn.cpu.emit import Code
from xattn.cpu.program import GROUP, PACKED, PARTS, QUAD, STEPS, WIDTH
from xattn.cpu.target import BYTES
from xattn.numerics.quantize import QMAX
from xattn.numerics.sound.block import BLOCK

_FLOATS, _DOUBLES, _INTS = "<16 x float>", "<16 x double>", "<16 x i32>"


def largest_magnitudes() -> Code:
    """`largest_magnitudes(x, rows, stride, out)`: the bits of max |x| of each of 64 columns of float32.

    As numbers the bits order as magnitudes do; what is not finite has bits from 0x7f800000 on.
    """
    code = Code("largest_magnitudes", [("ptr", "x"), ("i64", "rows"), ("i64", "stride"), ("ptr", "out")])
    x, rows, stride, out = code.arguments.values()
    largest = [code.variable(_INTS, 0) for _ in range(PARTS)]
    with code.loop(0, rows) as row:
        line = code.at(x, bytes_=row * stride)
        for part in range(PARTS):
            bits = code.load(_INTS, code.at(line, bytes_=64 * part)) & 0x7FFFFFFF
            largest[part].set(code.call("llvm.smax.v16i32", _INTS, largest[part].get(), bits))
    for part in range(PARTS):
        code.store(largest[part].get(), code.at(out, bytes_=64 * part))
    return code


def quantize_rows() -> Code:
    """`quantize_rows(x, rows, stride, scale, out)`: float32 rows of 64, over float64 scales of columns, as int8."""
    code = Code("quantize_rows", [("ptr", "x"), ("i64", "rows"), ("i64", "stride"), ("ptr", "scale"), ("ptr", "out")])
    x, rows, stride, scale, out = code.arguments.values()
    scales = [code.load(_DOUBLES, code.at(scale, bytes_=128 * part)) for part in range(PARTS)]
    with code.loop(0, rows) as row:
        line, to = code.at(x, bytes_=row * stride), code.at(out, bytes_=row * WIDTH)
        for part in range(PARTS):
            exact = code.convert("fpext", code.load(_FLOATS, code.at(line, bytes_=64 * part)), _DOUBLES)
            nearest = code.call("llvm.rint.v16f64", _DOUBLES, code.binary("fdiv", exact, scales[part]))
            above = code.call("llvm.maxnum.v16f64", _DOUBLES, nearest, code.constant(_DOUBLES, -QMAX))
            within = code.call("llvm.minnum.v16f64", _DOUBLES, above, code.constant(_DOUBLES, QMAX))
            integers = code.convert("fptosi", within, _INTS)
            code.store(code.convert("trunc", integers, "<16 x i8>"), code.at(to, bytes_=16 * part))
    return code


def row_corrections() -> Code:
    """`row_corrections(q, rows, out)`: -128 times the sum of each row of 64 int8."""
    code = Code("row_corrections", [("ptr", "q"), ("i64", "rows"), ("ptr", "out")])
    q, rows, out = code.arguments.values()
    with code.loop(0, rows) as row:
        wide = code.convert("sext", code.load(BYTES, code.at(q, bytes_=row * WIDTH)), "<64 x i32>")
        total = code.call("llvm.vector.reduce.add.v64i32", "i32", wide)
        code.store(total * -128, code.at(out, bytes_=row * 4))
    return code


def pack_keys() -> Code:
    """`pack_keys(k, blocks, out)`: blocks of 64 keys of 64 int8 → `[16 steps, 4 vectors, 16 lanes, 4 channels]` uint8.

    Lane 4r + i of vector z holds key 16r + 4z + i plus 128: packing scores to bytes gives them in their order.
    """
    code = Code("pack_keys", [("ptr", "k"), ("i64", "blocks"), ("ptr", "out")])
    k, blocks, out = code.arguments.values()
    with code.loop(0, blocks) as block, code.loop(0, PARTS) as quarter, code.loop(0, PARTS) as z:
        for i in range(4):
            key = quarter * 16 + z * 4 + i
            row = code.load("<16 x i32>", code.at(k, bytes_=block * PACKED + key * WIDTH))
            for step in range(STEPS):
                quad = code.value("i32", f"extractelement <16 x i32> {row.name}, i32 {step}")
                unsigned = quad ^ -2139062144  # 0x80 in each byte
                lane = quarter * 4 + i
                code.store(unsigned, code.at(out, bytes_=block * PACKED + z * 64 + lane * QUAD + step * 256))
    return code


def pack_values() -> Code:
    """`pack_values(v, blocks, out)`: blocks of 64 keys of 64 int8 → `[16 steps, 64 columns, 4 keys]`."""
    code = Code("pack_values", [("ptr", "v"), ("i64", "blocks"), ("ptr", "out")])
    v, blocks, out = code.arguments.values()
    with code.loop(0, blocks) as block, code.loop(0, BLOCK // GROUP) as step:
        place = block * PACKED + step * (GROUP * WIDTH)
        rows = [code.load(BYTES, code.at(v, bytes_=place + WIDTH * i)) for i in range(QUAD)]
        halves = [code.shuffle(a, b, range(128)) for a, b in (rows[:2], rows[2:])]
        packed = code.shuffle(
            halves[0], halves[1], [WIDTH * i + column for column in range(WIDTH) for i in range(QUAD)]
        )
        code.store(packed, code.at(out, bytes_=place))
    return code
