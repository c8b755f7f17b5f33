/*
 * Owns:     the page-table pages: zeroed, counted, handed out only after a reservation.
 * Promises: after pt_pool_reserve(n) the next n takes cannot fail; a table returned to the pool is all
 *           zero; every table has a count of its present entries, so an emptied one is known at once.
 * Needs:    pt_block_alloc/pt_block_free (link-time; hv/mem in the image, a fake in tests) and the
 *           direct map (hv/base/direct.h).
 * Never:    shared between roots without the caller's lock.
 *
 * Tables come from blocks of 16 frames, aligned to 64 KiB: frame 0 is the block's header (free bits,
 * entry counts, links), frames 1 to 15 are tables. A table's address alone therefore finds its record.
 */
#ifndef EPT_POOL_H
#define EPT_POOL_H

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/status.h"
#include "hv/base/types.h"

#define PT_BLOCK_FRAMES 16u
#define PT_BLOCK_BYTES  (PT_BLOCK_FRAMES * PAGE_BYTES)

/* Frame 0 of a block. pool.c's, but for pt_pool_live and pt_pool_link. On a list while it has a free table. */
struct pt_block {
    struct pt_block *next;
    struct pt_block *prev;
    uint32_t free_bits; /* bit n: frame n */
    uint32_t raw_bits;  /* free and never used since the block came: not zeroed yet */
    uint16_t live[PT_BLOCK_FRAMES];
    uint64_t link[PT_BLOCK_FRAMES];
};

struct pt_pool {
    struct pt_block *partial; /* blocks with free and used tables, doubly linked */
    struct pt_block *unused;  /* blocks of free tables only, likewise */
    uint64_t unused_blocks;
    uint64_t free_tables;
    uint64_t used_tables;
    uint64_t blocks;
    uint64_t reserved; /* promised and not yet taken; free_tables >= reserved always */
};

/* Blocks of 64 KiB, aligned to 64 KiB, contents undefined. Link-time hooks. */
hv_status_t pt_block_alloc(hpa_t *block) MUST_CHECK;
void pt_block_free(hpa_t block);

/*
 * Promise `tables` more tables. HV_E_NO_MEMORY: nothing changed.
 * Every reservation is ended by pt_pool_unreserve() of what was not taken; that also gives wholly free
 * blocks back, except one that is kept warm.
 */
static inline hv_status_t pt_pool_reserve(struct pt_pool *pool, uint64_t tables) MUST_CHECK;
static inline void pt_pool_unreserve(struct pt_pool *pool, uint64_t tables);

/* The rare halves of these two: get blocks for `tables` more; give blocks back. */
hv_status_t pt_pool_grow(struct pt_pool *pool, uint64_t tables) MUST_CHECK;
void pt_pool_trim(struct pt_pool *pool);

/* Tables that are free and not promised. */
static inline uint64_t pt_pool_spare(const struct pt_pool *pool)
{
    return pool->free_tables - pool->reserved;
}

static inline hv_status_t pt_pool_reserve(struct pt_pool *pool, uint64_t tables)
{
    if (UNLIKELY(pt_pool_spare(pool) < tables)) {
        hv_status_t status = pt_pool_grow(pool, tables);

        if (status != HV_OK)
            return status;
    }
    pool->reserved += tables;
    return HV_OK;
}

static inline void pt_pool_unreserve(struct pt_pool *pool, uint64_t tables)
{
    ASSERT(tables <= pool->reserved);
    pool->reserved -= tables;
    if (UNLIKELY(pool->unused_blocks > 1))
        pt_pool_trim(pool);
}

/* Give every wholly free block back, the warm one too: for the end of a pool's life. */
void pt_pool_drain(struct pt_pool *pool);

/* Take one table out of the reservation: all zero, count 0. */
hpa_t pt_pool_take(struct pt_pool *pool);

/* Give back a table that is all zero and that no walker can reach any more. */
void pt_pool_give(struct pt_pool *pool, hpa_t table);

static inline struct pt_block *pt_pool_block(hpa_t table)
{
    return (struct pt_block *)direct(HPA(ALIGN_DOWN(table.v, PT_BLOCK_BYTES)));
}

static inline unsigned pt_pool_index(hpa_t table)
{
    return (unsigned)(table.v / PAGE_BYTES) % PT_BLOCK_FRAMES;
}

/* The number of present entries in a table; the files of the walk keep it. Any address inside the table will do. */
static inline uint16_t *pt_pool_live(hpa_t table)
{
    return &pt_pool_block(table)->live[pt_pool_index(table)];
}

/* Link word of a table that is out of the tree and waits for the flush (see struct pt_flush). */
static inline uint64_t *pt_pool_link(hpa_t table)
{
    return &pt_pool_block(table)->link[pt_pool_index(table)];
}

#endif
