/*
 * Owns:     bit and field arithmetic on constants and 64-bit words.
 * Promises: masks are uint64_t; FIELD_GET and FIELD_PREP take the mask, never a shift.
 * Needs:    hv/base/types.h.
 * Never:    hardware knowledge.
 */
#ifndef HV_BASE_BITS_H
#define HV_BASE_BITS_H

#include "hv/base/types.h"

#define BIT(n)                  (1ull << (n))
#define BITS(hi, lo)            ((~0ull >> (63 - (hi))) & (~0ull << (lo))) /* inclusive */
#define MASK_SHIFT(m)           ((unsigned)__builtin_ctzll(m))

#define FIELD_GET(mask, word)   (((uint64_t)(word) & (mask)) >> MASK_SHIFT(mask))
#define FIELD_PREP(mask, value) (((uint64_t)(value) << MASK_SHIFT(mask)) & (mask))

/* All ones of `bytes` bytes (1..8). */
static inline uint64_t ones_of(unsigned bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}

#endif
