/*
 * Owns:     the copy of one piece of an access.
 * Promises: 1, 2, 4 and 8 bytes are one load and one store each, which another CPU cannot see half of when they are
 *           naturally aligned (the compiler does not split a volatile access of these sizes).
 * Needs:    hv/base/string.h for other lengths.
 * Never:    overlapping memory.
 */
#ifndef HV_BASE_PIECE_H
#define HV_BASE_PIECE_H

#include "hv/base/string.h"

/* One end of a copy may be an ordinary buffer at any address. */
typedef uint16_t __attribute__((aligned(1), may_alias)) piece16_t;
typedef uint32_t __attribute__((aligned(1), may_alias)) piece32_t;
typedef uint64_t __attribute__((aligned(1), may_alias)) piece64_t;

static inline void piece_copy(void *to, const void *from, uint64_t bytes)
{
    switch (bytes) {
    case 1:
        *(volatile uint8_t *)to = *(const volatile uint8_t *)from;
        break;
    case 2:
        *(volatile piece16_t *)to = *(const volatile piece16_t *)from;
        break;
    case 4:
        *(volatile piece32_t *)to = *(const volatile piece32_t *)from;
        break;
    case 8:
        *(volatile piece64_t *)to = *(const volatile piece64_t *)from;
        break;
    default:
        memcpy(to, from, bytes);
        break;
    }
}

#endif
