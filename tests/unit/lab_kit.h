/*
 * Owns:     what the tests of the lab share: the device on the bus of pci_world.h, and driving it through its registers.
 * Promises: commands run as a guest runs them.
 * Needs:    tests/unit/pci_world.h.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_LAB_KIT_H
#define TESTS_UNIT_LAB_KIT_H

#include "drivers/virtual/lab.h"
#include "tests/unit/pci_world.h"

#define RW        HV_MMIO_WRITEABLE
#define WINDOW    0x1000000000ull /* 64 GiB */
#define LAB_SLOT  1u
#define NO_HANDLE 0x7fffffffull
#define SELF      0ull
#define UNKNOWN   1ull
#define ALL_RIGHTS \
    (HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE)

extern struct hv_device *lab;
extern uint64_t bar0, bar2, bar4; /* addresses of its BARs */

hv_status_t make_lab(uint32_t count, const char *const *options);
/* Made, started, decoded. */
void lab_up(uint32_t count, const char *const *options);

/* Registers. */
uint64_t get(uint64_t offset, unsigned bytes);
void set(uint64_t offset, unsigned bytes, uint64_t value);
uint64_t result(unsigned i);

/* A command with its arguments; its status. */
hv_status_t run(uint32_t command, const uint64_t *args, unsigned count);
#define RUN(command, ...)                         \
    run(command, (const uint64_t[]){__VA_ARGS__}, \
        (unsigned)(sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)))

/* The handle of section LAB_SECTION_*. */
uint64_t handle_of(unsigned index);

/* The first word of a page of BAR2. */
uint64_t word_at(uint64_t page);
void expect_hole(uint64_t page);
/* A page of BAR2 that shows the same page of section main. */
void expect_pattern(uint64_t page);

#endif
