/*
 * Owns:     section-backed ranges: records keyed by (device, BAR, page), and their leaves.
 * Promises: a page's leaf is present exactly when its BAR is live and a range holds it; a failed call
 *           changes nothing; BAR moves re-derive the leaves from the records.
 * Needs:    ept (tables), mem (sections, ledger), the device's lock.
 * Never:    entry bits, config space.
 *
 *    hv_mmio_range_create:  check -> reserve (record, ledger edges, tables) -> commit -> flush -> release
 */
#ifndef HV_PCI_RANGE_H
#define HV_PCI_RANGE_H

#include "hv/mem/mapping.h"
#include "hv/pci/bus.h"

/* A run of contiguous frames of a range. */
struct hv_run {
    hpa_t frame;
    uint64_t pages;
    struct hv_run *next;
};

/*
 * One range. Lock: the device's. Owner of a reference to its section and of its frames' ledger entries.
 * Its leaves are in the tables while its BAR is live.
 */
struct hv_range {
    struct tree_node node; /* key: first BAR page */
    uint64_t pages;
    uint64_t section_page;
    struct section *section;
    uint32_t flags;      /* enum hv_mmio_flags, as created */
    struct pt_attr attr; /* what its leaves say; attr.memtype is the type in force */
    uint64_t trapped_writes;
    struct mapping types;
    struct hv_run run; /* the first run of its frames; mostly the only one */
};

/*
 * The leaves of all ranges of a BAR: into the tables at `base`, and out of them at bar->live_base. Caller holds
 * the device's lock and vm->tables_lock, and flushes. HV_E_NO_MEMORY: nothing changed.
 */
hv_status_t ranges_activate(struct hv_bar_state *bar, uint64_t base,
                            struct pt_flush *flush) MUST_CHECK;
void ranges_deactivate(struct hv_bar_state *bar, struct pt_flush *flush);

/* The range that holds a BAR page, or NULL. Caller holds the device's lock. */
struct hv_range *range_find(const struct hv_bar_state *bar, uint64_t bar_page);

/* Leaves of the range by level, none while its BAR is not live: inspect.c. Caller holds the device's lock. */
void range_leaves(const struct hv_bar_state *bar, const struct hv_range *range,
                  uint64_t leaves[PT_LEVELS]);

/* Destroy every range of the device and log each: teardown. Returns how many there were. */
uint64_t range_destroy_all(struct hv_device *device);

#endif
