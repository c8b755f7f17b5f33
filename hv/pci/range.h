/*
 * Owns:     section-backed ranges: records keyed by (device, BAR, page), and their leaves.
 * Promises: a page's leaf is present exactly when its BAR is live and decodes it, a range holds it and its section
 *           has a frame for it; a failed call changes nothing; BAR moves re-derive the leaves from the records.
 * Needs:    ept (tables), mem (sections, mappings), the device's lock.
 * Never:    entry bits, config space.
 *
 *    range.c         the calls: order, and the life of a change
 *    range_create.c  a new range: checks, memory type, what it replaces
 *    records.c       what the records say, and how to take it back
 *    leaves.c        tables that say what the records say
 *    edges.c         large leaves that reach over several ranges
 */
#ifndef HV_PCI_RANGE_H
#define HV_PCI_RANGE_H

#include "hv/mem/mapping.h"
#include "hv/pci/bus.h"

/*
 * One range. Owner of a reference to its section and of its entry in the section's ledger. Locks: the device's to
 * read; to write, section_lock as well, since hv_section_commit() comes from there.
 */
struct hv_range {
    struct tree_node node; /* key: first BAR page */
    struct mapping map;    /* its pages, and where they are in the section */
    struct hv_bar_state *bar;
    struct pt_attr attr; /* what its leaves say; attr.memtype is the type in force */
    uint32_t flags;      /* enum hv_mmio_flags, as created */
    bool listed;         /* in its BAR's tree */
    bool typed;          /* map is entered in its section's ledger */
    uint8_t held;        /* tables that it keeps reserved: leaves.c. Lock: vm->tables_lock */
    uint64_t promised;   /* tables reserved for the commit that is going on. Lock: section_lock */
    uint64_t trapped_writes;
    struct hv_range *next; /* of a chain: once it is out of the tree */
};

static inline struct hv_range *range_of(struct tree_node *node)
{
    return node ? CONTAINER_OF(node, struct hv_range, node) : NULL;
}

/* One behind the last BAR page. */
static inline uint64_t range_end(const struct hv_range *range)
{
    return range->node.key + range->map.pages;
}

/* The range that holds a BAR page, or NULL. Caller holds the device's lock. */
struct hv_range *range_find(const struct hv_bar_state *bar, uint64_t bar_page);

/* Leaves of the range by level, none while its BAR is not live: inspect.c. Caller holds the device's lock. */
void range_leaves(const struct hv_bar_state *bar, const struct hv_range *range,
                  uint64_t leaves[PT_LEVELS]);

/* Pages that answer without a trap: in a live BAR, not beyond its size, with frames behind them. Likewise. */
uint64_t range_direct_pages(const struct hv_bar_state *bar);

/* Destroy every range of the device and log each: teardown. Returns how many there were. */
uint64_t range_destroy_all(struct hv_device *device);

/* ---- records.c. Caller holds the device's lock and section_lock ---- */

/*
 * What one call does to the records of the window [first, first + pages) of a BAR; enough to take it back as long as
 * no lock was released. Kept in hv_mmio_op.core.
 *
 *      before     [==== A ====][= B =][====== C ======]
 *      window            |---------------------|              cut[0]: A's part inside, cut[1]: C's outside
 *      carved     [= A =]                      [= C =]        gone: A's part, B, C's part inside
 *      made       [= A =][====== made ========][= C =]
 */
struct records_change {
    struct hv_range *made;   /* the new range that fills the window, or NULL */
    struct hv_range *cut[2]; /* split off at the window's first edge, and at its end */
    struct hv_range *gone;   /* out of the tree, chained, last one first */
    uint64_t pages;
    uint64_t tables; /* reserved for this change */
    /*
     * A swap: the window is exactly one range, which is not replaced but aimed at something else. `made` is that range,
     * this is what it was before, and of the above only `pages` counts. Its reference to old_section is still there.
     */
    struct section *old_section; /* NULL: no swap */
    uint64_t old_section_page;
    uint32_t old_flags;
    struct pt_attr old_attr;
};

static inline struct records_change *records_of(struct hv_mmio_op *op)
{
    return (struct records_change *)(void *)op->core;
}

/* Memory for a record. NULL: none left. record_free() of one that is in no tree and no ledger; NULL is fine. */
struct hv_range *record_take(void);
void record_free(struct hv_range *range);
/* Give back what is kept warm: see section_trim(). */
void record_trim(void);

/* The first range that reaches into [first, first + pages), or NULL. */
struct hv_range *records_overlap(const struct hv_bar_state *bar, uint64_t first, uint64_t pages);

/* Records for the cuts that records_carve() will make. False: no memory, and none taken. */
bool records_reserve(const struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                     struct records_change *change) MUST_CHECK;

/* How many ranges there are more, or fewer, when the window is carved. */
int64_t records_carve_count(const struct hv_bar_state *bar, uint64_t first, uint64_t pages);

/* Take [first, first + pages) out of the BAR's ranges. */
void records_carve(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                   struct records_change *change);

/* Put a range into an empty place. `below`: its neighbour, or NULL when it has none below. */
static inline void records_insert(struct hv_range *range, struct hv_range *below)
{
    struct hv_bar_state *bar = range->bar;

    tree_insert_after(&bar->ranges, below ? &below->node : NULL, &range->node);
    range->listed = true;
    bar->device->range_count++;
}

/* Aim a range that fills the window at other pages. Its old types are forgotten, its old reference stays. */
void records_retarget(struct hv_range *range, struct section *section, uint64_t section_page,
                      uint32_t flags, struct pt_attr attr, struct records_change *change);

/* Take one whole range out. */
void records_remove(struct hv_range *range);

/* As before records_reserve(), with `made` gone too. */
void records_undo(struct hv_bar_state *bar, uint64_t first, struct records_change *change);

/* ---- leaves.c. Caller holds the device's lock ---- */

/*
 * Reserve the tables that bringing the window in line with the records may take. `range`: the one that fills it; NULL:
 * it becomes empty. is_alone: the leaves are now what they will be when that is done, no other op of a batch comes before.
 * 0 while the BAR is not live. HV_E_NO_MEMORY. Caller holds section_lock.
 */
hv_status_t leaves_reserve(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                           const struct hv_range *range, bool is_alone,
                           uint64_t *tables) MUST_CHECK;

/* What a change of leaves works with from its first step to the last. */
struct leaves_change {
    struct pt_flush flush;
    uint64_t tables;      /* reserved; leaves_finish() gives back what is left */
    bool is_section_held; /* the caller keeps section_lock; else each step takes it */
    bool is_tables_held;  /* likewise vm->tables_lock: no more than 512 leaves in all */
};

/* Bring the window in line with the records, in steps of at most 512 leaves per hold of vm->tables_lock. */
void leaves_derive(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                   struct leaves_change *change);

/* The same for the whole of one range, when it is as it was inserted. */
void leaves_derive_range(struct hv_range *range, struct leaves_change *change);

/* A chain of ranges that are out of their BAR's tree: what they hold is the change's. */
void leaves_take_held(struct hv_bar_state *bar, struct hv_range *chain,
                      struct leaves_change *change);

/*
 * The same for the windows of swaps: as many of the ops as are swaps in one BAR. Returns how many, 0 when it has to
 * go the general way.
 */
uint64_t leaves_derive_swaps(struct hv_bar_state *bar, struct hv_mmio_op *ops, uint64_t count,
                             struct leaves_change *change);

/* The same for a window without a range. */
void leaves_empty(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                  struct leaves_change *change);

/* What was derived may have completed larger leaves: join them. Behind the last step that may cut one. */
void leaves_join(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                 struct leaves_change *change);

/* Flush, and give back tables. The last step. */
void leaves_finish(struct vm *vm, struct leaves_change *change);

/*
 * Instead of leaves_reserve() for a single page: true when its table is there, so that nothing has to be reserved as long as
 * vm->tables_lock is held; the change holds it from here to leaves_finish().
 */
bool leaves_begin_page(struct hv_bar_state *bar, uint64_t page, struct leaves_change *change);

/* No tables were touched: give back the reservation. */
void leaves_cancel(struct vm *vm, uint64_t tables);

/*
 * A BAR becomes live at `base`, or stops being live, with the leaves of all its ranges. HV_E_NO_MEMORY: nothing changed.
 */
hv_status_t leaves_activate(struct hv_bar_state *bar, uint64_t base) MUST_CHECK;
void leaves_deactivate(struct hv_bar_state *bar);

/* What hv_section_commit() calls for ranges. */
extern const struct mapping_owner range_owner;

#endif
