/*
 * Owns:     what stands behind a section: frames of its own, a boot module, a window of device memory; which RAM
 *           nobody may name.
 * Promises: backing_create() gives all frames (of a reserved section none) or changes nothing; a module's frames
 *           leave the direct map and its cache lines with its first section, and return with its last.
 * Needs:    extents, window, space (direct map).
 * Never:    handles, names, rights.
 */
#ifndef HV_MEM_BACKING_H
#define HV_MEM_BACKING_H

#include "hv/mem/extents.h"
#include "hv/mem/section.h"

enum backing_origin {
    BACKING_ANONYMOUS,
    BACKING_PHYSICAL,
    BACKING_MODULE,
};

struct backing {
    struct extents extents;
    uint64_t pages; /* of the section, with frames or without */
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
 * For a spec that backing_check() let pass. HV_E_COMMITMENT_LIMIT, HV_E_NO_MEMORY.
 * A module's frames are counted under section_lock, which backing_create() and backing_destroy() take.
 */
hv_status_t backing_create(struct backing *backing, const struct hv_section_backing *spec,
                           uint64_t pages, uint32_t attributes) MUST_CHECK;
void backing_destroy(struct backing *backing);

/* See section_frames(). */
bool backing_frames(const struct backing *backing, uint64_t page, hpa_t *frame,
                    uint64_t *run_pages);

/* True when the run touches memory that is ours or a guest's. */
bool backing_is_memory(hpa_t base, uint64_t pages);

/* See section_set_physical_limit(). */
uint64_t backing_physical_limit(void);

#endif
