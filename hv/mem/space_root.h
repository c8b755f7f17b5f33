/*
 * Owns:     what the halves of space.h share: the tree of the hypervisor's addresses, its pool and its lock.
 * Promises: space.c has the CPU's side of it (control registers, TLB), space_view.c is tables and nothing else.
 * Needs:    ept/.
 * Never:    included by anybody else but tests.
 */
#ifndef HV_MEM_SPACE_ROOT_H
#define HV_MEM_SPACE_ROOT_H

#include "ept/ept.h"
#include "hv/base/lock.h"

struct space {
    struct lock lock; /* guards the rest; the innermost lock */
    struct pt_pool pool;
    struct pt_root root;
};

extern struct space hv_space;

/* Entries of these pages lost rights or changed: no CPU may use the old ones when it returns. */
void space_flush(uint64_t address, uint64_t pages);

#endif
