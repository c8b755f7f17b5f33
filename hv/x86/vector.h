/*
 * Owns:     the vector registers, which hold the guest's values all the time: the hypervisor's own code uses none.
 * Promises: a get and a set move one register and touch no other state.
 * Needs:    CR4.OSFXSR, for 32 bytes also CR4.OSXSAVE and AVX in XCR0 (which is the guest's).
 * Never:    saves or restores.
 */
#ifndef HV_X86_VECTOR_H
#define HV_X86_VECTOR_H

#include "hv/base/types.h"

/* bytes: 16 or 32. */
void vector_get(unsigned reg, unsigned bytes, void *to);
/* With `zero`, which needs AVX, a set of 16 bytes clears those above. */
void vector_set(unsigned reg, unsigned bytes, bool zero, const void *from);

#endif
