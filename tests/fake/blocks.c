#define _GNU_SOURCE
#include "tests/fake/blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GARBAGE 0x5a

static bool in_use[FAKE_BLOCKS_COUNT];
static unsigned next; /* search starts here, so that a freed block rests as long as possible */
static unsigned live;
static unsigned asked;
static unsigned fail_in;
static bool is_exhausted;
static bool is_mapped;

static void die(const char *why)
{
    fprintf(stderr, "fake_blocks: %s\n", why);
    abort();
}

static hpa_t block_at(unsigned index)
{
    return HPA(FAKE_BLOCKS_BASE + index * PT_BLOCK_BYTES);
}

static void map_once(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *want = direct(HPA(FAKE_BLOCKS_BASE));

    if (is_mapped)
        return;
    if (mmap(want, FAKE_BLOCKS_COUNT * PT_BLOCK_BYTES, PROT_NONE, flags, -1, 0) != want)
        die("no address space");
    is_mapped = true;
}

static void protect(unsigned index, int rights)
{
    if (mprotect(direct(block_at(index)), PT_BLOCK_BYTES, rights) != 0)
        die("mprotect failed");
}

hv_status_t pt_block_alloc(hpa_t *block)
{
    asked++;
    if (is_exhausted || (fail_in != 0 && --fail_in == 0) || live == FAKE_BLOCKS_COUNT)
        return HV_E_NO_MEMORY;
    map_once();
    while (in_use[next])
        next = (next + 1) % FAKE_BLOCKS_COUNT;
    in_use[next] = true;
    live++;
    protect(next, PROT_READ | PROT_WRITE);
    *block = block_at(next);
    memset(direct(*block), GARBAGE, PT_BLOCK_BYTES);
    next = (next + 1) % FAKE_BLOCKS_COUNT;
    return HV_OK;
}

void pt_block_free(hpa_t block)
{
    uint64_t index = (block.v - FAKE_BLOCKS_BASE) / PT_BLOCK_BYTES;

    if (block.v % PT_BLOCK_BYTES != 0 || index >= FAKE_BLOCKS_COUNT)
        die("free of a foreign block");
    if (!in_use[index])
        die("double free");
    in_use[index] = false;
    live--;
    madvise(direct(block), PT_BLOCK_BYTES, MADV_DONTNEED);
    protect((unsigned)index, PROT_NONE);
}

void fake_blocks_fail(unsigned nth)
{
    fail_in = nth;
}

void fake_blocks_exhaust(bool exhausted)
{
    is_exhausted = exhausted;
}

unsigned fake_blocks_live(void)
{
    return live;
}

unsigned fake_blocks_asked(void)
{
    return asked;
}

bool fake_blocks_owns(hpa_t frame)
{
    uint64_t index = (frame.v - FAKE_BLOCKS_BASE) / PT_BLOCK_BYTES;

    return frame.v >= FAKE_BLOCKS_BASE && index < FAKE_BLOCKS_COUNT && in_use[index];
}
