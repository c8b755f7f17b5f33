/*
 * Owns:     what leaves.c and edges.c share: where a BAR's pages are, and large leaves that reach over ranges.
 * Promises: a range that can be destroyed is one that can be cut out of its leaf: the tables for that are reserved.
 * Needs:    hv/pci/range.h. Callers hold vm->tables_lock, and section_lock or the device's.
 * Never:    included elsewhere.
 */
#ifndef HV_PCI_LEAVES_H
#define HV_PCI_LEAVES_H

#include "hv/pci/range.h"

static inline uint64_t bar_pages(const struct hv_bar_state *bar)
{
    return bar->bytes >> PAGE_SHIFT;
}

static inline struct vm *vm_of(const struct hv_bar_state *bar)
{
    return bar->device->host->vm;
}

/* The guest-physical address of a BAR page. */
static inline uint64_t address_of(uint64_t base, uint64_t page)
{
    return base + (page << PAGE_SHIFT);
}

/* Put the largest leaf that it allows in the place of the tables around a page. */
void edges_join(struct hv_bar_state *bar, uint64_t page, struct pt_flush *flush);

/*
 * Ranges that begin in [first, end] hold again what the leaves that they lie in now demand: a change that says what a large
 * leaf says already leaves that in place. Its tables come out of the change's, which was reserved for cutting there.
 */
void edges_settle(struct hv_bar_state *bar, uint64_t first, uint64_t end,
                  struct leaves_change *change);

/* What a range holds is the change's. */
void edges_release(struct hv_range *range, struct leaves_change *change);

/* Likewise, of all that begin in [first, end]: their edges are about to be cut, or are no edges any more. */
void edges_release_all(struct hv_bar_state *bar, uint64_t first, uint64_t end,
                       struct leaves_change *change);

#endif
