/*
 * Owns:     the real views and I/O space in a world of pci_world.h, in place of tests/fake/view_*.c.
 * Promises: addresses, tables and types as in the image; only the TLB is fake.
 * Needs:    tests/fake/space.h.
 * Never:    linked together with tests/fake/view_ram.c.
 */
#ifndef TESTS_UNIT_PCI_VIEWS_H
#define TESTS_UNIT_PCI_VIEWS_H

/* Once per program; more does no harm. All memory is uncached for the MTRRs. */
void pci_views_open(void);

#endif
