/*
 * Owns:     the map from guest-physical addresses to those who answer for them.
 * Promises: lookup is a compare with the last hit, else a binary search; regions never overlap; the hot
 *           keys lie apart from the handlers.
 * Needs:    the caller's lock for changes.
 * Never:    knows PCI.
 */
#ifndef HV_MMIO_REGION_H
#define HV_MMIO_REGION_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define MMIO_MAX_REGIONS 256u
#define MMIO_NONE        MMIO_MAX_REGIONS

/*
 * Who answers. `offset` is from the region's first byte; bytes is 1, 2, 4 or 8 and the piece is naturally
 * aligned. A read returns its value in the low bytes.
 */
struct mmio_handler {
    uint64_t (*read)(void *owner, uint64_t offset, unsigned bytes);
    void (*write)(void *owner, uint64_t offset, unsigned bytes, uint64_t value);
    void *owner;
    /*
     * In place of `write` for a write that is one piece and so whole: a doorbell may take it. It may change while the
     * region is there: load it once.
     */
    void (*write_whole)(void *owner, uint64_t offset, unsigned bytes, uint64_t value);
    /* Naturally aligned pieces of 16 bytes up to wide_bytes. NULL and 0: they come as pieces of 8. */
    void (*read_wide)(void *owner, uint64_t offset, unsigned bytes, void *value);
    void (*write_wide)(void *owner, uint64_t offset, unsigned bytes, const void *value);
    uint32_t wide_bytes; /* 0, 16, 32 or 64 */
    bool has_leaves;     /* second-level leaves may lie in the region: a fault may be over by now */
} ALIGNED(64);           /* so that an index is a shift */

/* [start, start + bytes). The length and not the end: a region may reach the top of the address space. */
struct mmio_key {
    uint64_t start; /* guest-physical */
    uint64_t bytes;
};

struct mmio_map {
    unsigned count;
    struct mmio_key key[MMIO_MAX_REGIONS]; /* sorted by start; [count..) is unused */
    struct mmio_handler handler[MMIO_MAX_REGIONS];
};

/*
 * *handler is copied. In this order: HV_E_INVALID_PARAMETER: empty, or goes on past 2^64.
 * HV_E_CONFLICTING_ADDRESSES: overlaps a region. HV_E_QUOTA: full.
 */
hv_status_t mmio_region_add(struct mmio_map *map, gpa_t start, uint64_t bytes,
                            const struct mmio_handler *handler) MUST_CHECK;

/* HV_E_NOT_FOUND: no region starts exactly there. */
hv_status_t mmio_region_remove(struct mmio_map *map, gpa_t start);

/*
 * Does region `at` hold gpa? `at` may be any number: it counts only if it is right now. One subtraction and one
 * comparison, and no end to overflow: below the region the difference wraps to something at least as large as
 * 2^64 - start, which is no less than any length that fits there.
 */
static inline bool mmio_region_holds(const struct mmio_map *map, unsigned at, gpa_t gpa)
{
    return at < map->count && gpa.v - map->key[at].start < map->key[at].bytes;
}

/*
 * The index of the region that holds gpa, or MMIO_NONE. A hit is stored in *last. The index is good until the next add or
 * remove: a handler may cause one, so copy what you need of the map before you call it.
 */
COLD unsigned mmio_region_search(const struct mmio_map *map, gpa_t gpa, unsigned *last);

/* The same, with *last (any value) as the first guess. */
static inline unsigned mmio_region_find(const struct mmio_map *map, gpa_t gpa, unsigned *last)
{
    return LIKELY(mmio_region_holds(map, *last, gpa)) ? *last : mmio_region_search(map, gpa, last);
}

/*
 * The next naturally aligned piece of an access: a power of two of at most `most` bytes, no larger than what is
 * left and than the alignment of `address` allows.
 */
static inline unsigned mmio_piece_bytes(uint64_t address, unsigned left, unsigned most)
{
    unsigned align = (unsigned)((address | most) & -(address | most));
    unsigned piece = most;

    while (piece > left || piece > align)
        piece >>= 1;
    return piece;
}

#endif
