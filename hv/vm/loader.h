/*
 * Owns:     guest images: ELF32/ELF64 with a PVH note into guest RAM, hvm_start_info beside it.
 * Promises: a malformed image is refused with a reason and nothing is written to the guest.
 * Needs:    guest RAM as a list of runs with pointers.
 * Never:    trusts a header: every offset and size is checked against the file and the RAM.
 */
#ifndef HV_VM_LOADER_H
#define HV_VM_LOADER_H

#include "hv/base/status.h"
#include "hv/base/types.h"

/* A run of guest RAM that the loader may write: gpa..gpa+bytes at `host`. */
struct loader_ram {
    uint64_t gpa;
    uint64_t bytes;
    uint8_t *host;
};

/*
 * Runs come in any order and must not overlap; runs that touch count as one stretch of RAM. ACPI tables that are in
 * place already lie in none of them. `elf`, `module` and `cmdline` lie outside the runs' memory.
 */
struct loader_image {
    const uint8_t *elf;
    uint64_t elf_bytes;
    const char *cmdline;   /* NUL-terminated; may be "" */
    const uint8_t *module; /* NULL: none */
    uint64_t module_bytes;
    const struct loader_ram *ram;
    unsigned ram_count;
    uint64_t rsdp;                 /* guest-physical, 0: none */
    uint64_t tables, tables_bytes; /* where ACPI tables are, guest-physical; 0 bytes: nowhere */
};

struct loader_entry {
    uint32_t entry;      /* 32-bit protected-mode entry point */
    uint32_t start_info; /* guest-physical address for EBX */
};

#define PVH_START_MAGIC    0x336ec578u
#define LOADER_MAX_HEADERS 64u /* program headers; the overlap check is quadratic */

/*
 * Returns NULL on success, else why the image was refused (a whole sentence without a full stop, static); then
 * *entry and the RAM are untouched. Segments must lie in RAM below 4 GiB and not overlap each other.
 * start_info version 1 with memory map, command line and at most one module is put into free RAM below 4 GiB,
 * above the segments, the module behind it, both page-aligned; the map lists RAM runs, and the tables as memory that the guest
 * may take when it has read them, sorted.
 */
const char *loader_load_pvh(const struct loader_image *image, struct loader_entry *entry);

#endif
