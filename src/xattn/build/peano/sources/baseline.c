/* Attention row by row: scores, softmax, weighted sum. qkv: Q, K, V row-major, one after the other; out: O row-major. */
#include "parabola.h"
#define EXPONENTIAL parabola
#include "scalar_attention.h"

void XATTN_KERNEL(const int8_t *qkv, int8_t *out, int32_t shift) {
    static int8_t scores[TOKENS], weights[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        scores_of_row(qkv + i * WIDTH, qkv + BLOCK, scores, shift);
        softmax_row(scores, weights);
        weighted_sum_row(weights, qkv + 2 * BLOCK, out + i * WIDTH);
    }
}
