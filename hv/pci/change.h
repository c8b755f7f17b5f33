/*
 * Owns:     what the files of one range call share: the call itself, and what each op of it did.
 * Promises: an op that fails has changed nothing; what follows the last op cannot fail.
 * Needs:    hv/pci/range.h.
 * Never:    included outside range.c and range_create.c.
 */
#ifndef HV_PCI_CHANGE_H
#define HV_PCI_CHANGE_H

#include "hv/pci/range.h"

/* A longer window is brought in line without section_lock, which others may wait for. */
#define CHANGE_PAGES_UNDER_SECTION_LOCK 512u

_Static_assert(sizeof(struct records_change) <= sizeof(((struct hv_mmio_op *)0)->core),
               "an op has room for what takes it back");

/* One call. Lock: the device's, and section_lock up to the leaves. */
struct change {
    struct hv_device *device;
    struct leaves_change leaves;
    uint64_t pages; /* of all windows */
    bool is_alone;  /* one op only */
    bool retypes;   /* a frame that stays mapped gets another type: no VP may run meanwhile */
    bool
        forgets; /* types were forgotten before the leaves follow: section_lock is kept until then */
    bool
        takes_held; /* an op of a batch took ranges out: what they hold may be needed by an earlier one */
    uint8_t gone_types; /* of what was forgotten: bits by enum memtype */
    /* Of the op before, which the next one often shares: nothing of it can have changed meanwhile. */
    struct hv_bar_state *bar; /* that it named, or NULL */
    struct hv_range *next;    /* the range behind its window, or NULL */
    struct section *section;  /* what `handle` gives with `flags`, or NULL */
    hv_handle_t handle;
    uint32_t flags;
};

/* Is [first, first + count) inside [0, limit)? */
static inline bool change_fits(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit - first;
}

/* An op adds two ranges at most: the one that it makes, and one that is cut in two. */
static inline bool is_near_quota(const struct hv_bar_state *bar)
{
    return UNLIKELY(bar->device->range_count + 2 > PCI_RANGES_PER_DEV);
}

/* May the device have the ranges that it has after the op? `overlap`: the first one in its window, or NULL. */
bool change_has_quota(const struct hv_bar_state *bar, const struct hv_mmio_op *op,
                      const struct hv_range *overlap);

/* Records that were reserved for an op that came to nothing. */
void change_free_reserved(struct hv_range *made, const struct records_change *records);

/* The ranges that an op took out no longer count: a later op of the batch may map their frames with another type. */
void change_forget_gone(struct change *change, struct records_change *records);

/*
 * change->next is set: the op before `ops` aimed a range of one page at another. Do the same for as many of the ops as want
 * the next range aimed at the same section in the same way, so that nothing has to be checked again but the pages.
 * Returns how many.
 */
uint64_t change_swap_more(struct change *change, struct hv_mmio_op *ops, uint64_t count);

/* Checks 3 to 9 of hv_mmio_range_create(), and the change of the records. change->bar is the op's. */
hv_status_t change_create(struct change *change, struct hv_mmio_op *op) MUST_CHECK;

#endif
