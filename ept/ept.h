/*
 * Owns:     translation tables of every format: map, unmap, split, join, look up, dump.
 * Promises: a change of a live entry is one aligned 64-bit store (pt_store); a concurrent walker sees the
 *           old or the new translation of each page and never a freed table; empty entries are zero;
 *           nothing here can fail after pt_pool_reserve(pt_tables_needed()).
 * Needs:    ept/pool.h, the caller's lock, and the caller's flush of what struct pt_flush collected.
 * Never:    knows devices, sections or vendors.
 *
 *   input address   47      39 38      30 29      21 20      12 11       0
 *                  [ level 4 ][ level 3 ][ level 2 ][ level 1 ][ offset   ]
 *                      |          |          |          |
 *      root table -> entry --> entry ----> entry ----> entry --> 4 KiB frame
 *                                 |          |
 *                                 |          +--(large)--------> 2 MiB frame
 *                                 +--(large)-------------------> 1 GiB frame
 */
#ifndef EPT_EPT_H
#define EPT_EPT_H

#include "ept/format.h"
#include "ept/pool.h"

#define PT_INPUT_BITS 48u

/* Bytes covered by one entry at `level` (1..4). */
static inline uint64_t pt_span(unsigned level)
{
    return PAGE_BYTES << (9 * (level - 1));
}

#define PT_NO_TABLE (~0ull)

/* One translation tree. Owner: a VM (second level) or the hypervisor's address space (stage 1). */
struct pt_root {
    const struct pt_format *fmt;
    struct pt_pool *pool;
    hpa_t root;
    uint8_t max_level; /* largest leaf that the CPU has: 1..3 */
    uint64_t
        last_number; /* of the level-1 table that a change of one page was in last, counted from address 0, ... */
    uint64_t *
        last_table; /* ... that table, and the count of its present entries. PT_NO_TABLE: not known */
    uint16_t *last_live;
    uint64_t leaves[PT_LEVELS]; /* [level]: present leaves now; [0] unused */
    uint64_t stores;            /* entry stores since creation */
};

/*
 * The duty that changes leave behind. Zero-initialise; hand it to as many changes as you like; then make
 * every CPU that may use the root flush it if `needed`, wait for them, and call pt_flush_done(), which keeps
 * `filled`, `kept` and `taken`.
 */
struct pt_flush {
    bool needed;
    /* A change of a part left a table full of leaves: pt_joinable() may be worth asking. */
    bool filled;
    /* What was to be mapped is a part of a larger leaf that said so already, and stays. */
    bool kept;
    uint64_t taken; /* tables taken out of the pool's reservation */
    hpa_t dead;     /* chain of tables (pt_pool_link) that wait for the flush; 0 ends it */
};

/*
 * Where every store to a table goes, so that tests see every intermediate state. Link-time: the image
 * has the plain atomic store or exchange, tests record. Returns the previous value of a live entry:
 * hardware may have set A/D bits since it was read (0 when it was not live).
 */
uint64_t pt_store(uint64_t *entry, uint64_t value, bool live);

/* An empty tree. HV_E_NO_MEMORY. `max_level` is clipped to 1..3. */
hv_status_t pt_root_create(struct pt_root *root, const struct pt_format *fmt, struct pt_pool *pool,
                           unsigned max_level) MUST_CHECK;

/* Free every table. Nobody walks the tree any more. */
void pt_root_destroy(struct pt_root *root);

/*
 * An upper bound of the tables that one pt_map of [addr, addr + pages) to `frame` with leaves of at most
 * `max_level` can take, whatever is mapped there now.
 */
uint64_t pt_tables_needed(const struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
                          unsigned max_level);

/* Likewise for one pt_unmap: at most two splits at each end. */
uint64_t pt_tables_needed_unmap(const struct pt_root *root, uint64_t addr, uint64_t pages);

/* True when the table for a 4 KiB leaf at addr is there. */
bool pt_has_table(struct pt_root *root, uint64_t addr);

/* The tables that it takes to have a border at page-aligned addr: 0 when no large leaf reaches across it. */
unsigned pt_tables_cut(const struct pt_root *root, uint64_t addr);

/*
 * Map `pages` pages at page-aligned `addr` to contiguous frames from `frame`. Leaves are as large as
 * address, frame, length, attr->max_level and the root allow. What was mapped there is replaced.
 * Whole range below 2^PT_INPUT_BITS (canonical bits of stage-1 addresses are ignored).
 */
void pt_map(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
            const struct pt_attr *attr, struct pt_flush *flush);

/*
 * pt_map() of one page in two parts, for many pages with the same attributes: the leaf without its frame, and the store of
 * leaf and frame. False: not the short way, nothing was done.
 */
uint64_t pt_page_bits(const struct pt_root *root, const struct pt_attr *attr);
bool pt_put_page(struct pt_root *root, uint64_t addr, uint64_t leaf, struct pt_flush *flush);

/* Make [addr, addr + pages) not present. Splits large leaves at the ends; emptied tables leave the tree. */
void pt_unmap(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush);

/*
 * Likewise, in steps: a part of the work with at most 512 leaves, or 513 tables that leave the tree, so that a
 * lock need not be held for longer than that; the way there comes on top (a large leaf is split, an emptied table
 * goes). Returns the pages done, at least 1; the caller goes on behind them. pages is not 0. All steps of a change
 * together take no more tables than the one call does.
 */
uint64_t pt_map_step(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
                     const struct pt_attr *attr, struct pt_flush *flush);
uint64_t pt_unmap_step(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush);

/* pt_unmap() that leaves emptied tables in the tree: the same run can be mapped again without taking a table. */
void pt_unmap_keep(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush);

/*
 * True when the table of leaves of `level` - 1 around addr is full and says exactly what one leaf of `level` (2 or 3)
 * would say, and the root may have such leaves. Whether whoever mapped the parts wants them in one (their
 * attr.max_level) is not known here. A table with one page that differs is given up at once when addr is that page.
 */
bool pt_joinable(const struct pt_root *root, uint64_t addr, unsigned level);

/*
 * Put that leaf in the table's place: one store, each page keeps its translation. pt_joinable() has said true.
 * Accessed and dirty bits of the parts are kept, put together, but for those that a CPU sets in the old table
 * until the flush. To split it again takes a table. The table above may be joinable then: ask for level 2 first,
 * then for 3.
 */
void pt_join(struct pt_root *root, uint64_t addr, unsigned level, struct pt_flush *flush);

/* The flush is done everywhere: dead tables go back to the pool. */
void pt_flush_done(struct pt_root *root, struct pt_flush *flush);

/*
 * Likewise in steps, for a long chain, after the flush too: pt_flush_clean() zeroes the dead tables and needs no lock;
 * pt_flush_done_step() gives at most `tables` of them back and returns true when there are more.
 */
void pt_flush_clean(struct pt_flush *flush);
bool pt_flush_done_step(struct pt_root *root, struct pt_flush *flush, unsigned tables);

struct pt_leaf {
    struct pt_attr attr; /* attr.max_level is the leaf's level */
    uint8_t level;       /* leaf level; when absent, the level where the walk stopped */
    bool present;
    hpa_t frame;    /* of the 4 KiB page that holds addr, when present */
    uint64_t entry; /* the raw entry where the walk ended */
};

/* Walk to `addr`. Returns leaf->present. */
bool pt_lookup(const struct pt_root *root, uint64_t addr, struct pt_leaf *leaf);

/* True when the leaf of `addr` is there and has all of `rights`. */
bool pt_allows(const struct pt_root *root, uint64_t addr, uint8_t rights);

/* The walk of one address as text, an entry per level: for reports. Lines go to log_line(room). */
void pt_dump_walk(const struct pt_root *root, uint64_t addr, const char *room);

/* FNV-1a over (address, entry with A/D masked) of every present leaf: equal hash = equal translation. */
uint64_t pt_hash(const struct pt_root *root);

#endif
