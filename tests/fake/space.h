/*
 * Owns:     the CPU's side of hv/mem/space.h for host tests: a tree in fake table blocks, a TLB that remembers.
 * Promises: a page touched once is reached through the TLB until its address is flushed, whatever the tables say.
 * Needs:    tests/fake/blocks.h, hv/mem/space_view.c.
 * Never:    linked together with hv/mem/space.c.
 */
#ifndef TESTS_FAKE_SPACE_H
#define TESTS_FAKE_SPACE_H

#include "hv/mem/space_root.h"

#define FAKE_IMAGE_START MIB(16)
#define FAKE_IMAGE_END   (MIB(18) + 0x3000)
#define FAKE_TLB_PAGES   64u

struct fake_space {
    uint64_t flushes; /* so far, and of how many pages */
    uint64_t flushed_pages;
    uint64_t image_up; /* how far above FAKE_IMAGE_START the image lies */
};

extern struct fake_space fake_space;

/* An empty tree whose largest leaves are 1 GiB. */
void fake_space_open(void);

/* An access: false when neither TLB nor tables have the page. */
bool fake_space_touch(uint64_t address);

/* Tables besides the root. */
uint64_t fake_space_tables(void);

#endif
