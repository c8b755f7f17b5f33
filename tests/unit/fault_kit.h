/*
 * Owns:     failures of every allocation that the mapping engine makes: records, frames, blocks of tables, the direct map.
 * Promises: between fault_arm() and fault_disarm() the n-th one fails; no pool has tables in stock then, so that each
 *           reservation of tables is an allocation.
 * Needs:    the linker's --wrap for FAULT_WRAPPED (units.mk).
 * Never:    changes what an allocation does that does not fail.
 */
#ifndef TESTS_UNIT_FAULT_KIT_H
#define TESTS_UNIT_FAULT_KIT_H

#include "hv/base/types.h"

struct fault {
    bool is_armed;
    unsigned nth;   /* that fails */
    unsigned asked; /* so far: set to 0 with nth */
    bool is_frame;  /* what failed was a frame */
    bool fired;
};

extern struct fault fault;

void fault_arm(void);
bool fault_disarm(void); /* true: it has fired */

#endif
