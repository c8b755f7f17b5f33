#include "ept/ept.h"

#include "ept/entry.h"
#include "hv/base/assert.h"

/* The short way for a single page. False: it has to go the long way, as when the table would be empty afterwards. */
static inline __attribute__((always_inline)) bool unmap_page(struct pt_root *root, uint64_t addr,
                                                             struct pt_flush *flush)
{
    uint64_t *entry = find_page(root, addr);
    uint16_t *live;

    if (UNLIKELY(entry == NULL) || load(entry) == 0)
        return false;
    live = root->last_live;
    if (*live == 1)
        return false;
    --*live;
    root->leaves[1]--;
    flush->needed = true;
    put(root, entry, 0, true);
    return true;
}

/*
 * Clear `count` entries of a level below the root's. Returns how many were dealt with: fewer when a table is
 * to be kept, and so has to be walked into.
 */
static uint64_t clear(struct pt_root *root, uint64_t *first, uint64_t count, unsigned level,
                      bool keep, struct pt_flush *flush)
{
    uint64_t leaf_mark = level == 1 ? 0 : root->fmt->large;
    const uint64_t *end = first + count;
    uint64_t *entry = first;
    uint64_t cleared = 0, tables = 0;

    for (; entry != end; entry++) {
        uint64_t old = load(entry);
        bool leaf = (old & leaf_mark) == leaf_mark;

        if (old == 0)
            continue;
        if (UNLIKELY(!leaf) && keep)
            break;
        pt_store(entry, 0, true);
        cleared++;
        if (UNLIKELY(!leaf)) {
            tables++;
            pt_bury_subtree(root, next_table(old), level - 1, flush);
        }
    }
    if (cleared != 0) {
        uint16_t *live = live_of(first);

        *live = (uint16_t)(*live - cleared);
        root->stores += cleared;
        root->leaves[level] -= cleared - tables;
        flush->needed = true;
    }
    return (uint64_t)(entry - first);
}

/*
 * Walk towards `level`, splitting larger leaves. Returns where the way ends: at an empty entry, or at
 * `level`, or below it where a table has to stay. `path` keeps the tables passed, by level, for the way back.
 */
static inline unsigned descend(struct pt_root *root, uint64_t addr, unsigned level, bool keep,
                               hpa_t path[PT_LEVELS + 1], struct pt_flush *flush)
{
    uint64_t word = WALK_WORD(addr);
    hpa_t table = root->root;
    unsigned at;

    for (at = PT_LEVELS;; at--, word <<= ENTRY_BITS) {
        uint64_t *entry = walk_slot(table, word);
        uint64_t value;

        path[at] = table;
        if (at <= level && (at == 1 || !keep))
            break;
        value = load(entry);
        if (value == 0)
            break;
        if (LIKELY(!pt_is_leaf(root->fmt, value, at)))
            table = next_table(value);
        else if (at > level)
            table = pt_split(root, entry, value, at, flush);
        else
            break;
    }
    return at;
}

/* Unlink the tables on the path that have become empty, from `level` up. */
static void prune(struct pt_root *root, uint64_t addr, const hpa_t *path, unsigned level,
                  struct pt_flush *flush)
{
    while (level < PT_LEVELS && *pt_pool_live(path[level]) == 0) {
        uint64_t *entry = slot(path[level + 1], addr, level + 1);

        put(root, entry, 0, true);
        --*live_of(entry);
        pt_bury(root, flush, path[level]);
        level++;
    }
}

/*
 * What one step does: up to the end of a table, or of what is empty. Returns the pages done. Nothing above level 3 goes
 * in one piece: there may be a quarter of a million tables below.
 */
static __attribute__((noinline)) uint64_t
unmap_step(struct pt_root *root, uint64_t addr, uint64_t pages, bool keep, struct pt_flush *flush)
{
    uint64_t left = pages * PAGE_BYTES;
    unsigned wanted = level_inside(addr, left, PT_LEVELS - 1);
    hpa_t path[PT_LEVELS + 1];
    unsigned level = descend(root, addr, wanted, keep, path, flush);
    uint64_t *entry, count;

    if (level > wanted) /* empty up to the entry's end */
        return MIN(pt_span(level) - (addr & (pt_span(level) - 1)), left) / PAGE_BYTES;
    entry = slot(path[level], addr, level);
    count = entries_of_step(root, entry, entries_inside(addr, left, level), level);
    count = clear(root, entry, count, level, keep, flush);
    if (!keep)
        prune(root, addr, path, level, flush);
    ASSERT(level != 0);
    return count << (shift_of(level) - PAGE_SHIFT);
}

static __attribute__((noinline)) void unmap_range(struct pt_root *root, uint64_t addr,
                                                  uint64_t pages, bool keep, struct pt_flush *flush)
{
    while (pages != 0) {
        uint64_t done = unmap_step(root, addr, pages, keep, flush);

        addr += done * PAGE_BYTES;
        pages -= done;
    }
}

static inline void check(uint64_t addr, uint64_t pages)
{
    ASSERT((addr & PAGE_MASK) == 0 && pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
}

void pt_unmap(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    check(addr, pages);
    if (pages == 1 && LIKELY(unmap_page(root, addr, flush)))
        return;
    unmap_range(root, addr, pages, false, flush);
}

uint64_t pt_unmap_step(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    check(addr, pages);
    ASSERT(pages != 0);
    if (pages == 1 && LIKELY(unmap_page(root, addr, flush)))
        return 1;
    return unmap_step(root, addr, pages, false, flush);
}

void pt_unmap_keep(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    check(addr, pages);
    if (pages == 1 && LIKELY(unmap_page(root, addr, flush)))
        return;
    unmap_range(root, addr, pages, true, flush);
}
