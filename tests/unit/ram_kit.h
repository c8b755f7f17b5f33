/*
 * Owns:     what the tests of guest memory share: a guest whose RAM has a hole and a seam, and short calls.
 * Promises: RAM up to 3 GiB, in two runs that touch at SEAM but lie apart in the host, and again from 4 GiB on.
 * Needs:    tests/unit/pci_world.h; the fake memory above what its frame allocator has.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_RAM_KIT_H
#define TESTS_UNIT_RAM_KIT_H

#include "tests/unit/pci_world.h"

#define TOP      GIB(3ull)
#define LOW      (TOP - MIB(80))
#define SEAM     (TOP - MIB(40))
#define HIGH     GIB(4ull)
#define HIGH_END (HIGH + MIB(8))
#define OFFSET   0x123u /* in a page */

/* world_open() with that RAM. */
int ram_open(void **state);

/* The byte behind a guest-physical address; fill_ram(): ascending bytes. */
uint8_t *ram(uint64_t gpa);
void fill_ram(uint64_t gpa, uint64_t bytes, uint8_t first);

/* The calls, for the device of probe 0. */
hv_status_t read_at(uint64_t gpa, uint32_t bytes, void *buffer);
hv_status_t write_at(uint64_t gpa, uint32_t bytes, const void *buffer);
hv_status_t aperture(uint64_t gpa, uint32_t bytes, void **va);
void destroy(void *va);

#endif
