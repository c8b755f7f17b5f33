/*
 * Owns:     caches of small records of one size.
 * Promises: slab_alloc gives zeroed memory or NULL, slab_take memory as it is; wholly free pages go back to the frame allocator,
 *           except one that is kept warm while no other page has a free record; a double free and a
 *           foreign free are asserted.
 * Needs:    hv_frames and the direct map.
 * Never:    records larger than 2000 bytes.
 */
#ifndef HV_MEM_SLAB_H
#define HV_MEM_SLAB_H

#include "hv/base/lock.h"
#include "hv/base/types.h"

struct slab_page; /* in slab.c */

struct slab {
    const char *name;
    uint16_t record_bytes;
    struct lock lock;          /* a leaf lock */
    struct slab_page *partial; /* pages with a free record, doubly linked */
    uint64_t live;             /* records handed out */
    uint64_t pages;            /* frames held */
};

#define SLAB_INIT(n, type)                                                    \
    {                                                                         \
        .name = (n), .record_bytes = (uint16_t)((sizeof(type) + 15) & ~15ull) \
    }

void *slab_alloc(struct slab *slab);
void *slab_take(struct slab *slab);              /* for whoever sets every member anyway */
void slab_free(struct slab *slab, void *record); /* NULL is fine */

/* Give the warm page back too: for leak accounting. */
void slab_trim(struct slab *slab);

#endif
