/*
 * Owns:     areas of addresses: what is taken, and where something new fits.
 * Promises: nothing is given out twice; lowest fit or highest fit in whole blocks of 64 KiB; exact addresses by the
 *           page. Taking and releasing cannot fail; both cost a logarithm of what is taken, a search for room also
 *           one step per hole that is too small.
 * Needs:    the caller's record of each slot, and the caller's lock.
 * Never:    tables, sections.
 *
 *      start        slot             slot slot                 end
 *      |////////////[====]///////////[==] [======]/////////////|
 *       hole 1            hole 2       none       hole 3
 *
 * A hole is what lies behind a slot and is free in whole blocks; the rest of a slot's last block is in no hole. The hole
 * at the start belongs to a slot without addresses.
 */
#ifndef HV_MEM_VIEW_AREA_H
#define HV_MEM_VIEW_AREA_H

#include "hv/base/tree.h"

#define AREA_BLOCK 0x10000ull

struct area_slot {
    struct tree_node node; /* key: first address */
    struct tree_node hole; /* key: first address of the hole; in the tree when there is one */
    uint64_t end;
    uint64_t free_end; /* where the next slot begins, or the area ends */
};

struct area {
    struct tree slots;
    struct tree holes;
    struct area_slot start; /* the one without addresses; in the tree of holes only */
};

/* Where a slot can go. Valid until the area changes. */
struct area_spot {
    struct area *area;
    struct area_slot *before;
    uint64_t base;
};

struct area_want {
    uint64_t bytes; /* not 0 */
    uint64_t align; /* a power of two, at least AREA_BLOCK */
    uint64_t limit; /* the base lies below it */
    bool top_down;
};

/* base and end are multiples of AREA_BLOCK. */
void area_init(struct area *area, uint64_t base, uint64_t end);

/* Room anywhere for whole blocks. False: there is none. */
bool area_find(struct area *area, const struct area_want *want, struct area_spot *spot);

/* Is [base, base + bytes) inside the area and free? bytes is not 0. */
bool area_find_at(struct area *area, uint64_t base, uint64_t bytes, struct area_spot *spot);

/* The spot was found for at least `bytes`; the slot takes exactly these, from its base. */
void area_take(const struct area_spot *spot, struct area_slot *slot, uint64_t bytes);
void area_release(struct area *area, struct area_slot *slot);

/* The slot that holds the address, or NULL. */
struct area_slot *area_at(const struct area *area, uint64_t address);

#endif
