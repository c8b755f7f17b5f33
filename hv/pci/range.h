/*
 * Owns:     section-backed ranges: records keyed by (device, BAR, page), and their leaves.
 * Promises: a page's leaf is present exactly when its BAR is live and a range holds it; a failed call
 *           changes nothing; BAR moves re-derive the leaves from the records.
 * Needs:    ept (tables), mem (sections, ledger), the device's lock.
 * Never:    entry bits, config space.
 *
 *    hv_mmio_range_create:  check -> reserve (record, ledger nodes, tables) -> commit -> flush -> release
 */
#ifndef HV_PCI_RANGE_H
#define HV_PCI_RANGE_H

#include "hv/mem/ledger.h"
#include "hv/pci/bus.h"

/* One range. Lock: the device's. Owner of a reference to its section and of its frames' ledger entries. */
struct hv_range {
    struct tree_node node; /* key: first BAR page */
    uint64_t pages;
    uint64_t section_page;
    struct section *section;
    uint32_t flags;
    uint8_t memtype; /* enum memtype, in force */
    bool live;
    uint64_t trapped_writes;
};

/* Bring every range of a BAR into the tables at bar->live_base; the tables were reserved. */
hv_status_t range_reserve_all(struct hv_bar_state *bar, uint64_t base, uint64_t *tables) MUST_CHECK;
void range_activate_all(struct hv_bar_state *bar);
void range_deactivate_all(struct hv_bar_state *bar);

/* The range that holds a BAR page, or NULL. */
struct hv_range *range_find(const struct hv_bar_state *bar, uint64_t bar_page);

/* Destroy every range of the device: teardown. Returns how many there were. */
uint64_t range_destroy_all(struct hv_device *device);

#endif
