"""`vectorized`: Q·Kᵀ on the multiplier in 4×8×8 block products; softmax and P·V still scalar.

What the seed's first optimisation asks for, done with the instruction that does it: 256 multiply-accumulates a cycle.
Input: Q, K, V row-major in one buffer; the kernel cuts Q and K into blocks itself. Output: O row-major.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, Scalar, View, int8, int32, product
from xattn.kernels.blocks import LEFT, RIGHT, left_blocks, transposed_right_blocks
from xattn.kernels.scalar_attention import GROUP, softmax_row, weighted_sum_row

ROW_BLOCKS, KEY_BLOCKS = 4, 2  # accumulators at once: eight of the nine that there are


def vectorized(k: Kernel, tokens: int, width: int) -> None:
    """Blocks, scores by block products, then row by row softmax and weighted sum."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    shift = k.scalar("shift")
    q_blocks = k.scratch("q blocks", LEFT, (tokens // 4, width // 8))
    key_blocks = k.scratch("key blocks", RIGHT, (tokens // 8, width // 8))
    score_blocks = k.scratch("score blocks", LEFT, (tokens // 4, tokens // 8))
    left_blocks(k, q, q_blocks)
    transposed_right_blocks(k, keys, key_blocks)
    block_scores(k, q_blocks, key_blocks, score_blocks, shift)

    # the scores of row 4b + r lie in eights, one in each block of block row b
    rows = score_blocks.strided(int8, (tokens // 4, 4, tokens // 8, 8), (tokens * 4, 8, 32, 1))
    weights = k.scratch("weights", int8, (tokens // GROUP, GROUP))
    exponentials = k.scratch("exponentials", int32, (tokens // GROUP, GROUP))
    for b in k.loop(tokens // 4, name="row blocks"):
        for r in k.loop(4, name="rows"):
            softmax_row(k, rows[b, r], weights, exponentials)
            weighted_sum_row(k, weights, values, out[b * 4 + r])


def block_scores(k: Kernel, q_blocks: View, key_blocks: View, score_blocks: View, shift: Scalar) -> None:
    """score_blocks[i, j] = clamp(sum over c of q_blocks[i, c] × key_blocks[j, c] >> shift), 4×8 blocks of int8."""
    row_blocks, depth = q_blocks.shape
    k.set_control("crSat", 1)
    amount = k.shift_amount(shift)
    for i in k.loop(row_blocks // ROW_BLOCKS, name="score rows"):
        for j in k.loop(key_blocks.shape[0] // KEY_BLOCKS, name="score columns"):
            sums = [[k.accumulator() for _ in range(KEY_BLOCKS)] for _ in range(ROW_BLOCKS)]
            for c in range(depth):
                left = [q_blocks[i * ROW_BLOCKS + a, c] for a in range(ROW_BLOCKS)]
                right = [key_blocks[j * KEY_BLOCKS + b, c] for b in range(KEY_BLOCKS)]
                for a in range(ROW_BLOCKS):
                    for b in range(KEY_BLOCKS):
                        if c == 0:
                            sums[a][b].set(product(left[a], right[b]))
                        else:
                            sums[a][b] += product(left[a], right[b])
            for a in range(ROW_BLOCKS):
                for b in range(KEY_BLOCKS):
                    narrowed = k.narrow(sums[a][b], amount, int8)
                    score_blocks[i * ROW_BLOCKS + a, j * KEY_BLOCKS + b] = narrowed
    k.set_control("crSat", 0)
