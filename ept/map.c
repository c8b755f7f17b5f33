#include "ept/ept.h"

#include "ept/entry.h"
#include "hv/base/assert.h"

/* What one pt_map works with. */
struct change {
    struct pt_root *root;
    struct pt_flush *flush;
    const struct pt_attr *attr;
    unsigned max_level;
};

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
            table = pt_split(root, entry, value, at, c->flush);
        }
    }
    return table;
}

/* Store a leaf over another one. */
static inline void replace_leaf(struct pt_root *root, uint64_t *entry, uint64_t old, uint64_t new,
                                struct pt_flush *flush)
{
    uint64_t ad_mask = root->fmt->ad_mask;
    uint64_t diff = (old ^ new) & ~ad_mask;
    uint64_t prior;

    if (diff == 0)
        return;
    if (LIKELY((diff & PT_ADDR_MASK) != 0)) {
        flush->needed = true;
        put(root, entry, new, true);
        return;
    }
    new = new | (old & ad_mask);
    /* Not if rights were added and no more. Hardware may have set A or D since: if one is lost, flush. */
    prior = put(root, entry, new, true);
    if (((prior & ad_mask & ~new) | (diff & ~(new & root->fmt->quiet_set))) != 0)
        flush->needed = true;
}

/* Store a leaf over a present entry. Not inlined: fill() keeps its registers. */
static __attribute__((noinline)) void replace(const struct change *c, uint64_t *entry, uint64_t old,
                                              uint64_t new, unsigned level)
{
    struct pt_root *root = c->root;

    if (LIKELY(pt_is_leaf(root->fmt, old, level))) {
        replace_leaf(root, entry, old, new, c->flush);
        return;
    }
    put(root, entry, new, true);
    root->leaves[level]++;
    pt_bury_subtree(root, next_table(old), level - 1, c->flush);
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
    *live = (uint16_t)(*live + count - replaced);
    if (UNLIKELY(*live == ENTRIES) && count != ENTRIES && level < c->root->max_level)
        c->flush->filled = true;
    count -= replaced;
    c->root->leaves[level] += count;
    c->root->stores += count;
}

/* The short way for a single page. False: it has to go the long way. */
static inline __attribute__((always_inline)) bool put_page(struct pt_root *root, uint64_t addr,
                                                           uint64_t leaf, struct pt_flush *flush)
{
    uint64_t *entry = find_page(root, addr);
    uint16_t *live;
    uint64_t old;

    if (UNLIKELY(entry == NULL))
        return false;
    live = root->last_live;
    old = load(entry);
    if (old != 0) {
        replace_leaf(root, entry, old, leaf, flush);
    } else {
        ++*live;
        root->leaves[1]++;
        put(root, entry, leaf, false);
    }
    if (UNLIKELY(*live == ENTRIES))
        flush->filled = true;
    return true;
}

static inline __attribute__((always_inline)) bool map_page(struct pt_root *root, uint64_t addr,
                                                           hpa_t frame, const struct pt_attr *attr,
                                                           struct pt_flush *flush)
{
    return put_page(root, addr, frame.v | pt_leaf_bits(root->fmt, attr, 1), flush);
}

bool pt_has_table(struct pt_root *root, uint64_t addr)
{
    return find_page(root, addr & INPUT_MASK) != NULL;
}

uint64_t pt_page_bits(const struct pt_root *root, const struct pt_attr *attr)
{
    return pt_leaf_bits(root->fmt, attr, 1);
}

bool pt_put_page(struct pt_root *root, uint64_t addr, uint64_t leaf, struct pt_flush *flush)
{
    return put_page(root, addr & INPUT_MASK, leaf, flush);
}

/* What one step does: up to the end of a table, or of a larger leaf that says the same. Returns the bytes done. */
static inline uint64_t map_some(const struct change *c, uint64_t addr, hpa_t frame, uint64_t left)
{
    struct pt_root *root = c->root;
    unsigned wanted = level_inside(addr | frame.v, left, c->max_level);
    unsigned level = wanted;
    uint64_t *entry = find(root, addr, level);
    uint64_t count;

    if (UNLIKELY(entry == NULL)) {
        entry = slot(reach(c, addr, frame, &level), addr, level);
        if (level != wanted) {
            c->flush->kept = true;
            return MIN(pt_span(level) - (addr & (pt_span(level) - 1)), left);
        }
    }
    count = entries_of_step(root, entry, entries_inside(addr, left, level), level);
    fill(c, entry, frame.v | pt_leaf_bits(root->fmt, c->attr, level), count, level);
    return count << shift_of(level);
}

/* The long ways are not inlined: the short one has no frame to set up. */
static __attribute__((noinline)) uint64_t map_step(struct pt_root *root, uint64_t addr, hpa_t frame,
                                                   uint64_t pages, const struct pt_attr *attr,
                                                   struct pt_flush *flush)
{
    struct change c = {root, flush, attr, MIN(attr->max_level, root->max_level)};

    ASSERT(c.max_level != 0);
    return map_some(&c, addr, frame, pages * PAGE_BYTES) / PAGE_BYTES;
}

static __attribute__((noinline)) void map_range(struct pt_root *root, uint64_t addr, hpa_t frame,
                                                uint64_t pages, const struct pt_attr *attr,
                                                struct pt_flush *flush)
{
    while (pages != 0) {
        uint64_t done = map_step(root, addr, frame, pages, attr, flush);

        addr += done * PAGE_BYTES;
        frame.v += done * PAGE_BYTES;
        pages -= done;
    }
}

static inline void check(uint64_t addr, hpa_t frame, uint64_t pages)
{
    ASSERT(((addr | frame.v) & (PAGE_MASK | ~PT_ADDR_MASK)) == 0);
    if (pages == 1)
        return;
    ASSERT(pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
    ASSERT(frame.v + pages * PAGE_BYTES <= PT_ADDR_MASK + PAGE_BYTES);
}

void pt_map(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
            const struct pt_attr *attr, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    check(addr, frame, pages);
    if (pages == 1 && LIKELY(map_page(root, addr, frame, attr, flush)))
        return;
    map_range(root, addr, frame, pages, attr, flush);
}

uint64_t pt_map_step(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
                     const struct pt_attr *attr, struct pt_flush *flush)
{
    addr &= INPUT_MASK;
    check(addr, frame, pages);
    ASSERT(pages != 0);
    if (pages == 1 && LIKELY(map_page(root, addr, frame, attr, flush)))
        return 1;
    return map_step(root, addr, frame, pages, attr, flush);
}
