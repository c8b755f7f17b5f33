/*
 * Owns:     physical page frames: which are ours, which are free.
 * Promises: allocation by count and alignment, first fit; double free and free of foreign frames are
 *           asserted; a single frame is found without scanning from the start.
 * Needs:    regions of RAM given with frames_add(), and for each a bitmap taken out of the region itself.
 * Never:    zeroes frames (sections and the table pool do), touches a frame it does not own.
 */
#ifndef HV_MEM_FRAMES_H
#define HV_MEM_FRAMES_H

#include "hv/base/lock.h"
#include "hv/base/status.h"
#include "hv/base/types.h"

#define FRAMES_MAX_REGIONS 64u

struct frames_region {
    hpa_t base;
    uint64_t pages;
    uint64_t free_pages;
    uint64_t hint; /* lowest page that may be free */
    uint64_t
        *used; /* bitmap, 1 = used; lies in the region's own first frames, through the direct map */
};

struct frames {
    struct lock lock;
    unsigned count;
    uint64_t free_pages;
    uint64_t total_pages;                            /* as given, bitmaps included */
    struct frames_region region[FRAMES_MAX_REGIONS]; /* sorted by base */
};

extern struct frames hv_frames; /* the machine's; owner: hv/mem. Lock: its own, a leaf lock. */

/*
 * Add RAM. Its bitmap is taken from it, so it is in the direct map already. base is page-aligned, pages is
 * not 0; regions do not overlap. HV_E_QUOTA: table full.
 */
hv_status_t frames_add(struct frames *f, hpa_t base, uint64_t pages) MUST_CHECK;

/*
 * `pages` (not 0) contiguous frames whose base is a multiple of `align_pages` (a power of two).
 * HV_E_NO_MEMORY.
 */
hv_status_t frames_alloc(struct frames *f, uint64_t pages, uint64_t align_pages,
                         hpa_t *base) MUST_CHECK;

/*
 * The longest run for `pages` or fewer (at least 1), for callers that take memory in extents. A run of
 * 2 MiB or more is aligned to 2 MiB, and when it is shorter than asked for it is a multiple of 2 MiB, so
 * that the next extent can be mapped by large leaves too. HV_E_NO_MEMORY: nothing is free.
 */
hv_status_t frames_alloc_extent(struct frames *f, uint64_t pages, hpa_t *base,
                                uint64_t *got) MUST_CHECK;

/* Any part of what was allocated, also more than one allocation at once. */
void frames_free(struct frames *f, hpa_t base, uint64_t pages);

/* True when [base, base+pages) touches RAM known to the allocator, used or free. */
bool frames_owns(const struct frames *f, hpa_t base, uint64_t pages);

#endif
