/*
 * Owns:     what the tests of views and of I/O space share: the machine of section_kit.h, a hypervisor space, MTRRs.
 * Promises: view_kit_check() fails a test that leaves a view, a leaf, a table, a promise of tables, a record or
 *           anything that section_kit_check() looks for.
 * Needs:    section_kit.h, tests/fake/space.h, tests/fake/slab.h.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_VIEW_KIT_H
#define TESTS_UNIT_VIEW_KIT_H

#include "tests/unit/section_kit.h"

#include "ept/ept.h"
#include "hv/mem/view_record.h"

#define FIRMWARE       GIB(3ull) /* RAM that is not ours: write-back, MIB(16) of it */
#define FIRMWARE_BYTES MIB(16)
#define REGISTERS      (DEVICE + MIB(128)) /* PHYSICAL sections may not name them */

int view_kit_group(void **state);
int view_kit_setup(void **state);
int view_kit_check(void **state);

hpa_t frame_of_page(hv_handle_t h, uint64_t page);
hv_handle_t reserve(uint64_t bytes); /* no frames yet */

/* hv_section_map_view() with room for exceptions. */
struct map_call {
    hv_handle_t section;
    uint64_t base; /* out: the address */
    uint32_t zero_bits;
    uint64_t commit_bytes, offset, bytes; /* offset and bytes: out as well */
    uint32_t allocation, protect;
};
hv_status_t map_try(struct map_call *call);
/* READWRITE, all of it, anywhere. */
struct map_call whole(hv_handle_t section);
uint64_t map_ok(struct map_call *call);
void unmap_ok(uint64_t address);

/* The leaf of an address; it is there. */
struct pt_leaf leaf_at(uint64_t address);
bool is_mapped(uint64_t address);

/* Everything that a failed call must leave alone. */
struct view_state {
    uint64_t hash, live, mappings, types, records, tables, reserved, frames, sections;
};
struct view_state view_state(void);
#define assert_same(before)                                  \
    do {                                                     \
        struct view_state now_ = view_state();               \
        assert_memory_equal(&now_, &(before), sizeof(now_)); \
    } while (0)

#define VIEW_TEST(name) cmocka_unit_test_setup_teardown(name, view_kit_setup, view_kit_check)

#endif
