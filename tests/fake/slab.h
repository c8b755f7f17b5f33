/*
 * Owns:     slabs for host tests: each record is an allocation of its own.
 * Promises: ASan sees every use after free, overrun and leak; the n-th allocation can be made to fail.
 * Needs:    libc.
 * Never:    linked together with hv/mem/slab.c.
 */
#ifndef TESTS_FAKE_SLAB_H
#define TESTS_FAKE_SLAB_H

#include "hv/mem/slab.h"

/* The n-th slab_alloc() from now (1 = the next) gives NULL, once. 0: none does. */
void fake_slab_fail(unsigned nth);

/* Records of all slabs that are handed out. */
uint64_t fake_slab_live(void);

#endif
