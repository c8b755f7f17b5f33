/*
 * Owns:     what the tests of doorbells share: a device with two BARs, some events, and writes that are looked after.
 * Promises: rings() sees every event and the device's callback: a write has one of them, once.
 * Needs:    tests/unit/pci_world.h.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_BELL_KIT_H
#define TESTS_UNIT_BELL_KIT_H

#include "tests/unit/pci_world.h"

#define RW     HV_MMIO_WRITEABLE
#define ANY    HV_DOORBELL_ANY
#define BYTE   HV_DOORBELL_BYTE
#define WORD   HV_DOORBELL_WORD
#define DWORD  HV_DOORBELL_DWORD
#define QWORD  HV_DOORBELL_QWORD
#define ALWAYS HV_DOORBELL_ANY_VALUE
#define NOTIFY 0x38u
#define EVENTS 16u

static struct probe *const probe = &world.probe[0];
extern hv_handle_t event[EVENTS];

/* Two BARs, decoded and started: BAR0 of 256 bytes, BAR2 of 8 MiB. */
void bars_up(void);

void make_events(void);
void close_events(void);

/* The calls on the probe's device; no lock is left behind. */
hv_status_t bell_add(enum hv_bar bar, uint64_t offset, uint64_t value, uint64_t flags,
                     hv_handle_t handle);
hv_status_t bell_drop(enum hv_bar bar, uint64_t offset, uint64_t value, uint64_t flags);

uint64_t taken(hv_handle_t handle);
void put(enum hv_bar bar, uint64_t offset, unsigned bytes, uint64_t value);

/* The write rings event `n` and nobody else; EVENTS: it goes to the callback. */
void rings(enum hv_bar bar, uint64_t offset, unsigned bytes, uint64_t value, unsigned n);

#endif
