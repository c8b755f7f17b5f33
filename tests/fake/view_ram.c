#define _GNU_SOURCE
#include "tests/fake/view_ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hv/base/direct.h"

#define AREA_BYTES GIB(64ull)
#define MAX_VIEWS  2048u

/* base[i] is NULL where there is none. */
static struct {
    uint8_t *base;
    uint64_t bytes;
    bool read_only;
} view[MAX_VIEWS];
uint64_t fake_view_pages, fake_view_live;
static unsigned fail_in;
static uint8_t *next; /* in the area, where every mapping leaves an inaccessible page behind it */
static uint8_t *end;

static void die(const char *why)
{
    perror(why);
    abort();
}

uint8_t *fake_view_addresses(uint64_t bytes)
{
    uint8_t *base;

    if (!next) {
        next =
            mmap(NULL, AREA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (next == MAP_FAILED)
            die("fake_view: mmap");
        end = next + AREA_BYTES;
    }
    base = next;
    next += bytes + PAGE_BYTES;
    if (next > end)
        die("fake_view: the area is used up");
    return base;
}

hv_status_t view_map_ram(hpa_t frame, uint64_t pages, bool read_only, void **va)
{
    uint64_t bytes = pages * PAGE_BYTES;
    unsigned i = 0;
    uint8_t *base;

    if (frame.v % PAGE_BYTES != 0 || pages == 0)
        die("fake_view: not a run of frames");
    if (fail_in != 0 && --fail_in == 0)
        return HV_E_NO_MEMORY;
    while (i < MAX_VIEWS && view[i].base)
        i++;
    if (i == MAX_VIEWS)
        return HV_E_NO_MEMORY;
    base = fake_view_addresses(bytes);
    /* An old size of 0 maps shared memory once more. */
    if (mremap(direct(frame), 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, base) != base)
        die("fake_view: mremap");
    if (mprotect(base, bytes, read_only ? PROT_READ : PROT_READ | PROT_WRITE) != 0)
        die("fake_view: mprotect");
    view[i].base = base;
    view[i].bytes = bytes;
    view[i].read_only = read_only;
    fake_view_live++;
    fake_view_pages += pages;
    *va = base;
    return HV_OK;
}

hv_status_t view_unmap_ram(void *va)
{
    for (unsigned i = 0; i < MAX_VIEWS && va; i++) {
        if (view[i].base != va)
            continue;
        if (mmap(va, view[i].bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != va)
            die("fake_view: mmap");
        view[i].base = NULL;
        fake_view_live--;
        fake_view_pages -= view[i].bytes / PAGE_BYTES;
        return HV_OK;
    }
    return HV_E_NOT_MAPPED;
}

uint64_t view_live_count(void)
{
    return fake_view_live;
}

void fake_view_fail(unsigned nth)
{
    fail_in = nth;
}

bool fake_view_ram_at(const void *address, bool *read_only)
{
    for (unsigned i = 0; i < MAX_VIEWS; i++)
        if (view[i].base && (uintptr_t)address - (uintptr_t)view[i].base < view[i].bytes) {
            *read_only = view[i].read_only;
            return true;
        }
    return false;
}
