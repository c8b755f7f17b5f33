/*
 * Owns:     fake physical memory, so that direct(hpa) works in a host test.
 * Promises: zero at the start, untouched pages cost nothing; an access beyond the end faults.
 * Needs:    -DHV_DIRECT_BASE=0x200000000000ull: free address space of a Linux process, under ASan too.
 *           Shared, so that it can be mapped a second time (tests/fake/view_ram.c).
 * Never:    at or above FAKE_PHYS_LIMIT: tests/fake/blocks.h lives there.
 */
#ifndef TESTS_FAKE_PHYS_H
#define TESTS_FAKE_PHYS_H

#include "hv/base/direct.h"
#include "hv/base/types.h"

#define FAKE_PHYS_LIMIT GIB(1024ull)

/* Map host-physical [0, bytes). Aborts when the address space is taken. */
void fake_phys_init(uint64_t bytes);

/* All zero again. */
void fake_phys_reset(void);

void fake_phys_fini(void);

#endif
