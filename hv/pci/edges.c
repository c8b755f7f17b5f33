/*
 * Leaves are as large as one range allows. When a hole is refilled so that a full table says what one large leaf could
 * say, that leaf takes its place, also across ranges. Destroying one of them cuts the leaf again, and must not fail:
 * a range whose first page lies inside a leaf that begins before it keeps the tables reserved that this takes (held).
 *
 *      ranges   [== A ==][= B =][====== C ======]
 *      leaves   [........... 2 MiB ............]        B and C hold a table each, A none
 */
#include "hv/pci/leaves.h"

/* Ranges inside one joined leaf: a table kept for each must not cost more than it saves. */
#define MOST_EDGES 8u

/* What cutting at the first page of `range` takes, when a leaf of `level` begins before it. */
static unsigned cut_tables(const struct hv_range *range, unsigned level)
{
    return level == (PT_LEVELS - 1) && !IS_ALIGNED(range->node.key, LARGE_PAGES) ? 2 : 1;
}

/*
 * Have every range that begins inside [first, end) hold what cutting there takes. False: it cannot be, or one of them
 * wants no such leaf.
 */
static bool hold_edges(struct hv_bar_state *bar, uint64_t first, uint64_t end, unsigned level)
{
    struct hv_range *start = records_overlap(bar, first, end - first);
    uint64_t tables = 0, covered = first;
    unsigned edges = 0;

    for (struct hv_range *range = start; range && range->node.key < end;
         range = range_of(tree_next(&range->node))) {
        if (range->attr.max_level < level || ++edges > MOST_EDGES + 1 || range->node.key > covered)
            return false;
        if (range->node.key > first)
            tables += cut_tables(range, level) - MIN(range->held, cut_tables(range, level));
        covered = range_end(range);
    }
    /* Leaves of a range that is being destroyed may be there still, when a commit comes in between. */
    if (covered < end)
        return false;
    if (tables != 0 && pt_pool_reserve(&vm_of(bar)->pool, tables) != HV_OK)
        return false;
    for (struct hv_range *range = start; range && range->node.key < end;
         range = range_of(tree_next(&range->node)))
        if (range->node.key > first)
            range->held = (uint8_t)MAX(range->held, cut_tables(range, level));
    bar->held_tables += tables;
    return true;
}

void edges_join(struct hv_bar_state *bar, uint64_t page, struct pt_flush *flush)
{
    struct pt_root *root = &vm_of(bar)->tables;

    for (unsigned level = 2; level <= root->max_level; level++) {
        uint64_t pages = pt_span(level) >> PAGE_SHIFT;
        uint64_t first = ALIGN_DOWN(page, pages);
        uint64_t address = address_of(bar->live_base, first);

        if (first + pages > bar_pages(bar))
            return;
        if (!pt_joinable(root, address, level))
            continue; /* it may be a leaf already, and fill the table above */
        if (!hold_edges(bar, first, first + pages, level))
            return;
        pt_join(root, address, level, flush);
    }
}

void edges_settle(struct hv_bar_state *bar, uint64_t first, uint64_t end,
                  struct leaves_change *change)
{
    const struct pt_root *root = &vm_of(bar)->tables;
    struct pt_leaf leaf;

    for (struct hv_range *range = range_of(tree_find_ge(&bar->ranges, first));
         range && range->node.key <= end && range->node.key < bar_pages(bar);
         range = range_of(tree_next(&range->node))) {
        if (range->held != 0 ||
            !pt_lookup(root, address_of(bar->live_base, range->node.key), &leaf) ||
            IS_ALIGNED(range->node.key, pt_span(leaf.level) >> PAGE_SHIFT))
            continue;
        range->held = (uint8_t)cut_tables(range, leaf.level);
        bar->held_tables += range->held;
        change->tables -= range->held;
        ASSERT(change->flush.taken <= change->tables);
    }
}

void edges_release(struct hv_range *range, struct leaves_change *change)
{
    change->tables += range->held;
    range->bar->held_tables -= range->held;
    range->held = 0;
}

void edges_release_all(struct hv_bar_state *bar, uint64_t first, uint64_t end,
                       struct leaves_change *change)
{
    for (struct hv_range *range = range_of(tree_find_ge(&bar->ranges, first));
         range && range->node.key <= end; range = range_of(tree_next(&range->node)))
        edges_release(range, change);
}
