/*
 * Owns:     what the UEFI memory map means for us.
 * Promises: pure; sorted, merged, page-aligned runs; overlapping or wrapping descriptors are cut or dropped.
 * Needs:    descriptors as bytes with their stride (UEFI: DescriptorSize may exceed the struct).
 * Never:    <efi.h>.
 */
#ifndef BOOT_MEMMAP_H
#define BOOT_MEMMAP_H

#include "hv/base/types.h"

/* UEFI 2.10 table 7.10: EFI_MEMORY_TYPE and EFI_MEMORY_DESCRIPTOR, by value and layout. */
struct memmap_descriptor {
    uint32_t type;
    uint32_t pad;
    uint64_t physical;
    uint64_t virtual_start;
    uint64_t pages;
    uint64_t attribute;
};

enum memmap_use {
    MEMMAP_FREE,      /* conventional: ours at once */
    MEMMAP_BOOT,      /* boot services: ours once we run on our own tables and stack */
    MEMMAP_KEPT,      /* loader code and data: our image and what we allocated */
    MEMMAP_FIRMWARE,  /* runtime, ACPI, reserved, persistent, MMIO: never ours */
};

struct memmap_run {
    uint64_t base;
    uint64_t pages;
    enum memmap_use use;
};

/*
 * Fill `out` with at most `max` runs, sorted by base, neighbours of equal use merged. Only descriptors with
 * the write-back attribute (bit 3) count as RAM. Page 0 and nothing else below 1 MiB is left out of FREE and
 * BOOT. Returns the number of runs, or max + 1 when they do not fit.
 */
unsigned memmap_digest(const void *map, size_t map_bytes, size_t stride, struct memmap_run *out, unsigned max);

/* "free" "boot" "kept" "firmware". */
const char *memmap_use_name(enum memmap_use use);

#endif
