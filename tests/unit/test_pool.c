#include "tests/fake/host.h"

#include <string.h>

#include "ept/pool.h"
#include "hv/base/direct.h"
#include "tests/fake/blocks.h"

static struct pt_pool pool;

static int setup(void **state)
{
    (void)state;
    memset(&pool, 0, sizeof(pool));
    fake_blocks_fail(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(pool.used_tables, 0);
    assert_int_equal(pool.reserved, 0);
    pt_pool_drain(&pool);
    assert_int_equal(pool.blocks, 0);
    assert_int_equal(pool.free_tables, 0);
    assert_null(pool.partial);
    assert_null(pool.unused);
    assert_int_equal(fake_blocks_live(), 0);
    return 0;
}

static void expect_zero(hpa_t table)
{
    static const uint64_t zero[512];

    assert_int_equal(table.v % PAGE_BYTES, 0);
    assert_int_not_equal(table.v % PT_BLOCK_BYTES, 0);
    assert_memory_equal(direct(table), zero, PAGE_BYTES);
    assert_int_equal(*pt_pool_live(table), 0);
}

static void reserve_counts(void **state)
{
    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 0), HV_OK);
    assert_int_equal(pool.blocks, 0);
    assert_int_equal(pt_pool_reserve(&pool, 15), HV_OK);
    assert_int_equal(pool.blocks, 1);
    assert_int_equal(pt_pool_reserve(&pool, 1), HV_OK);
    assert_int_equal(pool.blocks, 2);
    assert_int_equal(pool.reserved, 16);
    assert_int_equal(pool.free_tables, 30);
    pt_pool_unreserve(&pool, 16);
    assert_int_equal(pool.blocks, 1); /* one is kept warm */
    expect_assert_failure(pt_pool_unreserve(&pool, 1));
    expect_assert_failure(pt_pool_take(&pool));
}

static void failure_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 3), HV_OK);
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct pt_pool before = pool;

        fake_blocks_fail(nth);
        assert_int_equal(pt_pool_reserve(&pool, 12 + 4 * 15), HV_E_NO_MEMORY);
        assert_memory_equal(&before, &pool, sizeof(pool));
        assert_int_equal(fake_blocks_live(), 1);
    }
    fake_blocks_exhaust(true);
    assert_int_equal(pt_pool_reserve(&pool, 12), HV_OK);
    assert_int_equal(pt_pool_reserve(&pool, 1), HV_E_NO_MEMORY);
    fake_blocks_exhaust(false);
    pt_pool_unreserve(&pool, 15);
}

static void takes_are_distinct_and_zero(void **state)
{
    hpa_t table[40];

    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 40), HV_OK);
    for (unsigned round = 0; round < 3; round++) {
        if (round > 0)
            assert_int_equal(pt_pool_reserve(&pool, 40), HV_OK);
        for (unsigned i = 0; i < 40; i++) {
            table[i] = pt_pool_take(&pool);
            expect_zero(table[i]);
            for (unsigned j = 0; j < i; j++)
                assert_int_not_equal(table[i].v, table[j].v);
            *pt_pool_live(table[i]) = (uint16_t)i;
            *pt_pool_link(table[i]) = i;
        }
        assert_int_equal(pool.used_tables, 40);
        for (unsigned i = 0; i < 40; i++) {
            assert_int_equal(*pt_pool_live(HPA(table[i].v + 8 * i)), i);
            assert_int_equal(*pt_pool_link(table[i]), i);
        }
        for (unsigned i = 0; i < 40; i++) {
            unsigned pick = (i * 7 + round) % 40;

            *pt_pool_live(table[pick]) = 0;
            pt_pool_give(&pool, table[pick]);
        }
        pt_pool_unreserve(&pool, 0);
        assert_int_equal(pool.blocks, 1);
    }
}

static void promised_tables_hold_their_blocks(void **state)
{
    hpa_t a, b;

    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 31), HV_OK);
    assert_int_equal(pool.blocks, 3);
    a = pt_pool_take(&pool);
    pt_pool_unreserve(&pool, 0);
    assert_int_equal(pool.blocks, 3);
    pt_pool_unreserve(&pool, 29);
    assert_int_equal(pool.blocks, 2);
    fake_blocks_exhaust(true);
    b = pt_pool_take(&pool);
    fake_blocks_exhaust(false);
    pt_pool_give(&pool, a);
    pt_pool_give(&pool, b);
    pt_pool_unreserve(&pool, 0);
    assert_int_equal(pool.blocks, 1);
}

static void wrong_gives_are_asserted(void **state)
{
    hpa_t table, other;

    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 2), HV_OK);
    table = pt_pool_take(&pool);
    other = pt_pool_take(&pool);
    *pt_pool_live(table) = 1;
    expect_assert_failure(pt_pool_give(&pool, table));
    *pt_pool_live(table) = 0;
    pt_pool_give(&pool, table);
    expect_assert_failure(pt_pool_give(&pool, table));
    expect_assert_failure(pt_pool_give(&pool, HPA(ALIGN_DOWN(table.v, PT_BLOCK_BYTES))));
    pt_pool_give(&pool, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reserve_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_are_distinct_and_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(promised_tables_hold_their_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_gives_are_asserted, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
