#include "ept/ept.h"

#include "ept/entry.h"
#include "hv/base/assert.h"

/*
 * Put a full table in the place of a large leaf. The table is complete before the one store that makes it
 * reachable, so each page keeps its translation throughout.
 */
hpa_t pt_split(struct pt_root *root, uint64_t *entry, uint64_t old, unsigned level,
               struct pt_flush *flush)
{
    struct pt_attr attr = pt_decode(root->fmt, old, level);
    uint64_t value = pt_encode(root->fmt, pt_frame(old, level), &attr, level - 1);
    hpa_t child = pt_pool_take(root->pool);
    uint64_t *to = direct(child);

    flush->taken++;
    value |= old & root->fmt->ad_mask;
    for (unsigned i = 0; i < ENTRIES; i++, value += pt_span(level - 1))
        to[i] = value;
    *pt_pool_live(child) = ENTRIES;
    root->leaves[level]--;
    root->leaves[level - 1] += ENTRIES;
    put(root, entry, child.v | root->fmt->table, true);
    flush->needed = true;
    return child;
}

/* The entry of `level` for addr when it leads to a full table, else NULL. */
static uint64_t *full_table(const struct pt_root *root, uint64_t addr, unsigned level)
{
    uint64_t *entry = find(root, addr, level);
    uint64_t value = entry != NULL ? load(entry) : 0;

    if (value == 0 || pt_is_leaf(root->fmt, value, level))
        return NULL;
    return *pt_pool_live(next_table(value)) == ENTRIES ? entry : NULL;
}

/*
 * The quick answers first: can the frame at addr be part of such a leaf, does its neighbour say the same? So a table
 * with one foreign page is given up at once when it is asked about that page.
 */
static bool says_one_leaf(const struct pt_root *root, const uint64_t *parts, uint64_t addr,
                          unsigned level)
{
    const uint64_t known = ~root->fmt->ad_mask, span = pt_span(level - 1);
    uint64_t inside = addr & (pt_span(level) - 1) & ~(span - 1);
    uint64_t index = inside >> shift_of(level - 1);
    uint64_t value = load(parts + index) & known;

    if (!pt_is_leaf(root->fmt, value, level - 1) ||
        (pt_frame(value, level - 1).v & (pt_span(level) - 1)) != inside)
        return false;
    value -= inside; /* now what the first entry has to be */
    index ^= 1;
    if ((load(parts + index) & known) != value + index * span)
        return false;
    for (unsigned i = 0; i < ENTRIES; i++, value += span) {
        if ((load(parts + i) & known) != value)
            return false;
    }
    return true;
}

bool pt_joinable(const struct pt_root *root, uint64_t addr, unsigned level)
{
    const uint64_t *entry;

    ASSERT(level >= 2 && level < PT_LEVELS);
    if (level > root->max_level)
        return false;
    entry = full_table(root, addr, level);
    return entry != NULL && says_one_leaf(root, direct(next_table(load(entry))), addr, level);
}

void pt_join(struct pt_root *root, uint64_t addr, unsigned level, struct pt_flush *flush)
{
    uint64_t *entry = full_table(root, addr, level);
    const uint64_t *parts;
    struct pt_attr attr;
    uint64_t marks = 0;
    hpa_t table;

    ASSERT(level <= root->max_level && entry != NULL);
    table = next_table(load(entry));
    parts = direct(table);
    ASSERT(pt_is_leaf(root->fmt, load(parts), level - 1));
    for (unsigned i = 0; i < ENTRIES; i++)
        marks |= load(parts + i);
    marks &= root->fmt->ad_mask;
    attr = pt_decode(root->fmt, load(parts), level - 1);
    put(root, entry, pt_encode(root->fmt, pt_frame(load(parts), level - 1), &attr, level) | marks,
        true);
    root->leaves[level - 1] -= ENTRIES;
    root->leaves[level]++;
    pt_bury(root, flush, table);
}
