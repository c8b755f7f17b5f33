#include "ept/ept.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/log.h"
#include "hv/base/string.h"

#define ENTRIES    512u
#define INPUT_MASK (BIT(PT_INPUT_BITS) - 1)
#define ENTRY_BITS 9u

/* What one pt_map works with. */
struct change {
    struct pt_root *root;
    struct pt_flush *flush;
    const struct pt_attr *attr;
    unsigned max_level;
};

static unsigned shift_of(unsigned level)
{
    return PAGE_SHIFT + ENTRY_BITS * (level - 1);
}

/* Hardware may set A/D bits at any time: each look at an entry is one load. */
static uint64_t load(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

static uint64_t *slot(hpa_t table, uint64_t addr, unsigned level)
{
    return (uint64_t *)direct(table) + ((addr >> shift_of(level)) & (ENTRIES - 1));
}

static hpa_t next_table(uint64_t entry)
{
    return HPA(entry & PT_ADDR_MASK);
}

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

        if (value == 0)
            continue;
        left--;
        if (pt_is_leaf(root->fmt, value, level))
            root->leaves[level]--;
        else
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
    *flush = (struct pt_flush){0};
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

uint64_t pt_tables_needed(const struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
                          unsigned max_level)
{
    unsigned leaf = MIN(max_level, root->max_level);
    uint64_t needed = 0;
    uint64_t end;

    if (pages == 0)
        return 0;
    addr &= INPUT_MASK;
    end = addr + pages * PAGE_BYTES;
    while (leaf > 1 && ((addr ^ frame.v) & (pt_span(leaf) - 1)) != 0)
        leaf--;
    for (unsigned level = 1; level < PT_LEVELS; level++)
        needed += level < leaf ? tables_cut(addr, end, level) : tables_touched(addr, end, level);
    return needed;
}

uint64_t pt_tables_needed_unmap(const struct pt_root *root, uint64_t addr, uint64_t pages)
{
    uint64_t needed = 0;
    uint64_t end;

    if (pages == 0)
        return 0;
    addr &= INPUT_MASK;
    end = addr + pages * PAGE_BYTES;
    for (unsigned level = 1; level < root->max_level; level++)
        needed += tables_cut(addr, end, level);
    return needed;
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
            put(root, entry, table.v | root->fmt->table, false);
            ++*live_of(entry);
        } else if (LIKELY(!pt_is_leaf(root->fmt, value, at))) {
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

/* True when a CPU that still holds `old` may do what `new` does not allow, or fault without need. */
static bool needs_flush(const struct pt_format *fmt, uint64_t old, uint64_t new)
{
    return ((old ^ new) & ~fmt->ad_mask & ~(new & fmt->quiet_set)) != 0;
}

/* Store a leaf over a present entry: another leaf of this level, or a table, which then is dead. */
static void replace(const struct change *c, uint64_t *entry, uint64_t old, uint64_t new,
                    unsigned level)
{
    struct pt_root *root = c->root;
    uint64_t ad_mask = root->fmt->ad_mask;

    if (!pt_is_leaf(root->fmt, old, level)) {
        put(root, entry, new, true);
        root->leaves[level]++;
        bury_subtree(root, next_table(old), level - 1, c->flush);
        return;
    }
    if ((old & ~ad_mask) == new)
        return;
    if (pt_frame(old, level).v == pt_frame(new, level).v)
        new |= old &ad_mask;
    /* Hardware may have set A or D since: a CPU must not go on believing that it is set. */
    if ((put(root, entry, new, true) & ad_mask & ~new) != 0 || needs_flush(root->fmt, old, new))
        c->flush->needed = true;
}

/* `count` leaves of one table. The product's busiest loop: one load, one test, one store each. */
static void fill(const struct change *c, uint64_t *entry, uint64_t value, uint64_t count,
                 unsigned level)
{
    const uint64_t *end = entry + count;
    uint64_t step = pt_span(level);
    uint16_t *live = live_of(entry);
    unsigned added = 0;

    for (; entry < end; entry++, value += step) {
        uint64_t old = load(entry);

        if (LIKELY(old == 0)) {
            pt_store(entry, value, false);
            added++;
        } else {
            replace(c, entry, old, value, level);
        }
    }
    *live = (uint16_t)(*live + added);
    c->root->leaves[level] += added;
    c->root->stores += added;
}

static unsigned leaf_level(uint64_t addr, uint64_t frame, uint64_t bytes, unsigned max_level)
{
    unsigned level = max_level;

    while (level > 1 && (((addr | frame) & (pt_span(level) - 1)) != 0 || bytes < pt_span(level)))
        level--;
    return level;
}

void pt_map(struct pt_root *root, uint64_t addr, hpa_t frame, uint64_t pages,
            const struct pt_attr *attr, struct pt_flush *flush)
{
    struct change c = {root, flush, attr, MIN(attr->max_level, root->max_level)};
    uint64_t left = pages * PAGE_BYTES;

    addr &= INPUT_MASK;
    ASSERT(((addr | frame.v) & PAGE_MASK) == 0 && c.max_level != 0);
    ASSERT(pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
    while (left != 0) {
        unsigned wanted = leaf_level(addr, frame.v, left, c.max_level);
        unsigned level = wanted;
        hpa_t table = reach(&c, addr, frame, &level);
        uint64_t *entry = slot(table, addr, level);
        uint64_t bytes = pt_span(level) - (addr & (pt_span(level) - 1));

        if (level == wanted) {
            uint64_t room = ENTRIES - ((addr >> shift_of(level)) & (ENTRIES - 1));
            uint64_t count = MIN(room, left >> shift_of(level));

            fill(&c, entry, pt_encode(root->fmt, frame, attr, level), count, level);
            bytes = count << shift_of(level);
        }
        bytes = MIN(bytes, left);
        addr += bytes;
        frame.v += bytes;
        left -= bytes;
    }
}

/*
 * Clear entries of one table from addr on, until the table or the range ends or an entry has to be walked
 * into. Returns the address that comes next.
 */
static uint64_t clear(struct pt_root *root, hpa_t table, unsigned level, uint64_t addr,
                      uint64_t end, struct pt_flush *flush)
{
    uint64_t *entry = slot(table, addr, level);
    uint64_t span = pt_span(level);
    uint64_t cleared = 0;

    do {
        uint64_t old = load(entry);
        uint64_t next = ALIGN_DOWN(addr, span) + span;

        if (old != 0) {
            bool leaf = pt_is_leaf(root->fmt, old, level);

            if (next - addr != span || next > end || (!leaf && root->keep_empty))
                break;
            put(root, entry, 0, true);
            cleared++;
            flush->needed = true;
            if (leaf)
                root->leaves[level]--;
            else
                bury_subtree(root, next_table(old), level - 1, flush);
        }
        addr = next;
        entry++;
    } while (addr < end && ((uintptr_t)entry & PAGE_MASK) != 0);
    if (cleared != 0) {
        uint16_t *live = pt_pool_live(table);

        *live = (uint16_t)(*live - cleared);
    }
    return MIN(addr, end);
}

/* The tables on the way to an address: where the walk went, for the way back. */
struct path {
    hpa_t table[PT_LEVELS + 1]; /* by level */
};

/* Walk to the table in which addr can be cleared: down to an empty entry, or one that is wholly inside. */
static unsigned descend(struct pt_root *root, uint64_t addr, uint64_t end, struct path *path,
                        struct pt_flush *flush)
{
    unsigned level = PT_LEVELS;

    path->table[level] = root->root;
    while (level > 1) {
        uint64_t *entry = slot(path->table[level], addr, level);
        uint64_t value = load(entry);
        bool covered = (addr & (pt_span(level) - 1)) == 0 && end - addr >= pt_span(level);
        bool leaf = pt_is_leaf(root->fmt, value, level);

        if (value == 0 || (covered && (leaf || !root->keep_empty)))
            break;
        path->table[level - 1] = leaf ? split(root, entry, value, level, flush) : next_table(value);
        level--;
    }
    return level;
}

/* Unlink the tables on the path that have become empty, from `level` up. */
static void prune(struct pt_root *root, uint64_t addr, const struct path *path, unsigned level,
                  struct pt_flush *flush)
{
    while (level < PT_LEVELS && *pt_pool_live(path->table[level]) == 0) {
        uint64_t *entry = slot(path->table[level + 1], addr, level + 1);

        put(root, entry, 0, true);
        --*live_of(entry);
        bury(flush, path->table[level]);
        level++;
    }
}

void pt_unmap(struct pt_root *root, uint64_t addr, uint64_t pages, struct pt_flush *flush)
{
    uint64_t end;

    addr &= INPUT_MASK;
    ASSERT((addr & PAGE_MASK) == 0 && pages <= (BIT(PT_INPUT_BITS) - addr) / PAGE_BYTES);
    end = addr + pages * PAGE_BYTES;
    while (addr < end) {
        struct path path;
        unsigned level = descend(root, addr, end, &path, flush);
        uint64_t next = clear(root, path.table[level], level, addr, end, flush);

        if (!root->keep_empty)
            prune(root, addr, &path, level, flush);
        addr = next;
    }
}

bool pt_lookup(const struct pt_root *root, uint64_t addr, struct pt_leaf *leaf)
{
    hpa_t table = root->root;
    unsigned level = PT_LEVELS;
    uint64_t value;

    addr &= INPUT_MASK;
    for (;; level--) {
        value = load(slot(table, addr, level));
        if (value == 0 || pt_is_leaf(root->fmt, value, level))
            break;
        table = next_table(value);
    }
    *leaf = (struct pt_leaf){.level = (uint8_t)level, .present = value != 0, .entry = value};
    if (value != 0) {
        leaf->attr = pt_decode(root->fmt, value, level);
        leaf->frame.v =
            pt_frame(value, level).v + (addr & (pt_span(level) - 1) & ~(uint64_t)PAGE_MASK);
    }
    return leaf->present;
}

void pt_dump_walk(const struct pt_root *root, uint64_t addr, const char *room)
{
    hpa_t table = root->root;

    addr &= INPUT_MASK;
    log_line(room, "%s walk of %012llx", root->fmt->name, (unsigned long long)addr);
    for (unsigned level = PT_LEVELS;; level--) {
        const uint64_t *entry = slot(table, addr, level);
        uint64_t value = load(entry);
        unsigned long long at = direct_to_hpa(entry).v;

        if (value == 0) {
            log_line(room, "  level %u at %llx: empty", level, at);
            return;
        }
        if (pt_is_leaf(root->fmt, value, level)) {
            struct pt_attr attr = pt_decode(root->fmt, value, level);

            log_line(room, "  level %u at %llx: %016llx leaf %c%c%c %s%s frame %llx", level, at,
                     (unsigned long long)value, attr.rights & PT_R ? 'r' : '-',
                     attr.rights & PT_W ? 'w' : '-', attr.rights & PT_X ? 'x' : '-',
                     memtype_name(attr.memtype), attr.ignore_pat ? " ipat" : "",
                     (unsigned long long)pt_frame(value, level).v);
            return;
        }
        log_line(room, "  level %u at %llx: %016llx table", level, at, (unsigned long long)value);
        table = next_table(value);
    }
}

#define FNV_BASIS 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

static uint64_t fnv(uint64_t hash, uint64_t word)
{
    for (unsigned i = 0; i < sizeof(word); i++, word >>= 8)
        hash = (hash ^ (word & 0xff)) * FNV_PRIME;
    return hash;
}

static uint64_t hash_table(const struct pt_format *fmt, hpa_t table, unsigned level, uint64_t addr,
                           uint64_t hash)
{
    const uint64_t *entry = direct(table);

    for (unsigned i = 0; i < ENTRIES; i++, addr += pt_span(level)) {
        uint64_t value = load(entry + i);

        if (value == 0)
            continue;
        if (pt_is_leaf(fmt, value, level))
            hash = fnv(fnv(hash, addr), value & ~fmt->ad_mask);
        else
            hash = hash_table(fmt, next_table(value), level - 1, addr, hash);
    }
    return hash;
}

uint64_t pt_hash(const struct pt_root *root)
{
    return hash_table(root->fmt, root->root, PT_LEVELS, 0, FNV_BASIS);
}
