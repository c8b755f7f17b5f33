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

/* Is there a doorbell in BAR pages [first, first + pages)? Caller holds the device's lock. */
bool doorbell_in_pages(const struct hv_bar_state *bar, uint64_t first, uint64_t pages);

/* mmio_handler.write_whole of a BAR that has doorbells. */
void doorbell_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value);

/* Destroy every doorbell of the device and log each: teardown. Returns how many there were. */
uint64_t doorbell_destroy_all(struct hv_device *device);

#endif
