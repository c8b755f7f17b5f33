/*
 * Owns:     the way that a walk took through a guest's 4-level tables: where each entry lies and what it said.
 * Promises: a trail that holds is what a walk would find now: the same entries are read again and compared, so the
 *           guest cannot make it stale, with or without an invalidation. It costs 4 loads and no shift.
 * Needs:    tables in the first run of guest RAM, which stays where it is while the VM lives.
 * Never:    rights: whoever learns a trail has seen the CPU, or guest_translate(), take that way.
 */
#ifndef HV_VM_TRAIL_H
#define HV_VM_TRAIL_H

#include "hv/vm/vm.h"

#define TRAIL_LEVELS   4u
#define GUEST_NO_TRAIL (~0ull) /* no CR3 has these bits */

struct guest_trail {
    uint64_t cr3;                        /* GUEST_NO_TRAIL: none */
    const uint64_t *entry[TRAIL_LEVELS]; /* of a large page the last one again */
    uint64_t value[TRAIL_LEVELS];
};

/* 64-bit code's tables. False: the trail leads outside the first run of RAM or ends; it holds no longer. */
bool guest_trail_learn(const struct vm *vm, uint64_t cr3, uint64_t linear,
                       struct guest_trail *trail, gpa_t *gpa);

static inline bool guest_trail_holds(const struct guest_trail *trail, uint64_t cr3)
{
    if (trail->cr3 != cr3)
        return false;
#pragma GCC unroll 4
    for (unsigned i = 0; i < TRAIL_LEVELS; i++)
        if (__atomic_load_n(trail->entry[i], __ATOMIC_RELAXED) != trail->value[i])
            return false;
    return true;
}

#endif
