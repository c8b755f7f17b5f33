/*
 * Owns:     devices of drivers/virtual/ on the bus of pci_world.h, as a guest drives them.
 * Promises: accesses go the guest's way: config ports, BARs.
 * Needs:    tests/unit/pci_world.h, tests/fake/.
 * Never:    expectations of one device.
 */
#ifndef TESTS_UNIT_DEVICE_KIT_H
#define TESTS_UNIT_DEVICE_KIT_H

#include "tests/fake/alarm.h"
#include "tests/fake/apic.h"
#include "tests/fake/scanout.h"
#include "tests/unit/pci_world.h"

/* The guest's RAM: two runs that touch at SEAM but lie apart in the host, and one from HIGH on. */
#define SEAM     MIB(2)
#define TOP      MIB(4)
#define HIGH     GIB(4ull)
#define HIGH_END (HIGH + MIB(2))

/*
 * The byte behind a guest-physical address; fill_ram(): ascending bytes; is_filled(): they are
 * there.
 */
uint8_t *ram(uint64_t gpa);
void fill_ram(uint64_t gpa, uint64_t bytes, uint8_t first);
bool is_filled(uint64_t gpa, uint64_t bytes, uint8_t first);

/* cmocka set-up: RAM, a screen, no message and no alarm. */
int kit_open(void **state);

/* hv_device_add() with the words of one string, separated by blanks; NULL: none. */
hv_status_t try_add(const char *model, const char *words, struct hv_device **device);
/* Added, started with its host, memory decode and bus mastering on. */
struct hv_device *add(const char *model, const char *words);

uint64_t get(const struct hv_device *device, enum hv_bar bar, uint64_t offset, unsigned bytes);
void put(const struct hv_device *device, enum hv_bar bar, uint64_t offset, unsigned bytes,
         uint64_t value);

/* How many messages came since the last call. */
unsigned messages(void);

/* MSI, the first capability: on, `data` is what comes. */
void enable_msi(const struct hv_device *device, uint16_t data);
/* MSI-X, the first capability: vector i sends data + i, unmasked. */
void enable_msix(const struct hv_device *device, enum hv_bar bar, unsigned vectors, uint32_t data);

/* What BAR `bar` reads after all ones were written; it is put back. */
uint32_t probe_size(const struct hv_device *device, enum hv_bar bar);

#endif
