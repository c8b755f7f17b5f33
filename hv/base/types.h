/*
 * Owns:     the vocabulary every room shares: address types, page geometry, small helpers.
 * Promises: a guest address cannot be passed where a host address is meant.
 * Needs:    freestanding C headers only.
 * Never:    state.
 */
#ifndef HV_BASE_TYPES_H
#define HV_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Addresses, one member each so that the compiler tells them apart: guest-physical, host-physical,
 * guest-linear, hypervisor-virtual, and an EPT pointer or nested CR3 with its control bits.
 */
#define ADDRESS_TYPE(name) \
    typedef struct {       \
        uint64_t v;        \
    } name
ADDRESS_TYPE(gpa_t);
ADDRESS_TYPE(hpa_t);
ADDRESS_TYPE(gva_t);
ADDRESS_TYPE(hva_t);
ADDRESS_TYPE(eptp_t);
#undef ADDRESS_TYPE

#define GPA(x)                     ((gpa_t){(x)})
#define HPA(x)                     ((hpa_t){(x)})
#define GVA(x)                     ((gva_t){(x)})
#define HVA(x)                     ((hva_t){(x)})

#define PAGE_SHIFT                 12u
#define PAGE_BYTES                 4096ull
#define PAGE_MASK                  (PAGE_BYTES - 1)
#define LARGE_PAGES                512ull            /* 4 KiB pages in a 2 MiB page */
#define HUGE_PAGES                 (512ull * 512ull) /* 4 KiB pages in a 1 GiB page */

#define KIB(n)                     ((uint64_t)(n) << 10)
#define MIB(n)                     ((uint64_t)(n) << 20)
#define GIB(n)                     ((uint64_t)(n) << 30)

#define MIN(a, b)                  ((a) < (b) ? (a) : (b))
#define MAX(a, b)                  ((a) > (b) ? (a) : (b))

#define ALIGN_DOWN(x, a)           ((x) & ~((__typeof__(x))(a)-1)) /* a: a power of two */
#define ALIGN_UP(x, a)             ALIGN_DOWN((x) + ((__typeof__(x))(a)-1), a)
#define IS_ALIGNED(x, a)           (((x) & ((__typeof__(x))(a)-1)) == 0)
#define IS_POW2(x)                 ((x) != 0 && ((x) & ((x)-1)) == 0)

#define ARRAY_COUNT(a)             (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, mem) ((type *)(void *)((char *)(p)-offsetof(type, mem)))

#define MUST_CHECK                 __attribute__((warn_unused_result))
#define NORETURN                   __attribute__((noreturn))
#define PRINTF_LIKE(f, a)          __attribute__((format(printf, f, a)))
#define COLD                       __attribute__((noinline, cold)) /* off the way of what is counted in instructions */
#define ALIGNED(n)                 __attribute__((aligned(n)))
#define LIKELY(x)                  __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                __builtin_expect(!!(x), 0)

/* Whole pages that cover `bytes`. */
static inline uint64_t pages_of(uint64_t bytes)
{
    return (bytes >> PAGE_SHIFT) + ((bytes & PAGE_MASK) != 0);
}

#endif
