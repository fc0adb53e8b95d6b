/* What v0 of the integer softmax has in place of exp: 64 - d + d*d / 128, d = min(below, 64). */
#ifndef XATTN_PARABOLA_H
#define XATTN_PARABOLA_H

#include <stdint.h>

static inline int32_t parabola(int32_t below) {
    int32_t distance = below < 64 ? below : 64;
    return 64 - distance + (distance * distance >> 7);
}

#endif
