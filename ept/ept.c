#include "ept/ept.h"

#include "ept/entry.h"
#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"

/* What one pt_map works with. */
struct change {
    struct pt_root *root;
    struct pt_flush *flush;
    const struct pt_attr *attr;
    unsigned max_level;
};

/* The table that an entry lies in, by its live count. */
static uint16_t *live_of(const uint64_t *entry)
{
    return pt_pool_live(direct_to_hpa(entry));
}

static uint64_t put(struct pt_root *root, uint64_t *entry, uint64_t value, bool live)
{
    root->stores++;
    return pt_store(entry, value, live);
}

/* The table is out of the tree; CPUs may still walk it until the flush. */
static void bury(struct pt_flush *flush, hpa_t table)
{
    *pt_pool_link(table) = flush->dead.v;
    flush->dead = table;
    flush->needed = true;
}

/* Bury a table with everything below it. Entries stay as they are: a CPU may be walking them. */
static void bury_subtree(struct pt_root *root, hpa_t table, unsigned level, struct pt_flush *flush)
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
            bury_subtree(root, next_table(value), level - 1, flush);
    }
    bury(flush, table);
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
        .max_level = (uint8_t)MAX(1u, MIN(max_level, PT_LEVELS - 1)),
    };
    return HV_OK;
}

void pt_root_destroy(struct pt_root *root)
{
    struct pt_flush flush = {0};

    bury_subtree(root, root->root, PT_LEVELS, &flush);
    pt_flush_done(root, &flush);
    root->root = HPA(0);
}

void pt_flush_done(struct pt_root *root, struct pt_flush *flush)
{
    hpa_t table = flush->dead;

    while (table.v != 0) {
        hpa_t next = HPA(*pt_pool_link(table));
        uint16_t *live = pt_pool_live(table);

        if (*live != 0) {
            memset(direct(table), 0, PAGE_BYTES);
            *live = 0;
        }
        pt_pool_give(root->pool, table);
        table = next;
    }
    flush->needed = false;
    flush->dead = HPA(0);
    pt_pool_unreserve(root->pool, 0); /* lets go of blocks that are wholly free now */
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

/*
 * Put a full table in the place of a large leaf. The table is complete before the one store that makes it
 * reachable, so each page keeps its translation throughout.
 */
static hpa_t split(struct pt_root *root, uint64_t *entry, uint64_t old, unsigned level,
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

/* True when the large leaf `old` at `level` already maps addr to `frame` as wanted. */
static bool is_same_leaf(const struct change *c, uint64_t old, unsigned level, uint64_t addr,
                         hpa_t frame)
{
    uint64_t inside = addr & (pt_span(level) - 1);
    hpa_t base = HPA(frame.v - inside);

    if (level > c->max_level || (base.v & (pt_span(level) - 1)) != 0)
        return false;
    return (old & ~c->root->fmt->ad_mask) == pt_encode(c->root->fmt, base, c->attr, level);
}

/*
 * The table of *level on the way to addr; missing ones are made and larger leaves split. When a larger
 * leaf already says what is wanted, the way ends there and *level is that leaf's.
 */
static hpa_t reach(const struct change *c, uint64_t addr, hpa_t frame, unsigned *level)
{
    struct pt_root *root = c->root;
    hpa_t table = root->root;

    for (unsigned at = PT_LEVELS; at > *level; at--) {
        uint64_t *entry = slot(table, addr, at);
        uint64_t value = load(entry);

        if (value == 0) {
            table = pt_pool_take(root->pool);
            c->flush->taken++;
            put(root, entry, table.v | root->fmt->table, false);
            ++*live_of(entry);
        } else if (!pt_is_leaf(root->fmt, value, at)) {
            table = next_table(value);
        } else if (is_same_leaf(c, value, at, addr, frame)) {
            *level = at;
            break;
        } else {
            table = split(root, entry, value, at, c->flush);
        }
    }
    return table;
}

/* The entry of `level` for addr when all tables on the way are there, else NULL. */
static inline uint64_t *find(const struct pt_root *root, uint64_t addr, unsigned level)
{
    uint64_t large = root->fmt->large;
    uint64_t word = WALK_WORD(addr);
    hpa_t table = root->root;

    for (unsigned at = PT_LEVELS; at != level; at--, word <<= ENTRY_BITS) {
        uint64_t value = load(walk_slot(table, word));

        if (UNLIKELY(value == 0 || (value & large) != 0))
            return NULL;
        table = next_table(value);
    }
    return walk_slot(table, word);
}

/* Store a leaf over a present entry. Not inlined: fill() keeps its registers. */
static __attribute__((noinline)) void replace(const struct change *c, uint64_t *entry, uint64_t old,
                                              uint64_t new, unsigned level)
{
    struct pt_root *root = c->root;
    uint64_t ad_mask = root->fmt->ad_mask;
    uint64_t diff, prior;

    if (UNLIKELY(!pt_is_leaf(root->fmt, old, level))) {
        put(root, entry, new, true);
        root->leaves[level]++;
        bury_subtree(root, next_table(old), level - 1, c->flush);
        return;
    }
    diff = (old ^ new) & ~ad_mask;
    if (diff == 0)
        return;
    if ((diff & PT_ADDR_MASK) == 0)
        new = new | (old & ad_mask);
    /* Not if rights were added and no more. Hardware may have set A or D since: if one is lost, flush. */
    prior = put(root, entry, new, true);
    if (((prior & ad_mask & ~new) | (diff & ~(new & root->fmt->quiet_set))) != 0)
        c->flush->needed = true;
}

/* `count` leaves of one table. The product's busiest loop: one load, one test, one store each. */
static inline void fill(const struct change *c, uint64_t *entry, uint64_t value, uint64_t count,
                        unsigned level)
{
    const uint64_t *end = entry + count;
    uint64_t step = pt_span(level);
    uint16_t *live = live_of(entry);
    uint64_t replaced = 0;

    do {
        uint64_t old = load(entry);

        if (LIKELY(old == 0)) {
            pt_store(entry, value, false);
        } else {
            replace(c, entry, old, value, level);
            replaced++;
        }
        value += step;
    } while (++entry != end);
    count -= replaced;
    *live = (uint16_t)(*live + count);
    c->root->leaves[level] += count;
    c->root->stores += count;
}

/* The largest level, up to `max_level`, of which an entry at `at` lies wholly within `bytes`. */
static inline unsigned level_inside(uint64_t at, uint64_t bytes, unsigned max_level)
{
    unsigned level = 1;

    while (level < max_level && (at & (pt_span(level + 1) - 1)) == 0 && bytes >= pt_span(level + 1))
        level++;
    return level;
}

/* Entries of one table from addr on that lie wholly within `bytes`. addr is aligned to the level. */
static inline uint64_t entries_inside(uint64_t addr, uint64_t bytes, unsigned level)
{
    uint64_t room = ENTRIES - ((addr >> shift_of(level)) & (ENTRIES - 1));

    return MIN(room, bytes >> shift_of(level));
}

/* The short way for a single page. False: it has to go the long way. */
static inline bool map_page(struct pt_root *root, uint64_t addr, hpa_t frame,
                            const struct pt_attr *attr)
{
    uint64_t *entry = find(root, addr, 1);

    if (UNLIKELY(entry == NULL) || load(entry) != 0)
        return false;
    ++*live_of(entry);
    root->leaves[1]++;
    put(root, entry, frame.v | pt_leaf_bits(root->fmt, attr, 1), false);
    return true;
}

/* Likewise; false also when the table would be empty afterwards. */
static inline bool unmap_page(struct pt_root *root, uint64_t addr, struct pt_flush *flush)
{
    uint64_t *entry = find(root, addr, 1);
    uint16_t *live;

    if (UNLIKELY(entry == NULL) || load(entry) == 0)
        return false;
    live = live_of(entry);
    if (*live == 1)
        return false;
    --*live;
    root->leaves[1]--;
    put(root, entry, 0, true);
    flush->needed = true;
    return true;
}

static void map_range(const struct change *c, uint64_t addr, hpa_t frame, uint64_t left)
{
    struct pt_root *root = c->root;

    while (left != 0) {
        unsigned wanted = level_inside(addr | frame.v, left, c->max_level);
        unsigned level = wanted;
        uint64_t *entry = find(root, addr, level);
        uint64_t bytes;

        if (UNLIKELY(entry == NULL))
            entry = slot(reach(c, addr, frame, &level), addr, level);

        if (LIKELY(level == wanted)) {
            uint64_t count = entries_inside(addr, left, level);

            fill(c, entry, frame.v | pt_leaf_bits(root->fmt, c->attr, level), count, level);
            bytes = count << shift_of(level);
        } else { /* a larger leaf says the same up to its end */
            bytes = MIN(pt_span(level) - (addr & (pt_span(level) - 1)), left);
        }
        addr += bytes;
        frame.v += bytes;
        left -= bytes;
    }
}

void pt_map(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
            const struct pt_attr *attr, struct pt_flush *flush)
{
    struct change c;

    addr &= INPUT_MASK;
    ASSERT(((addr | frame.v) & PAGE_MASK) == 0);
    ASSERT(pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
    ASSERT(frame.v + pages * PAGE_BYTES <= PT_ADDR_MASK + PAGE_BYTES && frame.v <= PT_ADDR_MASK);
    if (pages == 1 && LIKELY(map_page(root, addr, frame, attr)))
        return;
    c = (struct change){root, flush, attr, MIN(attr->max_level, root->max_level)};
    ASSERT(c.max_level != 0);
    map_range(&c, addr, frame, pages * PAGE_BYTES);
}

/*
 * Clear `count` entries. Returns how many were dealt with: fewer when a table has to stay in the tree and
 * be walked into.
 */
static uint64_t clear(struct pt_root *root, uint64_t *first, uint64_t count, unsigned level,
                      struct pt_flush *flush)
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
        if (UNLIKELY(!leaf) && root->keep_empty)
            break;
        pt_store(entry, 0, true);
        cleared++;
        if (UNLIKELY(!leaf)) {
            tables++;
            bury_subtree(root, next_table(old), level - 1, flush);
        }
    }
    if (cleared != 0) {
        uint16_t *live = live_of(first);

        *live = (uint16_t)(*live - cleared);
        root->stores += cleared;
        if (level < PT_LEVELS)
            root->leaves[level] -= cleared - tables;
        flush->needed = true;
    }
    return (uint64_t)(entry - first);
}

/*
 * Walk towards `level`, splitting larger leaves. Returns where the way ends: at an empty entry, or at
 * `level`, or below it where a table has to stay. `path` keeps the tables passed, by level, for the way back.
 */
static inline unsigned descend(struct pt_root *root, uint64_t addr, unsigned level,
                               hpa_t path[PT_LEVELS + 1], struct pt_flush *flush)
{
    uint64_t word = WALK_WORD(addr);
    hpa_t table = root->root;
    unsigned at;

    for (at = PT_LEVELS;; at--, word <<= ENTRY_BITS) {
        uint64_t *entry = walk_slot(table, word);
        uint64_t value;

        path[at] = table;
        if (at <= level && (at == 1 || !root->keep_empty))
            break;
        value = load(entry);
        if (value == 0)
            break;
        if (LIKELY(!pt_is_leaf(root->fmt, value, at)))
            table = next_table(value);
        else if (at > level)
            table = split(root, entry, value, at, flush);
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
        bury(flush, path[level]);
        level++;
    }
}

static void unmap_range(struct pt_root *root, uint64_t addr, uint64_t left, struct pt_flush *flush)
{
    while (left != 0) {
        hpa_t path[PT_LEVELS + 1];
        unsigned wanted = level_inside(addr, left, PT_LEVELS);
        unsigned level = descend(root, addr, wanted, path, flush);
        uint64_t bytes;

        if (level > wanted) { /* empty up to the entry's end */
            bytes = MIN(pt_span(level) - (addr & (pt_span(level) - 1)), left);
        } else {
            uint64_t count = entries_inside(addr, left, level);

            bytes = clear(root, slot(path[level], addr, level), count, level, flush)
                    << shift_of(level);
            if (!root->keep_empty)
                prune(root, addr, path, level, flush);
        }
        addr += bytes;
        left -= bytes;
    }
}

void pt_unmap(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    ASSERT((addr & PAGE_MASK) == 0 && pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
    if (pages == 1 && LIKELY(unmap_page(root, addr, flush)))
        return;
    unmap_range(root, addr, pages * PAGE_BYTES, flush);
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
