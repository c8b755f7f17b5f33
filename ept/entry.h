/*
 * Owns:     how ept/ finds, loads and stores an entry, and what its files call in each other.
 * Promises: each look at an entry is one load, each change one store.
 * Needs:    ept/ept.h, the direct map.
 * Never:    included outside ept/.
 */
#ifndef EPT_ENTRY_H
#define EPT_ENTRY_H

#include "ept/ept.h"
#include "hv/base/direct.h"

#define ENTRIES    512u
#define INPUT_MASK (BIT(PT_INPUT_BITS) - 1)
#define ENTRY_BITS 9u

static inline unsigned shift_of(unsigned level)
{
    return PAGE_SHIFT + ENTRY_BITS * (level - 1);
}

/* Hardware may set A/D bits at any time: each look at an entry is one load. */
static inline uint64_t load(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

static inline uint64_t *slot(hpa_t table, uint64_t addr, unsigned level)
{
    return (uint64_t *)direct(table) + ((addr >> shift_of(level)) & (ENTRIES - 1));
}

static inline hpa_t next_table(uint64_t entry)
{
    return HPA(entry & PT_ADDR_MASK);
}

/* A walk from the root without variable shifts: the word's top bits are the index, and move up each level. */
#define WALK_WORD(addr) ((addr) << (64u - PT_INPUT_BITS))

static inline uint64_t *walk_slot(hpa_t table, uint64_t word)
{
    return (uint64_t *)direct(table) + (word >> (64u - ENTRY_BITS));
}

/* The table that an entry lies in, by its live count. */
static inline uint16_t *live_of(const uint64_t *entry)
{
    return pt_pool_live(direct_to_hpa(entry));
}

static inline uint64_t put(struct pt_root *root, uint64_t *entry, uint64_t value, bool live)
{
    root->stores++;
    return pt_store(entry, value, live);
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

/* find() for level 1, which leaves its table in root->last_table: changes of pages come in swarms. */
static inline uint64_t *find_page(struct pt_root *root, uint64_t addr)
{
    uint64_t *entry;

    if (UNLIKELY(root->last_number != addr >> shift_of(2))) {
        entry = find(root, addr, 1);
        if (entry == NULL)
            return NULL;
        root->last_number = addr >> shift_of(2);
        root->last_table = (uint64_t *)direct(HPA(ALIGN_DOWN(direct_to_hpa(entry).v, PAGE_BYTES)));
        root->last_live = live_of(entry);
    }
    return root->last_table + ((addr >> PAGE_SHIFT) & (ENTRIES - 1));
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

/*
 * Entries of `level` from `entry` on, up to `count`, that one step may deal with: where each may be a subtree of more
 * than one table, the first that is one is the last.
 */
static inline uint64_t entries_of_step(const struct pt_root *root, const uint64_t *entry,
                                       uint64_t count, unsigned level)
{
    uint64_t i = 0;

    if (level <= 2)
        return count;
    while (i < count) {
        uint64_t value = load(entry + i++);

        if (value != 0 && !pt_is_leaf(root->fmt, value, level))
            break;
    }
    return i;
}

/* The table is out of the tree; CPUs may still walk it until the flush. */
void pt_bury(struct pt_root *root, struct pt_flush *flush, hpa_t table);

/* Bury a table with everything below it. Entries stay as they are: a CPU may be walking them. */
void pt_bury_subtree(struct pt_root *root, hpa_t table, unsigned level, struct pt_flush *flush);

/*
 * Put a full table in the place of the large leaf `old` of `level` in `entry`; takes that table. Each page keeps its
 * translation.
 */
hpa_t pt_split(struct pt_root *root, uint64_t *entry, uint64_t old, unsigned level,
               struct pt_flush *flush);

#endif
