/*
 * Owns:     the frames of sections: extents keyed by section page, boot modules, forbidden RAM.
 * Promises: backing_create() gives all frames or changes nothing; anonymous frames come zeroed, RAM frames
 *           leave the direct map and its cache lines, and return to it in backing_destroy().
 * Needs:    frames, slab, window, space (direct map).
 * Never:    handles, names, rights.
 */
#ifndef HV_MEM_BACKING_H
#define HV_MEM_BACKING_H

#include "hv/base/tree.h"
#include "hv/mem/section.h"

enum backing_origin {
    BACKING_ANONYMOUS,
    BACKING_PHYSICAL,
    BACKING_MODULE,
};

struct backing {
    struct tree extents; /* struct backing_extent; neighbours are never contiguous */
    uint64_t pages;
    enum backing_origin origin;
    uint32_t module;
};

/*
 * The backing's own checks of hv_section_create(), in its order. *bytes is max_size, or the backing's size
 * when that is 0. spec NULL: anonymous.
 */
hv_status_t backing_check(const struct hv_section_backing *spec, uint64_t max_size,
                          uint32_t attributes, uint64_t *bytes) MUST_CHECK;

/*
 * All frames, for a spec that backing_check() let pass. HV_E_COMMITMENT_LIMIT, HV_E_NO_MEMORY.
 * A module's frames are counted under section_lock, which backing_create() and backing_destroy() take.
 */
hv_status_t backing_create(struct backing *backing, const struct hv_section_backing *spec,
                           uint64_t pages, uint32_t attributes) MUST_CHECK;
void backing_destroy(struct backing *backing);

/* See section_frame(). */
hpa_t backing_frame(const struct backing *backing, uint64_t page, uint64_t *run_pages);

void backing_trim(void); /* see section_trim() */

#endif
