/*
 * Owns:     numbers written in digits, as configuration and options have them.
 * Promises: bases up to 16, letters of either case; what does not fit into 64 bits is refused.
 * Needs:    base types.
 * Never:    prefixes, units, blanks: the caller's.
 */
#ifndef HV_BASE_DIGITS_H
#define HV_BASE_DIGITS_H

#include "hv/base/types.h"

#define DIGIT_NONE 16u

static inline unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 0x20; /* lower case */
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : DIGIT_NONE;
}

/* Digits from *text on, which ends up behind the last. False: there is none, or they are too many. */
static inline bool digits_read(const char **text, unsigned base, uint64_t *number)
{
    const char *at = *text;
    uint64_t value = 0;
    unsigned digit;

    for (; (digit = digit_of(*at)) < base; at++) {
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (at == *text)
        return false;
    *text = at;
    *number = value;
    return true;
}

#endif
