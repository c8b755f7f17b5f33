#include "tests/fake/space.h"

#include <stdio.h>
#include <stdlib.h>

#include "hv/mem/space.h"

struct space hv_space;
struct fake_space fake_space;

static uint64_t tlb[FAKE_TLB_PAGES];
static unsigned tlb_count;

void fake_space_open(void)
{
    if (pt_root_create(&hv_space.root, &pt_format_stage1, &hv_space.pool, 3) != HV_OK)
        abort();
}

void space_image(hva_t *start, hva_t *end)
{
    *start = HVA(FAKE_IMAGE_START + fake_space.image_up);
    *end = HVA(FAKE_IMAGE_END + fake_space.image_up);
}

void space_flush(uint64_t address, uint64_t pages)
{
    unsigned kept = 0;

    fake_space.flushes++;
    fake_space.flushed_pages += pages;
    for (unsigned i = 0; i < tlb_count; i++) {
        if (tlb[i] - address >= pages << PAGE_SHIFT)
            tlb[kept++] = tlb[i];
    }
    tlb_count = kept;
}

bool fake_space_touch(uint64_t address)
{
    uint64_t page = ALIGN_DOWN(address, PAGE_BYTES);
    struct pt_leaf leaf;

    for (unsigned i = 0; i < tlb_count; i++) {
        if (tlb[i] == page)
            return true;
    }
    if (!pt_lookup(&hv_space.root, page, &leaf))
        return false;
    if (tlb_count == FAKE_TLB_PAGES) {
        fprintf(stderr, "fake_space: too many pages touched\n");
        abort();
    }
    tlb[tlb_count++] = page;
    return true;
}

uint64_t fake_space_tables(void)
{
    return hv_space.pool.used_tables - 1;
}
