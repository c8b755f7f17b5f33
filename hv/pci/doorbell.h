/*
 * Owns:     doorbells: writes to a BAR that signal an event and go nowhere else.
 * Promises: a write goes to exactly one of event and callback, also while doorbells come and go; once one is
 *           unregistered it signals no more; no lock is held over an event's callback.
 * Needs:    hv/mem/event.h, the BAR's region (its handler asks), the device's lock for changes.
 * Never:    knows guest-physical addresses: that they follow their BAR is the region's doing.
 */
#ifndef HV_PCI_DOORBELL_H
#define HV_PCI_DOORBELL_H

#include "hv/pci/bus.h"

/* Does a doorbell begin in these bytes of the BAR? In these pages? Caller holds the device's lock. */
bool doorbell_in(const struct hv_bar_state *bar, uint64_t offset, uint64_t bytes);
static inline bool doorbell_in_pages(const struct hv_bar_state *bar, uint64_t first, uint64_t pages)
{
    return doorbell_in(bar, first << PAGE_SHIFT, pages << PAGE_SHIFT);
}

/* mmio_handler.write_whole of a BAR that has doorbells. */
void doorbell_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value);

/* Destroy every doorbell of the device and log each: teardown. Returns how many there were. */
uint64_t doorbell_destroy_all(struct hv_device *device);

#endif
