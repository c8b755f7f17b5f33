/*
 * Owns:     what the tests of ept/ share: one tree with its pool and its flush, changes that are watched.
 * Promises: every change below stays within its reservation and passes tests/fake/ptwatch.h; pt_kit_close() fails a
 *           test that leaves a table or a block behind.
 * Needs:    tests/fake/ptwatch.h, tests/fake/blocks.h; watch_start() by the test.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_PT_KIT_H
#define TESTS_UNIT_PT_KIT_H

#include "tests/fake/host.h"

#include "ept/ept.h"
#include "tests/fake/blocks.h"
#include "tests/fake/ptwatch.h"

extern struct pt_pool pool;
extern struct pt_root root;
extern struct pt_flush flush;

extern const struct pt_attr rw_wb, ro_wb, rwx_wb, rw_wc, rw_wb_4k, rw_wb_2m, rw_ipat;

int pt_kit_ept(void **state);
int pt_kit_npt(void **state);
int pt_kit_stage1(void **state);
int pt_kit_close(void **state);

#define PT_CASE(name) cmocka_unit_test_setup_teardown(name, pt_kit_ept, pt_kit_close)

/* The same case in all formats. */
#define PT_CASES(name)                                              \
    {#name " (EPT)", name, pt_kit_ept, pt_kit_close, NULL},         \
        {#name " (NPT)", name, pt_kit_npt, pt_kit_close, NULL},     \
    {                                                               \
#name " (stage 1)", name, pt_kit_stage1, pt_kit_close, NULL \
    }

/* pt_flush_done(). */
void finish_flush(void);

/* Each returns the tables taken. */
uint64_t map(uint64_t addr, uint64_t frame, uint64_t bytes, const struct pt_attr *attr);
uint64_t unmap(uint64_t addr, uint64_t bytes);
uint64_t unmap_keep(uint64_t addr, uint64_t bytes);

/* In steps, each of which stores and buries no more than it may. `steps` may be NULL. */
uint64_t map_in_steps(uint64_t addr, uint64_t frame, uint64_t bytes, const struct pt_attr *attr,
                      unsigned *steps);
uint64_t unmap_in_steps(uint64_t addr, uint64_t bytes, unsigned *steps);

/* It is joinable; afterwards it is one leaf, by one store. */
void join(uint64_t addr, unsigned level);

/* Tables that wait for the flush. */
uint64_t dead_tables(void);

void expect_leaf(uint64_t addr, unsigned level, uint64_t entry);
void expect_level(uint64_t addr, unsigned level); /* present, in a leaf of that level */
void expect_absent(uint64_t addr, unsigned level);
void expect_leaves(uint64_t small, uint64_t large, uint64_t huge);

#endif
