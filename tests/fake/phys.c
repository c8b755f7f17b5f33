#define _GNU_SOURCE
#include "tests/fake/phys.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint64_t mapped_bytes;

static void map_zero(int placement)
{
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | placement;
    void *want = direct(HPA(0));

    if (mmap(want, mapped_bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != want) {
        perror("fake_phys: mmap at HV_DIRECT_BASE");
        abort();
    }
}

void fake_phys_init(uint64_t bytes)
{
    if (mapped_bytes != 0 || bytes == 0 || bytes > FAKE_PHYS_LIMIT) {
        fprintf(stderr, "fake_phys_init: initialised twice, or a bad size\n");
        abort();
    }
    mapped_bytes = ALIGN_UP(bytes, PAGE_BYTES);
    map_zero(MAP_FIXED_NOREPLACE);
}

void fake_phys_reset(void)
{
    map_zero(MAP_FIXED);
}

void fake_phys_fini(void)
{
    munmap(direct(HPA(0)), mapped_bytes);
    mapped_bytes = 0;
}
