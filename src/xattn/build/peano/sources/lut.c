/* baseline.c with a table in place of the parabola: exp_lut.h, which xattn makes. Buffers as in baseline.c. */
#include "exp_lut.h"

#include <stdint.h>

static inline int32_t table(int32_t below) {
    return EXP_LUT[128 - (below < 128 ? below : 128)];
}

#define EXPONENTIAL table
#include "scalar_attention.h"

void XATTN_KERNEL(const int8_t *qkv, int8_t *out, int32_t shift) {
    static int8_t scores[TOKENS], weights[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        scores_of_row(qkv + i * WIDTH, qkv + BLOCK, scores, shift);
        softmax_row(scores, weights);
        weighted_sum_row(weights, qkv + 2 * BLOCK, out + i * WIDTH);
    }
}
