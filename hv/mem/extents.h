/*
 * Owns:     runs of frames keyed by section page, with holes where a reserved section has no frames yet.
 * Promises: runs that continue each other in both pages and frames are one; extents_fill() gives every frame
 *           zeroed, out of the direct map and with no line of it in a cache, or changes nothing.
 * Needs:    frames, slab, window, space (direct map).
 * Never:    a lock: runs that others may see are read and joined with section_lock held.
 */
#ifndef HV_MEM_EXTENTS_H
#define HV_MEM_EXTENTS_H

#include "hv/base/status.h"
#include "hv/base/tree.h"

struct extents {
    struct tree runs;
    uint64_t pages; /* that have frames */
};

/*
 * The frame of a page: true, and how many pages from it on follow contiguously. False: a hole, and how many
 * pages of hole there are (up to 2^64 - 1 - page behind the last run).
 */
bool extents_find(const struct extents *extents, uint64_t page, hpa_t *frame, uint64_t *run_pages);

/* Name frames that are somebody else's for pages of a hole. HV_E_NO_MEMORY. */
hv_status_t extents_add(struct extents *extents, uint64_t page, hpa_t base,
                        uint64_t pages) MUST_CHECK;

/*
 * New frames for pages of a hole. `attributes`: HV_SEC_CONTIGUOUS makes them one run, HV_SEC_LARGE_PAGES (page and
 * pages on 2 MiB) makes every 2 MiB one aligned 2 MiB of memory. HV_E_COMMITMENT_LIMIT, HV_E_NO_MEMORY.
 */
hv_status_t extents_fill(struct extents *extents, uint64_t page, uint64_t pages,
                         uint32_t attributes) MUST_CHECK;

/* Everything of `from`, which lies in holes of `to`, goes over. Cannot fail. */
void extents_join(struct extents *to, struct extents *from);

/* The frames of extents_fill() go back to the direct map and the allocator. */
void extents_release(struct extents *extents);

/* The records go, the frames of extents_add() stay as they are. */
void extents_forget(struct extents *extents);

void extents_trim(void); /* see section_trim() */

#endif
