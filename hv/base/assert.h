/*
 * Owns:     ASSERT, for what only a bug of ours can break. Always on.
 * Promises: a failed assertion never returns.
 * Needs:    assert_fail(): the image panics, a host test aborts.
 * Never:    used on anything that a guest or a caller of the API controls.
 */
#ifndef HV_BASE_ASSERT_H
#define HV_BASE_ASSERT_H

#include "hv/base/types.h"

NORETURN void assert_fail(const char *expr, const char *file, int line);

#define ASSERT(expr)                                \
    do {                                            \
        if (UNLIKELY(!(expr)))                      \
            assert_fail(#expr, __FILE__, __LINE__); \
    } while (0)

#endif
