/*
 * Owns:     pt_block_alloc and pt_block_free for host tests, in fake physical memory of their own.
 * Promises: a new block is full of garbage; a freed block faults when touched and is not reused before
 *           every other free block was; double and foreign frees abort.
 * Needs:    nothing: it maps itself, at FAKE_BLOCKS_BASE of the direct map.
 * Never:    inside the memory of tests/fake/phys.h.
 */
#ifndef TESTS_FAKE_BLOCKS_H
#define TESTS_FAKE_BLOCKS_H

#include "ept/pool.h"
#include "tests/fake/phys.h"

#define FAKE_BLOCKS_BASE  FAKE_PHYS_LIMIT
#define FAKE_BLOCKS_COUNT 8192u /* 512 MiB of address space */

/* The n-th allocation from now (1 = the next) fails, once. 0: none fails. */
void fake_blocks_fail(unsigned nth);

/* Every allocation fails while set. */
void fake_blocks_exhaust(bool exhausted);

/* Blocks handed out and not given back: the leak count. */
unsigned fake_blocks_live(void);

/* Allocations asked for so far, failed ones included. */
unsigned fake_blocks_asked(void);

/* True when `frame` lies in a block that is handed out now. */
bool fake_blocks_owns(hpa_t frame);

#endif
