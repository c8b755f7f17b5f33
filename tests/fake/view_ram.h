/*
 * Owns:     guest RAM in the hypervisor's space (hv/mem/view.h), for host tests of hv/pci.
 * Promises: a mapping is the same memory at another address, read-only when asked for; no address is given out twice, and
 *           an access after the unmap faults; the n-th mapping can be made to fail.
 * Needs:    tests/fake/phys.h.
 * Never:    linked together with hv/mem/view.c; the other calls of hv/mem/view.h.
 */
#ifndef TESTS_FAKE_VIEW_RAM_H
#define TESTS_FAKE_VIEW_RAM_H

#include "hv/mem/view.h"

/* Pages of all mappings that are live. */
extern uint64_t fake_view_pages;

/* The n-th view_map_ram() from now (1 = the next) answers HV_E_NO_MEMORY, once. 0: none does. */
void fake_view_fail(unsigned nth);

#endif
