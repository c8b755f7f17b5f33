#include "ept/ept.h"

#include "ept/entry.h"
#include "hv/base/string.h"

void pt_bury(struct pt_root *root, struct pt_flush *flush, hpa_t table)
{
    root->last_number = PT_NO_TABLE;
    *pt_pool_link(table) = flush->dead.v;
    flush->dead = table;
    flush->needed = true;
}

void pt_bury_subtree(struct pt_root *root, hpa_t table, unsigned level, struct pt_flush *flush)
{
    const uint64_t *entry = direct(table);
    unsigned left = *pt_pool_live(table);

    if (level == 1) {
        root->leaves[1] -= left;
        left = 0;
    }
    for (; left > 0; entry++) {
        uint64_t value = load(entry);

        left -= value != 0;
        if (value != 0 && pt_is_leaf(root->fmt, value, level))
            root->leaves[level]--;
        else if (value != 0)
            pt_bury_subtree(root, next_table(value), level - 1, flush);
    }
    pt_bury(root, flush, table);
}

hv_status_t pt_root_create(struct pt_root *root, const struct pt_format *fmt, struct pt_pool *pool,
                           unsigned max_level)
{
    hv_status_t status = pt_pool_reserve(pool, 1);

    if (status != HV_OK)
        return status;
    *root = (struct pt_root){
        .fmt = fmt,
        .pool = pool,
        .root = pt_pool_take(pool),
        .last_number = PT_NO_TABLE,
        .max_level = (uint8_t)MAX(1u, MIN(max_level, PT_LEVELS - 1)),
    };
    return HV_OK;
}

void pt_root_destroy(struct pt_root *root)
{
    struct pt_flush flush = {0};

    pt_bury_subtree(root, root->root, PT_LEVELS, &flush);
    pt_flush_done(root, &flush);
    root->root = HPA(0);
}

/* A table that still says something is zeroed; its live count tells. */
static void clean(hpa_t table)
{
    uint16_t *live = pt_pool_live(table);

    if (*live == 0)
        return;
    memset(direct(table), 0, PAGE_BYTES);
    *live = 0;
}

void pt_flush_clean(struct pt_flush *flush)
{
    for (hpa_t table = flush->dead; table.v != 0; table = HPA(*pt_pool_link(table)))
        clean(table);
}

bool pt_flush_done_step(struct pt_root *root, struct pt_flush *flush, unsigned tables)
{
    for (; flush->dead.v != 0 && tables != 0; tables--) {
        hpa_t table = flush->dead;

        flush->dead = HPA(*pt_pool_link(table));
        clean(table);
        pt_pool_give(root->pool, table);
    }
    flush->needed = flush->dead.v != 0;
    pt_pool_unreserve(root->pool, 0); /* lets go of blocks that are wholly free now */
    return flush->needed;
}

void pt_flush_done(struct pt_root *root, struct pt_flush *flush)
{
    (void)pt_flush_done_step(root, flush, UINT32_MAX);
}

/* Tables of `level` that [addr, end) reaches into. */
static uint64_t tables_touched(uint64_t addr, uint64_t end, unsigned level)
{
    unsigned shift = shift_of(level + 1);

    return ((end - 1) >> shift) - (addr >> shift) + 1;
}

/* Tables of `level` that [addr, end) covers in part: those that a larger leaf cannot stand for. */
static uint64_t tables_cut(uint64_t addr, uint64_t end, unsigned level)
{
    uint64_t mask = pt_span(level + 1) - 1;
    uint64_t cuts = (uint64_t)((addr & mask) != 0) + (uint64_t)((end & mask) != 0);

    return MIN(cuts, tables_touched(addr, end, level));
}

/* Tables for leaves of up to `leaf`, on the levels below `top`. */
static uint64_t count_tables(uint64_t addr, uint64_t pages, unsigned leaf, unsigned top)
{
    uint64_t end = addr + pages * PAGE_BYTES; /* canonical bits do not matter here */
    uint64_t needed = 0;

    if (pages <= 1)
        return pages * (top - 1);
    for (unsigned level = 1; level < top; level++)
        needed += level < leaf ? tables_cut(addr, end, level) : tables_touched(addr, end, level);
    return needed;
}

uint64_t pt_tables_needed(const struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
                          unsigned max_level)
{
    unsigned leaf = MIN(max_level, root->max_level);

    while (leaf > 1 && ((addr ^ frame.v) & (pt_span(leaf) - 1)) != 0)
        leaf--;
    return count_tables(addr, pages, leaf, PT_LEVELS);
}

uint64_t pt_tables_needed_unmap(const struct pt_root *root, uint64_t addr, uint64_t pages)
{
    return count_tables(addr, pages, root->max_level, root->max_level);
}

/* The entry where the walk to addr ends, and its level. */
static inline uint64_t walk(const struct pt_root *root, uint64_t addr, unsigned *end_level)
{
    const uint64_t large = root->fmt->large;
    uint64_t word = WALK_WORD(addr);
    hpa_t table = root->root;
    unsigned level = PT_LEVELS;
    uint64_t value = 0;

#pragma GCC unroll 4
    for (unsigned at = PT_LEVELS; at >= 1; at--, word <<= ENTRY_BITS) {
        level = at;
        value = load(walk_slot(table, word));
        if (value == 0 || (value & large)) /* at level 1 every entry ends the walk */
            break;
        table = next_table(value);
    }
    *end_level = level;
    return value;
}

unsigned pt_tables_cut(const struct pt_root *root, uint64_t addr)
{
    unsigned level;
    uint64_t value = walk(root, addr, &level);
    unsigned tables = 0;

    if (value == 0)
        return 0;
    for (; level > 1 && (addr & (pt_span(level) - 1)) != 0; level--)
        tables++;
    return tables;
}

bool pt_lookup(const struct pt_root *root, uint64_t addr, struct pt_leaf *leaf)
{
    unsigned level;
    uint64_t value = walk(root, addr, &level);

    *leaf = (struct pt_leaf){.level = (uint8_t)level, .present = value != 0, .entry = value};
    if (value != 0) {
        leaf->attr = pt_decode(root->fmt, value, level);
        leaf->frame.v =
            pt_frame(value, level).v + (addr & (pt_span(level) - 1) & ~(uint64_t)PAGE_MASK);
    }
    return leaf->present;
}

bool pt_allows(const struct pt_root *root, uint64_t addr, uint8_t rights)
{
    unsigned level;
    uint64_t value = walk(root, addr, &level);

    return value != 0 && (pt_decode(root->fmt, value, level).rights & rights) == rights;
}
