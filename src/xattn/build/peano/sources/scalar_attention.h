/* Integer attention one number at a time, for any C11 compiler.
 *
 * To be defined when compiling: XATTN_TOKENS and XATTN_WIDTH, the shape of Q, K, V and O, and XATTN_KERNEL, the name of
 * the kernel's function. A source that includes this defines EXPONENTIAL first: what stands for exp of a score that lies
 * so far below the largest of its row.
 *
 * There is no library on a core: nothing here divides, nor calls memcpy or memset. Its stack has 1,024 bytes: arrays are
 * static. They are written before they are read, since no loader of a core clears them.
 */
#ifndef XATTN_SCALAR_ATTENTION_H
#define XATTN_SCALAR_ATTENTION_H

#include <stdint.h>

enum {
    TOKENS = XATTN_TOKENS,
    WIDTH = XATTN_WIDTH,
    BLOCK = TOKENS * WIDTH, /* bytes of one of Q, K, V, O */
    LARGEST_WEIGHT = 127,
    QUOTIENT_BITS = 13, /* LARGEST_WEIGHT * 64, the largest numerator, is below 2^13 */
    OUTPUT_SHIFT = 7
};

static inline int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int8_t to_int8(int32_t value) {
    return (int8_t)clamp(value, INT8_MIN, INT8_MAX);
}

/* numerator / denominator, rounded down, for 0 <= numerator < 2^QUOTIENT_BITS: one bit of the quotient a turn. */
static inline int32_t quotient(int32_t numerator, int32_t denominator) {
    int32_t rest = 0, result = 0;
    for (int bit = QUOTIENT_BITS - 1; bit >= 0; bit--) {
        rest = 2 * rest + (numerator >> bit & 1);
        result *= 2;
        if (rest >= denominator) {
            rest -= denominator;
            result += 1;
        }
    }
    return result;
}

/* scores[j] = (query . key j) >> shift, clamped to 8 bits. */
static inline void scores_of_row(const int8_t *query, const int8_t *keys, int8_t *scores, int32_t shift) {
    for (int j = 0; j < TOKENS; j++) {
        int32_t total = 0;
        for (int c = 0; c < WIDTH; c++)
            total += query[c] * keys[j * WIDTH + c];
        scores[j] = to_int8(total >> shift);
    }
}

/* weights[j] = 127 e(j) / (sum of all e), rounded down, e(j) = EXPONENTIAL(largest score - scores[j]), from 0 to 64. */
static inline void softmax_row(const int8_t *scores, int8_t *weights) {
    static int32_t exponentials[TOKENS];
    int32_t largest = INT8_MIN, total = 0;
    for (int j = 0; j < TOKENS; j++)
        largest = scores[j] > largest ? scores[j] : largest;
    for (int j = 0; j < TOKENS; j++) {
        exponentials[j] = EXPONENTIAL(largest - scores[j]);
        total += exponentials[j];
    }
    for (int j = 0; j < TOKENS; j++)
        weights[j] = (int8_t)clamp(quotient(LARGEST_WEIGHT * exponentials[j], total), 0, LARGEST_WEIGHT);
}

/* out[c] = (sum over j of weights[j] * values[j][c]) >> 7, clamped to 8 bits. */
static inline void weighted_sum_row(const int8_t *weights, const int8_t *values, int8_t *out) {
    for (int c = 0; c < WIDTH; c++) {
        int32_t total = 0;
        for (int j = 0; j < TOKENS; j++)
            total += weights[j] * values[j * WIDTH + c];
        out[c] = to_int8(total >> OUTPUT_SHIFT);
    }
}

#endif
