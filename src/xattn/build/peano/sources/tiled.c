/* The arithmetic of baseline.c in two tiles of rows, each stage over a whole tile before the next. Buffers as there. */
#include "parabola.h"
#define EXPONENTIAL parabola
#include "scalar_attention.h"

enum { TILES = 2, ROWS = TOKENS / TILES };

void XATTN_KERNEL(const int8_t *qkv, int8_t *out, int32_t shift) {
    static int8_t scores[ROWS][TOKENS], weights[ROWS][TOKENS];
    for (int first = 0; first < TOKENS; first += ROWS) {
        for (int i = 0; i < ROWS; i++)
            scores_of_row(qkv + (first + i) * WIDTH, qkv + BLOCK, scores[i], shift);
        for (int i = 0; i < ROWS; i++)
            softmax_row(scores[i], weights[i]);
        for (int i = 0; i < ROWS; i++)
            weighted_sum_row(weights[i], qkv + 2 * BLOCK, out + (first + i) * WIDTH);
    }
}
