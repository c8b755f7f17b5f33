/*
 * Owns:     looking at the machine's own devices at boot: ACPI tables, local APIC, PCI; options of virtual devices
 *           that name a PCI function of the machine.
 * Promises: what the machine does not have is told in one line, and the boot goes on.
 * Needs:    drivers/host/, and hv/mem/view.h beneath it.
 * Never:    hands a function to a guest that can still be a bus master.
 */
#ifndef BOOT_HOSTDEV_H
#define BOOT_HOSTDEV_H

#include "boot/boot.h"

/* After console_start_screen(). */
void hostdev_find(const struct boot_info *boot);

/* ---- options ---- */

/* BAR `bar` of the first function with these identifiers. */
struct hostdev_bar {
    uint16_t vendor, device;
    unsigned bar;
};

/* "pci:VVVV:DDDD:B": two hexadecimal numbers of up to four digits and a digit. Pure. */
bool hostdev_parse_bar(const char *text, struct hostdev_bar *out);

/* The options of a device with "window=pci:..." resolved: "window=" and "window_bytes=", both in hexadecimal. */
struct hostdev_options {
    unsigned count;
    const char *option[CONFIG_MAX_OPTIONS + 1];
    char window[32], window_bytes[40]; /* what two of them point to */
};

/*
 * Copy the options of `device`. The first "window=pci:VVVV:DDDD:B" becomes base and size of that BAR, with the
 * function's bus mastering off and its memory decoding on; where there is no such function, or its BAR has no
 * address, the option is left out and the log says so. One that cannot be read as such stays: the device refuses
 * it.
 */
void hostdev_resolve(const struct config_device *device, struct hostdev_options *out);

#endif
