"""The native program of sound attention: the integer steps of `xattn.numerics.sound`, for one CPU, as LLVM IR.

Key blocks are laid out for dot products of four bytes (`pack_keys`, `pack_values`); a task takes 32 query rows through
all key blocks, four rows at a time: scores, weights, weighted sums, while everything stays in the first-level cache.

A row's reference rises only where a score reaches it. That is tested with one comparison; the rest is rare.
"""

from __future__ import annotations

from xattn.cpu.emit import Code, Value, Variable
from xattn.cpu.target import BYTES, INT16, INT32, Target
from xattn.numerics.sound.block import BLOCK
from xattn.numerics.sound.steps import BIAS, MASKED_SCORE, MAX_RESCALE, MIN_REFERENCE, OCTAVE

WIDTH = 64
TASK_ROWS = 32
GROUP = 4  # rows that share what is loaded of K and V
PARTS = 4  # vectors of 16 keys, or of 16 columns
QUAD = 4  # bytes that one lane's dot product takes
STEPS = 16  # of four bytes in 64
PACKED = BLOCK * WIDTH

PARAMETERS = (
    "q",  # [heads, rows, 64] int8, rows filled up to whole tasks
    "correction",  # [heads, rows] int32: -128 times the row sums of q, for keys are stored plus 128
    "k",  # [heads, key blocks, 4096] uint8, packed
    "v",  # [heads, key blocks, 4096] int8, packed
    "visible",  # [heads, key blocks] uint64: which keys of a block may be attended to, in the order of packed scores
    "before",  # [65] uint64: the first n keys of a block, in that order
    "shift",  # [heads] int32
    "dither",  # [64] int16, in the order of packed scores
    "accumulator",  # [32, 64] int32, scratch
    "partial_sums",  # [32, 16] int32, scratch: the running sum is that of all lanes
    "weights",  # [4, 64] uint8, scratch
    "reference",  # [heads, rows] int32, out
    "running_sum",  # [heads, rows] int32, out
    "state",  # [heads, rows, 64] int32, out; 0: not wanted
    "out",  # [heads] addresses of float rows; 0: not wanted
    "out_stride",  # bytes from row to row
    "out_double",  # 1: float64, 0: float32
    "v_scale",  # [heads, 64] float64
    "queries",
    "rows",
    "key_blocks",
    "diagonal",  # 1: start on the diagonal
    "causal",  # 1: keys up to query + offset only
    "offset",
)
"""What `attend` is given, as an array of int64 (addresses and numbers)."""


def attend(target: Target) -> Code:
    """`attend(parameters, first, last)`: tasks of 32 query rows; task t is head t // tasks, rows 32 (t % tasks) on."""
    return _Attend(target).code


class _Attend:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.code = code = Code("attend", [("ptr", "parameters"), ("i64", "first"), ("i64", "last")])
        parameters = code.arguments["parameters"]
        self.given = {name: code.load("i64", code.at(parameters, bytes_=8 * i)) for i, name in enumerate(PARAMETERS)}
        tasks = code.binary("sdiv", self.given["rows"], TASK_ROWS)
        with code.loop(code.arguments["first"], code.arguments["last"]) as task:
            self.head = code.binary("sdiv", task, tasks)
            self.first_row = code.binary("srem", task, tasks) * TASK_ROWS
            self.place = self.head * self.given["rows"] + self.first_row
            self._task()

    def _address(self, name: str, offset: Value) -> Value:
        return self.code.at(self.code.convert("inttoptr", self.given[name], "ptr"), bytes_=offset)

    def _task(self) -> None:
        code = self.code
        self.shift = code.splat(code.load("i32", self._address("shift", self.head * 4)), 16)
        self.references = self._address("reference", self.place * 4)
        self.accumulators = code.convert("inttoptr", self.given["accumulator"], "ptr")
        self.sums = code.convert("inttoptr", self.given["partial_sums"], "ptr")
        with code.loop(0, TASK_ROWS) as row:
            code.store(code.constant("i32", MIN_REFERENCE), code.at(self.references, bytes_=row * 4))
            code.store(code.constant(INT32, 0), code.at(self.sums, bytes_=row * 64))
            for part in range(PARTS):
                code.store(code.constant(INT32, 0), code.at(self.accumulators, bytes_=row * 256 + 64 * part))
        self._blocks()
        self._finish()

    def _blocks(self) -> None:
        code, blocks = self.code, self.given["key_blocks"]
        own = code.binary("srem", code.binary("sdiv", self.first_row, BLOCK), blocks)
        first = own * self.given["diagonal"]
        with code.loop(0, blocks) as step:
            unwrapped = first + step
            block = code.select(code.compare("slt", unwrapped, blocks), unwrapped, unwrapped - blocks)
            number = self.head * blocks + block
            visible = code.load("i64", self._address("visible", number * 8))
            last_key = self.first_row + self.given["offset"] + (TASK_ROWS - 1)
            reached = code.compare("sle", block * BLOCK, last_key)
            wanted = code.select(code.compare("eq", self.given["causal"], 0), code.compare("ne", visible, 0), reached)
            with code.when(wanted):
                self.keys = self._address("k", number * PACKED)
                self.values = self._address("v", number * PACKED)
                with code.loop(0, TASK_ROWS, GROUP) as row:
                    self._group(row, block, visible)

    def _group(self, row: Value, block: Value, visible: Value) -> None:
        """Four rows and one key block."""
        code = self.code
        dots = self._scores(row)
        weights = code.convert("inttoptr", self.given["weights"], "ptr")
        for i in range(GROUP):
            shifted = [code.binary("ashr", dot, self.shift) for dot in dots[i]]
            at = row + i
            scores = [self.target.saturate_to_int16(code, *shifted[2 * n : 2 * n + 2]) for n in range(2)]
            scores = self._masked(scores, self._visible(at, block, visible))
            self._raise_reference(at, scores)
            p = self._weights(at, scores)
            code.store(p, code.at(weights, bytes_=i * BLOCK))
            place = code.at(self.sums, bytes_=at * 64)
            code.store(self.target.dot4(code, code.load(INT32, place), p, code.constant(BYTES, 1)), place)
        self._weighted_sums(row, weights)

    def _products(self, totals: list[list[Variable]], left: Value, stride: int, right: Value, swap: bool) -> None:
        """totals += four rows of `left` times the packed matrix `right`; `swap`: the packed one is unsigned."""
        code = self.code
        with code.loop(0, STEPS) as step:
            packed = [code.load(BYTES, code.at(right, bytes_=step * 256 + 64 * part)) for part in range(PARTS)]
            for i in range(GROUP):
                quad = code.load("i32", code.at(left, bytes_=step * QUAD + stride * i))
                row = code.convert("bitcast", code.splat(quad, 16), BYTES)
                for part in range(PARTS):
                    a, b = (packed[part], row) if swap else (row, packed[part])
                    totals[i][part].set(self.target.dot4(code, totals[i][part].get(), a, b))

    def _scores(self, row: Value) -> list[list[Value]]:
        code = self.code
        place = self.place + row
        totals = []
        for i in range(GROUP):
            correction = code.load("i32", self._address("correction", (place + i) * 4))
            start = code.splat(correction, 16)
            totals.append([code.variable(INT32, start) for _ in range(PARTS)])
        self._products(totals, self._address("q", place * WIDTH), WIDTH, self.keys, swap=True)
        return [[total.get() for total in totals_of_row] for totals_of_row in totals]

    def _visible(self, row: Value, block: Value, visible: Value) -> Value:
        """The keys of the block that a row may attend to, a bit each, in the order of packed scores."""
        code = self.code
        count = self.first_row + row + self.given["offset"] - block * BLOCK + 1
        count = code.call("llvm.smax.i64", "i64", count, code.constant("i64", 0))
        count = code.call("llvm.smin.i64", "i64", count, code.constant("i64", BLOCK))
        every = code.constant("i64", BLOCK)
        count = code.select(code.compare("eq", self.given["causal"], 0), every, count)
        return visible & code.load("i64", self._address("before", count * 8))

    def _masked(self, scores: list[Value], visible: Value) -> list[Value]:
        """Scores of keys that may not be attended to become the lowest there is, whose weight is 0."""
        code = self.code
        found = []
        for n, score in enumerate(scores):
            bits = code.convert("trunc", code.binary("lshr", visible, 32 * n), "i32")
            found.append(code.select(code.convert("bitcast", bits, "<32 x i1>"), score, int(MASKED_SCORE)))
        return found

    def _raise_reference(self, row: Value, scores: list[Value]) -> None:
        """Where a score reaches the row's reference: a new reference, and the old sums in its terms."""
        code = self.code
        place = code.at(self.references, bytes_=row * 4)
        reference = code.load("i32", place)
        below = code.splat(code.convert("trunc", reference - 1, "i16"), 32)
        top = code.call("llvm.smax.v32i16", INT16, *scores)
        reached = code.convert("bitcast", code.compare("sgt", top, below), "i32")
        with code.when(code.compare("ne", reached, 0), rarely=True):
            largest = code.convert("sext", code.call("llvm.vector.reduce.smax.v32i16", "i16", top), "i32")
            raised = (largest & ~(OCTAVE - 1)) + OCTAVE
            code.store(raised, place)
            octaves = code.binary("ashr", raised - reference, OCTAVE.bit_length() - 1)
            octaves = code.call("llvm.smin.i32", "i32", octaves, code.constant("i32", MAX_RESCALE))
            amount = code.splat(octaves, 16)
            for part in range(PARTS):
                sums = code.at(self.accumulators, bytes_=row * 256 + 64 * part)
                code.store(code.binary("ashr", code.load(INT32, sums), amount), sums)
            partial = code.at(self.sums, bytes_=row * 64)
            total = code.call("llvm.vector.reduce.add.v16i32", "i32", code.load(INT32, partial))
            code.store(code.constant(INT32, 0), partial)
            code.store(code.binary("ashr", total, octaves), partial)

    def _weights(self, row: Value, scores: list[Value]) -> Value:
        """P of one row, 64 bytes in the keys' order: bfloat16 bits by one subtraction, shifted out, dithered."""
        code = self.code
        reference = code.load("i32", code.at(self.references, bytes_=row * 4))
        subtrahend = code.splat(code.convert("trunc", reference - BIAS, "i16"), 32)
        words = []
        for n, score in enumerate(scores):
            exponents = code.call("llvm.ssub.sat.v32i16", INT16, score, subtrahend)
            exponents = code.call("llvm.smax.v32i16", INT16, exponents, code.constant(INT16, 0))
            # 1.m times 2^15, shifted right by how far the exponent is below that of 1/2: floor(2^16 · bfloat16)
            mantissa = (exponents << 8) | -32768
            by = code.constant(INT16, 126) - code.binary("lshr", exponents, 7)
            dither = code.load(INT16, self._address("dither", code.constant("i64", 64 * n)))
            words.append(self.target.shift_right(code, mantissa, by) + dither)
        return self.target.high_bytes(code, *words)

    def _weighted_sums(self, row: Value, weights: Value) -> None:
        code = self.code
        totals = []
        for i in range(GROUP):
            places = [code.at(self.accumulators, bytes_=(row + i) * 256 + 64 * part) for part in range(PARTS)]
            totals.append([(place, code.variable(INT32, code.load(INT32, place))) for place in places])
        self._products([[total for _, total in row_] for row_ in totals], weights, BLOCK, self.values, swap=False)
        for row_totals in totals:
            for place, total in row_totals:
                code.store(total.get(), place)

    def _finish(self) -> None:
        """Running sums, accumulators and the quotients of both, as far as they are wanted."""
        code = self.code
        left = self.given["queries"] - self.first_row
        rows = code.select(code.compare("slt", left, TASK_ROWS), left, code.constant("i64", TASK_ROWS))
        with code.loop(0, rows) as row:
            place = self.place + row
            partial = code.load(INT32, code.at(self.sums, bytes_=row * 64))
            total = code.call("llvm.vector.reduce.add.v16i32", "i32", partial)
            code.store(total, self._address("running_sum", place * 4))
            with code.when(code.compare("ne", self.given["state"], 0)):
                for part in range(PARTS):
                    sums = code.load(INT32, code.at(self.accumulators, bytes_=row * 256 + 64 * part))
                    code.store(sums, self._address("state", place * 256 + 64 * part))
            with code.when(code.compare("ne", self.given["out"], 0)):
                self._divide(row, total)

    def _divide(self, row: Value, total: Value) -> None:
        code = self.code
        floats, doubles = "<16 x float>", "<16 x double>"
        divisor = code.select(code.compare("sgt", total, 0), total, code.constant("i32", 1))
        divisors = code.splat(code.convert("sitofp", divisor, "double"), 16)
        head = code.load("ptr", self._address("out", self.head * 8))
        line = code.at(head, bytes_=(self.first_row + row) * self.given["out_stride"])
        for part in range(PARTS):
            sums = code.load(INT32, code.at(self.accumulators, bytes_=row * 256 + 64 * part))
            scale = code.load(doubles, self._address("v_scale", self.head * 512 + 128 * part))
            quotient = code.binary("fdiv", code.convert("sitofp", sums, doubles), divisors) * scale
            is_double = code.compare("ne", self.given["out_double"], 0)
            with code.when(is_double):
                code.store(quotient, code.at(line, bytes_=128 * part))
            with code.when(is_double ^ 1):
                code.store(code.convert("fptrunc", quotient, floats), code.at(line, bytes_=64 * part))
