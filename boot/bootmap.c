#include "boot/boot.h"

#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

/*
 * The tables between the firmware's and our own: a copy of the firmware's root, so that we keep running where
 * we are, plus the direct map. Used for moments only; space.c then builds the real ones.
 */
#define ENTRIES     512u
#define ROOT_FIRST  ((HV_DIRECT_BASE >> 39) & (ENTRIES - 1))
#define TABLE_FLAGS (PTE_P | PTE_W)
#define LARGE_FLAGS (PTE_P | PTE_W | PTE_PS)

static bool has_1g_pages(void)
{
    return (cpuid(0x80000001, 0).edx & CPUID_8000_0001_EDX_1G) != 0;
}

static uint64_t gibs(uint64_t ram_end)
{
    return ALIGN_UP(ram_end, GIB(1)) / GIB(1);
}

static uint64_t level3_tables(uint64_t ram_end)
{
    return (gibs(ram_end) + ENTRIES - 1) / ENTRIES;
}

uint64_t bootmap_pages(uint64_t ram_end)
{
    return 1 + level3_tables(ram_end) + (has_1g_pages() ? 0 : gibs(ram_end));
}

uint64_t bootmap_build(void *frames, uint64_t ram_end)
{
    uint64_t *root = frames;
    uint64_t *level3 = root + ENTRIES;
    uint64_t *level2 = level3 + level3_tables(ram_end) * ENTRIES;

    memcpy(root, (const void *)(uintptr_t)(read_cr3() & BITS(51, 12)), PAGE_BYTES);
    for (uint64_t i = 0; i < level3_tables(ram_end); i++)
        root[ROOT_FIRST + i] = (uint64_t)(uintptr_t)(level3 + i * ENTRIES) | TABLE_FLAGS;
    for (uint64_t g = 0; g < gibs(ram_end); g++) {
        if (has_1g_pages()) {
            level3[g] = GIB(g) | LARGE_FLAGS;
            continue;
        }
        level3[g] = (uint64_t)(uintptr_t)(level2 + g * ENTRIES) | TABLE_FLAGS;
        for (uint64_t m = 0; m < ENTRIES; m++)
            level2[g * ENTRIES + m] = (GIB(g) + MIB(2 * m)) | LARGE_FLAGS;
    }
    return (uint64_t)(uintptr_t)root;
}
