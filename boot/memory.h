/*
 * Owns:     turning the firmware's memory map into frames and our address space.
 * Promises: memory_take() needs only the boot tables; memory_take_rest() runs on our own.
 * Needs:    boot/boot.h, hv/mem.
 * Never:    firmware calls.
 */
#ifndef BOOT_MEMORY_H
#define BOOT_MEMORY_H

#include "boot/boot.h"
#include "hv/base/status.h"

hv_status_t memory_take(const struct boot_info *boot) MUST_CHECK;
hv_status_t memory_take_rest(const struct boot_info *boot) MUST_CHECK;
void memory_print(const struct boot_info *boot);

#endif
