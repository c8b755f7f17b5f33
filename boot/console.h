/*
 * Owns:     where the log goes: the serial line, and the machine's screen when the configuration wants it and no guest's
 *           picture is on it (hv/pci/scanout.h).
 * Promises: what was logged before the screen could be mapped appears on it too, oldest lines first, as much
 *           as fits; a panic and a boot that gives up go to the serial line whatever the configuration says.
 * Needs:    drivers/host/uart.h, drivers/host/screen.h; the boot information stays.
 * Never:    waits, locks.
 */
#ifndef BOOT_CONSOLE_H
#define BOOT_CONSOLE_H

#include "boot/boot.h"

/* The configuration is known: be silent on the serial line if it says so. */
void console_configure(const struct config *config);

/* Things can be mapped (view_init()): turn on the screen, if the configuration wants the log on it. Once. */
void console_start_screen(const struct boot_info *boot);

#endif
