/*
 * Owns:     what the UEFI memory map means for us.
 * Promises: pure; sorted, merged, page-aligned runs that never overlap, whatever the descriptors are like.
 * Needs:    descriptors as bytes with their stride (UEFI: DescriptorSize may exceed the struct).
 * Never:    <efi.h>.
 *
 * Where descriptors disagree, the more reserved use wins. A descriptor off the page grid shrinks to whole
 * pages when it is memory for us and grows to them when it is not. One that reaches past the top of the
 * address space is dropped when it is memory for us and cut at the top when it is not.
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

/* In the order of reservation: a later use beats an earlier one. */
enum memmap_use {
    MEMMAP_FREE,     /* conventional: ours at once */
    MEMMAP_BOOT,     /* boot services: ours once we run on our own tables and stack */
    MEMMAP_KEPT,     /* loader code and data: our image and what we allocated */
    MEMMAP_FIRMWARE, /* runtime, ACPI, reserved, persistent, MMIO: never ours */
};

struct memmap_run {
    uint64_t base;
    uint64_t pages;
    enum memmap_use use;
};

/*
 * Fill `out` with at most `max` runs, sorted by base, neighbours of equal use merged. Only descriptors with
 * the write-back attribute (bit 3) and without the runtime attribute (bit 63) count as RAM; the others are
 * FIRMWARE. Page 0 and nothing else below 1 MiB is left out of FREE and BOOT. Returns the number of runs, or
 * max + 1 when they do not fit; 0 when `stride` is shorter than a descriptor. Needs no order in the map; takes
 * time in the square of the number of descriptors.
 */
unsigned memmap_digest(const void *map, size_t map_bytes, size_t stride, struct memmap_run *out,
                       unsigned max);

/* "free" "boot" "kept" "firmware"; "?" for a value that is none. */
const char *memmap_use_name(enum memmap_use use);

#endif
