/*
 * Owns:     what the firmware phase hands to the hypervisor phase.
 * Promises: everything here lies in memory that stays ours (the image or loader data).
 * Needs:    boot/config.h, boot/memmap.h, drivers/host/screen.h (what a screen is).
 * Never:    <efi.h> types.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "boot/config.h"
#include "boot/memmap.h"
#include "drivers/host/screen.h"

#define BOOT_MAX_RUNS     256u
#define BOOT_CONFIG_BYTES 16384u

struct boot_file {
    uint8_t *bytes; /* NULL: none; page-aligned, identity-mapped */
    uint64_t size_bytes;
};

struct boot_info {
    struct config config;
    struct boot_file guest;
    struct boot_file module;
    struct memmap_run run[BOOT_MAX_RUNS];
    unsigned run_count;
    uint64_t image_base, image_bytes;
    uint64_t acpi_rsdp;        /* 0: the firmware has none */
    struct screen_mode screen; /* the GOP's frame buffer; SCREEN_NONE: there is none */
    unsigned cpu_count;
    uint64_t start_ticks; /* TSC at efi_main */
    uint64_t kept_bytes;  /* loader data besides the image: files, tables */
};

/* boot/main.c: the composition root. Runs on the boot stack with the boot tables. Never returns. */
NORETURN void hv_main(struct boot_info *boot);

/* The first line of every boot: name, version, build id, load address. */
void boot_banner(const struct boot_info *boot);

/* The boot CPU's stacks, each above its guard page (hv/x86/desc.h). */
extern uint8_t boot_stacks[];

/* boot/bootmap.c: tables that add the direct map to what the firmware has mapped. */
uint64_t bootmap_pages(uint64_t ram_end);               /* frames to allocate */
uint64_t bootmap_build(void *frames, uint64_t ram_end); /* the new CR3 */

#endif
