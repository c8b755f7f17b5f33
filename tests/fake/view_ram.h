/*
 * Owns:     guest RAM in the hypervisor's space (hv/mem/view.h), for host tests of hv/pci.
 * Promises: a mapping is the same memory at another address, read-only when asked for; no address is given out twice, and
 *           an access after the unmap faults; the n-th mapping can be made to fail.
 * Needs:    tests/fake/phys.h.
 * Never:    linked together with hv/mem/view.c. The other calls of hv/mem/view.h: view_calls.h.
 */
#ifndef TESTS_FAKE_VIEW_RAM_H
#define TESTS_FAKE_VIEW_RAM_H

#include "hv/mem/view.h"

/* Pages of all mappings that are live. */
extern uint64_t fake_view_pages;

/* The n-th view_map_ram() from now (1 = the next) answers HV_E_NO_MEMORY, once. 0: none does. */
void fake_view_fail(unsigned nth);

/* ---- for view_calls.c ---- */

/* What view_live_count() answers. */
extern uint64_t fake_view_live;

/* Addresses that nobody had before, inaccessible, with an inaccessible page behind them. */
uint8_t *fake_view_addresses(uint64_t bytes);

/* True when the address lies in guest RAM that is mapped now. */
bool fake_view_ram_at(const void *address, bool *read_only);

#endif
