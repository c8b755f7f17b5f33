/*
 * Owns:     views and I/O space (hv/mem/view.h) and the look-up in the hypervisor's own tables, for host tests of what
 *           calls them.
 * Promises: a call's arguments are kept; a call answers what the test chose, or maps the same memory at another
 *           address, readable and writable as asked for, with holes where a section has no frames.
 * Needs:    tests/fake/phys.h, view_ram.h, hv/mem/section.h.
 * Never:    checks arguments: hv/mem/view.c does, and has its own tests.
 */
#ifndef TESTS_FAKE_VIEW_CALLS_H
#define TESTS_FAKE_VIEW_CALLS_H

#include "hv/mem/view.h"

/* The last call of hv_section_map_view() or hv_io_space_map(), as it came in. */
struct fake_view_args {
    hv_handle_t section, space;
    uint64_t base, commit_size, section_offset, view_size;
    uint32_t zero_bits, inherit, allocation_type, protect;
    uint64_t phys, bytes;
};
extern struct fake_view_args fake_view_args;

/* What the next map call answers, once; HV_OK: it maps. */
extern hv_status_t fake_view_answer;

#endif
