/*
 * Owns:     the few firmware services that the entry uses.
 * Promises: each call either does its whole job or stops the boot with one sentence.
 * Needs:    <efi.h>; boot services.
 * Never:    called after ExitBootServices.
 */
#ifndef BOOT_UEFI_H
#define BOOT_UEFI_H

#include <efi.h>

#include "boot/boot.h"

void uefi_init(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* Say why on the firmware's console and on COM1, wait a moment, and go back to the firmware. */
NORETURN void uefi_stop(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* `pages` frames of loader data, zeroed. */
void *uefi_pages(uint64_t pages);

/* A whole file of the volume that the image came from, in whole pages with at least one NUL behind. */
struct boot_file uefi_read_file(const char *path);

void uefi_image(uint64_t *base, uint64_t *bytes);
unsigned uefi_cpu_count(void);
uint64_t uefi_acpi_rsdp(void);
struct screen_mode uefi_screen(void);

/* The end of the highest RAM in the memory map. */
uint64_t uefi_ram_end(void);

/*
 * ExitBootServices with the final memory map digested into boot->run. The specification lets the map change under
 * the first try; then the map is read again and the call repeated.
 */
void uefi_exit_boot_services(struct boot_info *boot);

#endif
