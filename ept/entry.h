/*
 * Owns:     how ept/ finds and loads an entry; shared by ept.c and report.c only.
 * Promises: each look at an entry is one load.
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

#endif
