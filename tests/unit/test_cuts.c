/* Replacing a part of a large leaf by itself: what is kept, what is cut, and the tables that this takes. */
#include "tests/unit/replace_kit.h"

#include "hv/pci/range.h"

#define BASE HPA(GIB(64ull))

static hv_handle_t open_huge(uint64_t bar_bytes, uint64_t pages)
{
    hv_caps.large_1g = true;
    world.vm.tables.max_level = 3;
    probe_bar64(probe, HV_BAR2, bar_bytes);
    probe_create(probe);
    decode(probe, true);
    return make_window(BASE, pages);
}

/* A page of a 1 GiB leaf by the same page: two edges, each two levels below the leaf. */
static void test_kept_page(void **state)
{
    hv_handle_t w = open_huge(GIB(4ull), GIB(1ull) / PAGE_BYTES);

    (void)state;
    assert_int_equal(create(0, GIB(1ull) / PAGE_BYTES, RW, w, 0), HV_OK);
    expect_leaves(0, 0, 0, 1);
    assert_int_equal(create(5, 1, REPLACE, w, 5), HV_OK);
    expect_leaves(5, 0, 0, 1);
    hv_handle_close(w);
}

static void test_kept_batch(void **state)
{
    hv_handle_t w = open_huge(GIB(4ull), GIB(1ull) / PAGE_BYTES);
    struct hv_mmio_op ops[2];
    uint64_t done;

    (void)state;
    assert_int_equal(create(0, GIB(1ull) / PAGE_BYTES, RW, w, 0), HV_OK);
    ops[0] = op_create(5, 1, REPLACE, w, 5);
    ops[1] = op_create(9, 3, REPLACE, w, 9);
    assert_int_equal(batch(ops, 2, HV_BATCH_ATOMIC, &done), HV_OK);
    hv_handle_close(w);
}

/* A retype needs a pause, and no more of them can be counted: the VPs are paused then. */
static void test_pauses(void **state)
{
    hv_handle_t s;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    s = make_section(8, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 1, RW, s, 0), HV_OK);
    world.vm.pauses = VM_MAX_PAUSES;
    assert_int_equal(create(0, 1, REPLACE | HV_MMIO_MT_UC, s, 0), HV_OK);
    assert_true(world.vm.pauses == VM_MAX_PAUSES);
    assert_int_equal(query(0).memtype, MEMTYPE_UC);
    world.vm.pauses = 0;
    hv_handle_close(s);
}

/* Every page of a leaf by itself: the tables kept for cutting must not cost more than the leaf saves. */
static void test_many_edges(void **state)
{
    hv_handle_t s;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    s = make_section(1024, ALL_RIGHTS, HV_SEC_LARGE_PAGES);
    assert_int_equal(create(512, 512, RW, s, 0), HV_OK);
    for (uint64_t i = 1; i < 512; i++)
        assert_int_equal(create(512 + i, 1, REPLACE, s, i), HV_OK);
    assert_true(probe->device->bar[HV_BAR2].held_tables <= 8);
    hv_handle_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kept_page),
        TEST(test_kept_batch),
        TEST(test_pauses),
        TEST(test_many_edges),
    };

    return cmocka_run_group_tests_name("cuts", tests, NULL, NULL);
}
