/*
 * Owns:     the one constant that turns a host-physical address into a pointer.
 * Promises: direct(hpa) is valid for hypervisor-owned and write-back frames that are in the direct map
 *           (hv/mem/space.h says which).
 * Needs:    HV_DIRECT_BASE: the image's direct map; host tests map their fake memory at their own base.
 * Never:    used on a frame whose type is not write-back, or on device memory.
 */
#ifndef HV_BASE_DIRECT_H
#define HV_BASE_DIRECT_H

#include "hv/base/types.h"

#ifndef HV_DIRECT_BASE
#define HV_DIRECT_BASE 0xffff800000000000ull
#endif
#define HV_DIRECT_BYTES GIB(65536ull) /* 64 TiB: PML4 slots 256 to 383 */

static inline void *direct(hpa_t hpa)
{
    return (void *)(uintptr_t)(HV_DIRECT_BASE + hpa.v);
}

static inline hpa_t direct_to_hpa(const void *p)
{
    return HPA((uint64_t)(uintptr_t)p - HV_DIRECT_BASE);
}

#endif
