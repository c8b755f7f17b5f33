/*
 * Owns:     devices of tests/unit/pci_world.h that offer capabilities.
 * Promises: cap_create() offers POWER, MSI, MSIX, EXPRESS in this order, as chosen, in `start`.
 * Needs:    tests/fake/apic.h.
 * Never:    more than one device at once.
 */
#ifndef TESTS_UNIT_CAP_KIT_H
#define TESTS_UNIT_CAP_KIT_H

#include "tests/fake/apic.h"
#include "tests/unit/pci_world.h"

enum { OFFER_POWER = 1, OFFER_MSI = 2, OFFER_MSIX = 4, OFFER_EXPRESS = 8, OFFER_ALL = 15 };

/* Where they lie with OFFER_ALL. */
#define AT_POWER   0x40u
#define AT_MSI     0x48u
#define AT_MSIX    0x60u
#define AT_EXPRESS 0x6cu

/* MSI-X of cap_create(): in BAR2 (8 MiB). */
#define CAP_TABLE   0x1000u
#define CAP_PENDING 0x2000u
#define CAP_VECTORS 33u
#define CAP_BAR     0x20000000ull /* where cap_create() puts BAR2 */

/* BAR0 of 256 bytes, BAR2 of 8 MiB at CAP_BAR; started; memory decode and bus mastering on; no message has come. */
void cap_create(struct probe *probe, unsigned offers);
/* So that offers are legal again: the VM is about to stop. */
void cap_stop(struct probe *probe);
void cap_destroy(struct probe *probe);

/* An aligned access to BAR2. */
uint64_t bar_get(uint64_t offset, unsigned bytes);
void bar_put(uint64_t offset, unsigned bytes, uint64_t value);

/* Messages since the last call; fails when they are not `count`. */
void expect_messages(unsigned count);

#endif
