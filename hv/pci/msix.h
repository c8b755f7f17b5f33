/*
 * Owns:     MSI-X tables and pending bits in BARs.
 * Promises: what lies in their bytes never reaches the device, and everything else does; their pages always trap.
 * Needs:    hv/pci/capability.h; the BAR's region, whose handler it stands before.
 * Never:    costs a BAR anything that has no table.
 */
#ifndef HV_PCI_MSIX_H
#define HV_PCI_MSIX_H

#include "hv/mmio/region.h"
#include "hv/pci/bus.h"

/* Is the byte of a BAR with a table part of the table or of the pending bits? */
bool msix_owns(const struct hv_bar_state *bar, uint64_t offset);

/* Do BAR pages [first, first + pages) hold any of them? */
bool msix_in_pages(const struct hv_bar_state *bar, uint64_t first, uint64_t pages);

/* Take the accesses to the table and hand on the others. */
void msix_stand_before(const struct hv_bar_state *bar, struct mmio_handler *handler);

#endif
