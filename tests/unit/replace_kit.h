/*
 * Owns:     short words for the calls on ranges of the first probe's BAR2, and for what a guest sees there.
 * Promises: nothing is kept between calls.
 * Needs:    tests/unit/pci_world.h, a probe that was created.
 * Never:    other BARs.
 */
#ifndef TESTS_UNIT_REPLACE_KIT_H
#define TESTS_UNIT_REPLACE_KIT_H

#include "tests/unit/pci_world.h"

#define RW         HV_MMIO_WRITEABLE
#define REPLACE    (HV_MMIO_WRITEABLE | HV_MMIO_REPLACE)
#define ALL_RIGHTS HV_PAGE_EXECUTE_READWRITE
#define BAR2_PAGES (MIB(8) / PAGE_BYTES)

static struct probe *const probe = &world.probe[0];

hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                   uint64_t section_page);
/* The range that begins at the page. */
hv_status_t destroy(uint64_t page);
hv_status_t unmap(uint64_t page, uint64_t pages);

hv_status_t batch(struct hv_mmio_op *ops, uint64_t count, uint32_t flags, uint64_t *done);
struct hv_mmio_op op_create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                            uint64_t section_page);
struct hv_mmio_op op_unmap(uint64_t page, uint64_t pages);
struct hv_mmio_op op_destroy(uint64_t page);

/* Of the range that holds the page, which must be there. */
struct hv_mmio_range_info query(uint64_t page);
#define expect_leaves(page, small, large, huge)        \
    do {                                               \
        struct hv_mmio_range_info info_ = query(page); \
                                                       \
        assert_int_equal(info_.leaves[1], small);      \
        assert_int_equal(info_.leaves[2], large);      \
        assert_int_equal(info_.leaves[3], huge);       \
    } while (0)

/* The first word of a page, as a guest reads it. */
uint64_t read_page(uint64_t page);
bool is_direct(uint64_t page);

#endif
