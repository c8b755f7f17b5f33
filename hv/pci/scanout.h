/*
 * Owns:     the picture of a device that the machine's screen shows: hv_scanout_set().
 * Promises: the picture is copied whole, at each hv_scanout_set(), then about every SCANOUT_TICKS,
 *           and once more before it is taken away. Without a screen no time is set.
 * Needs:    views (hv/mem/view.h), alarms, a link-time screen.
 * Never:    waits for the guest: what it draws meanwhile may be seen half done.
 */
#ifndef HV_PCI_SCANOUT_H
#define HV_PCI_SCANOUT_H

#include "hv/pci/device.h"

/*
 * Of the time-stamp counter, between two copies. How fast it runs is not known: 10 to 40 copies a
 * second on today's machines, 10 where an emulator counts nanoseconds.
 */
#define SCANOUT_TICKS 100000000ull

/*
 * Link-time, boot/console.c in the image: put a picture on the machine's screen, in the format of
 * struct hv_scanout and cut to the screen. False: there is none.
 */
bool scanout_show(const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes);

/* The device is gone. What it left is told in the log. */
void scanout_destroy(const struct hv_device *device);

#endif
