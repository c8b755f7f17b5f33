/*
 * Random operations against the flat model, in both formats.
 *
 *   MODEL_OPS=n    operations of each test; MODEL_SEED=n; MODEL_EVERY=n: everything is compared after every n-th;
 *   MODEL_TEST=t   one test only; MODEL_TALK=1: the seed of each world. `make nightly` runs some millions.
 */
#include "tests/unit/duel.h"

#include <stdio.h>
#include <stdlib.h>

#define OPS_PER_WORLD 2000u
#define CHUNK_RECORDS 32u

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void run_world(const struct duel_config *config, uint64_t *state, uint64_t ops)
{
    uint8_t bytes[CHUNK_RECORDS * DUEL_RECORD_BYTES];

    duel_open(config);
    duel.random = (uint32_t)*state;
    if (config->is_calm)
        duel_set_stage(true);
    while (duel.steps < ops) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)(next_random(state) >> 24);
        duel_run(bytes, sizeof(bytes));
    }
    duel_close();
}

static void run(struct duel_config config, uint64_t ops)
{
    uint64_t seed = setting("MODEL_SEED", 1), state = seed, done = 0, ok = 0, failed = 0;

    ops = setting("MODEL_OPS", ops);
    config.check_every = (unsigned)setting("MODEL_EVERY", config.check_every);
    while (done < ops) {
        /* MODEL_TALK names the world's own seed: MODEL_SEED=that MODEL_OPS=2000 plays it alone. */
        if (getenv("MODEL_TALK"))
            fprintf(stderr, "%s: world of seed %llu\n", config.name, (unsigned long long)state);
        run_world(&config, &state, MIN(ops - done, OPS_PER_WORLD));
        done += duel.steps;
        ok += duel.calls_ok;
        failed += duel.calls_failed;
    }
    if (getenv("MODEL_TALK"))
        fprintf(stderr, "%s: %llu operations, %llu went well, %llu were refused\n", config.name,
                (unsigned long long)done, (unsigned long long)ok, (unsigned long long)failed);
    /* Neither kind is rare, or nothing is proven. */
    assert_true(ok > done / 4 && failed > done / 50);
}

static void test_ept_pages(void **state)
{
    (void)state;
    run(
        (struct duel_config){
            .types_every = 1, .name = "EPT", .format = &pt_format_ept, .large_executable = true},
        10000);
}

static void test_npt_pages(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 60, .name = "NPT", .format = &pt_format_npt}, 10000);
}

static void test_ept_stores(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 1,
                             .name = "EPT, every store",
                             .format = &pt_format_ept,
                             .watch = true,
                             .check_every = 8},
        4000);
}

static void test_npt_stores(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 30,
                             .name = "NPT, every store, A/D",
                             .format = &pt_format_npt,
                             .large_executable = true,
                             .watch = true,
                             .check_every = 8,
                             .hardware = 7},
        4000);
}

static void test_ept_huge(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 1,
                             .name = "EPT, 1 GiB",
                             .format = &pt_format_ept,
                             .shift = 9,
                             .large_executable = true,
                             .watch = true,
                             .check_every = 8},
        2000);
}

static void test_npt_huge(void **state)
{
    (void)state;
    run(
        (struct duel_config){
            .types_every = 40, .name = "NPT, 1 GiB", .format = &pt_format_npt, .shift = 9},
        2000);
}

static void test_no_huge(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 1,
                             .name = "no 1 GiB",
                             .format = &pt_format_ept,
                             .shift = 9,
                             .no_huge = true,
                             .check_every = 4},
        1000);
}

static void test_ept_joins(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 40,
                             .name = "EPT, joins",
                             .format = &pt_format_ept,
                             .large_executable = true,
                             .watch = true,
                             .is_calm = true,
                             .check_every = 8},
        3000);
}

static void test_npt_joins(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 1,
                             .name = "NPT, joins",
                             .format = &pt_format_npt,
                             .watch = true,
                             .hardware = 7,
                             .is_calm = true,
                             .check_every = 8},
        3000);
}

static void test_huge_joins(void **state)
{
    (void)state;
    run((struct duel_config){.types_every = 100,
                             .name = "EPT, 1 GiB, joins",
                             .format = &pt_format_ept,
                             .shift = 9,
                             .large_executable = true,
                             .is_calm = true,
                             .check_every = 2},
        2000);
}

/* ---- what random operations have found once, in the least form ---- */

static void open_small(void)
{
    static const struct duel_config config = {
        .name = "found", .format = &pt_format_ept, .large_executable = true, .watch = true};

    duel_open(&config);
    duel_do(duel_section(DUEL_LARGE, 0));
    duel_do(duel_section(DUEL_PLAIN, 1));
    duel_do(duel_section(DUEL_RESERVE, 2));
    duel_do(duel_decode_bars(0, true));
}

static void batch_of_two(uint32_t flags, struct duel_op first, struct duel_op second)
{
    struct duel_op batch = duel_batch(flags);

    duel_batch_add(&batch, &first);
    duel_batch_add(&batch, &second);
    duel_step(&batch);
}

/* A table that one step of a change empties is wanted again by the next. */
static void test_tables_come_back(void **state)
{
    (void)state;
    open_small();
    duel_do(duel_commit(2, 10, 10));
    duel_do(duel_create(0, HV_BAR2, 100, 5, 0, 1, 0));
    duel_do(duel_create(0, HV_BAR2, 90, 30, HV_MMIO_REPLACE, 2, 0));
    duel_do(duel_unmap(0, HV_BAR2, 0, 2048));
    for (uint32_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        duel_do(duel_create(0, HV_BAR2, 0, 5, 0, 1, 0));
        batch_of_two(flags, duel_unmap(0, HV_BAR2, 0, 5), duel_create(0, HV_BAR2, 20, 5, 0, 1, 0));
        batch_of_two(flags, duel_destroy(0, HV_BAR2, 20), duel_create(0, HV_BAR2, 7, 1, 0, 1, 0));
        duel_do(duel_unmap(0, HV_BAR2, 0, 2048));
    }
    duel_close();
}

/* Pages without frames cut a large leaf as well as others do. */
static void test_holes_cut_leaves(void **state)
{
    (void)state;
    open_small();
    duel_do(duel_create(0, HV_BAR2, 0, 1024, 0, 0, 0));
    duel_do(duel_create(0, HV_BAR2, 16, 2, HV_MMIO_REPLACE, 2, 0));
    duel_do(duel_create(0, HV_BAR2, 600, 1, HV_MMIO_REPLACE, 2, 0));
    duel_do(duel_create(0, HV_BAR2, 0, 1024, HV_MMIO_REPLACE, 0, 0));
    duel_do(duel_create(0, HV_BAR2, 500, 100, HV_MMIO_REPLACE, 2, 7));
    duel_do(duel_commit(2, 50, 10));
    duel_close();
}

/* What an earlier operation of a batch took out fixes no type any more. */
static void test_batch_forgets_types(void **state)
{
    (void)state;
    open_small();
    for (uint32_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        duel_do(duel_create(0, HV_BAR2, 0, 1, 0, 1, 0));
        batch_of_two(flags, duel_unmap(0, HV_BAR2, 0, 1),
                     duel_create(0, HV_BAR2, 4, 1, HV_MMIO_MT_UC, 1, 0));
        batch_of_two(flags, duel_destroy(0, HV_BAR2, 4),
                     duel_create(0, HV_BAR2, 4, 1, HV_MMIO_MT_WC, 1, 0));
        batch_of_two(flags, duel_create(0, HV_BAR2, 4, 1, HV_MMIO_REPLACE, 0, 9),
                     duel_create(0, HV_BAR2, 9, 1, HV_MMIO_MT_WB, 1, 0));
        duel_do(duel_unmap(0, HV_BAR2, 0, 2048));
    }
    assert_int_equal(duel.calls_failed, 0);
    duel_close();
}

/* The default type of the very page that REPLACE takes out, while its neighbours keep another. */
static void test_default_type_of_what_goes(void **state)
{
    (void)state;
    open_small();
    duel_do(duel_create(0, HV_BAR2, 0, 4, HV_MMIO_MT_UC, 1, 0));
    duel_do(duel_create(0, HV_BAR2, 0, 1, HV_MMIO_REPLACE, 1, 0));
    duel_do(duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE | HV_MMIO_MT_WC, 1, 2));
    /* One page, the very same, with one type after another. */
    for (uint32_t type = HV_MMIO_MT_UC; type <= HV_MMIO_MT_WB; type += 0x10) {
        duel_do(duel_create(0, HV_BAR2, 20, 1, HV_MMIO_REPLACE | type, 1, 20));
        duel_do(duel_create(0, HV_BAR2, 600, 512, HV_MMIO_REPLACE | type, 0, 88));
    }
    duel_close();
}

/* The operation that ends a batch names another BAR, or none that is. */
static void test_batch_ends_in_another_bar(void **state)
{
    (void)state;
    open_small();
    batch_of_two(0, duel_create(0, HV_BAR2, 0, 4, 0, 1, 0), duel_destroy(0, HV_BAR1, 0));
    batch_of_two(0, duel_create(0, HV_BAR2, 10, 4, 0, 1, 0), duel_destroy(0, HV_BAR4, 0));
    batch_of_two(0, duel_unmap(0, HV_BAR2, 0, 2), duel_create(0, HV_BAR_ROM, 0, 1, 1, 1, 0));
    assert_int_equal(duel.calls_failed, 3);
    duel_close();
}

/* After a page for a page the next operation of the batch is about something else, or about the same page. */
static void test_swaps_and_others(void **state)
{
    (void)state;
    open_small();
    for (uint32_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        duel_do(duel_create(0, HV_BAR2, 0, 1, 0, 0, 0));
        duel_do(duel_create(0, HV_BAR2, 1, 1, 0, 0, 1));
        duel_do(duel_create(0, HV_BAR2, 5, 1, 0, 0, 5));
        batch_of_two(flags, duel_create(0, HV_BAR2, 0, 1, HV_MMIO_REPLACE, 1, 0),
                     duel_destroy(0, HV_BAR2, 0));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 1, 0),
                     duel_destroy(0, HV_BAR2, 5));
        duel_do(duel_create(0, HV_BAR2, 2, 1, 0, 0, 1));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 0, 0),
                     duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 0, 99));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 2, 0),
                     duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 2, 1));
        duel_do(duel_commit(2, 0, 2));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 2, 1),
                     duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 2, 9));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 1, 1),
                     duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 1, 9));
        batch_of_two(flags, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 0, 1),
                     duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 0, 5000));
        duel_do(duel_unmap(0, HV_BAR2, 0, 2048));
    }
    assert_int_equal(duel.calls_failed, 2);
    duel_close();
}

/* Like the operation before, but for one thing. */
static void test_rows_of_swaps_end(void **state)
{
    const struct duel_op swaps[] = {
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 1, 2),     /* as ever */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 3, 2),     /* another section */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE | 1, 1, 2), /* other rights */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE | HV_MMIO_MT_UC, 1, 2),
        duel_create(0, HV_BAR2, 2, 1, 0, 1, 2),                   /* no REPLACE: refused */
        duel_create(0, HV_BAR2, 2, 2, HV_MMIO_REPLACE, 1, 2),     /* two pages */
        duel_create(0, HV_BAR2, 3, 1, HV_MMIO_REPLACE, 1, 2),     /* the page behind */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 1, 1023),  /* the last one */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 1, 1024),  /* none: refused */
        duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 1, ~0ull), /* none: refused */
        duel_create(0, HV_BAR4, 2, 1, HV_MMIO_REPLACE, 1, 2),     /* another BAR */
        duel_unmap(0, HV_BAR2, 2, 1),
        duel_destroy(0, HV_BAR2, 1),
        duel_destroy(0, HV_BAR2, 2),
    };

    (void)state;
    open_small();
    duel_do(duel_section(DUEL_RUNS, 3));
    duel_do(duel_section(DUEL_CODE, 4));
    for (unsigned i = 0; i < ARRAY_COUNT(swaps) * 8; i++) {
        struct duel_op batch = duel_batch(i & 1), op;
        unsigned middle = i / 8;

        for (uint64_t page = 0; page < 4; page++) {
            /* With and without neighbours of the same section behind it. */
            op = duel_create(0, HV_BAR2, page, 1, 0, i & 2 && page == 2 ? 3 : 0, page);
            duel_do(op);
        }
        op = duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, i & 4 ? 3 : 1, 1);
        duel_batch_add(&batch, &op);
        duel_batch_add(&batch, &swaps[middle]);
        op = duel_create(0, HV_BAR2, 3, 1, HV_MMIO_REPLACE, 1, 3);
        duel_batch_add(&batch, &op);
        duel_step(&batch);
        duel_do(duel_unmap(0, HV_BAR2, 0, 2048));
        duel_do(duel_unmap(0, HV_BAR4, 0, 512));
    }
    /* A section of one run and 16 pages: page 16 is none. */
    duel_do(duel_create(0, HV_BAR2, 1, 1, 0, 0, 0));
    duel_do(duel_create(0, HV_BAR2, 2, 1, 0, 0, 0));
    batch_of_two(0, duel_create(0, HV_BAR2, 1, 1, HV_MMIO_REPLACE, 4, 15),
                 duel_create(0, HV_BAR2, 2, 1, HV_MMIO_REPLACE, 4, 16));
    duel_close();
}

/* What lies behind the end of a BAR that shrank is somebody else's now. */
static void test_beyond_a_shrunk_bar(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        open_small();
        duel_do(duel_decode_bars(0, false));
        duel_do(duel_create(0, HV_BAR2, 0, 1024, 0, 0, 0));
        duel_do(duel_create(0, HV_BAR2, 1024, 8, 0, 1, 0));
        duel_do(duel_create(0, HV_BAR2, 2000, 8, 0, 1, 8));
        duel_do(duel_resize(1)); /* 2 MiB */
        duel_do(duel_move(0, HV_BAR2, GIB(64ull)));
        duel_do(duel_move(1, HV_BAR2, GIB(64ull) + MIB(4)));
        duel_do(duel_create(1, HV_BAR2, 0, 1024, 0, 1, 0));
        duel_do(duel_decode_bars(0, true));
        duel_do(duel_decode_bars(1, true));
        if (i < 2)
            duel_do(duel_destroy(0, HV_BAR2, 0));
        else if (i < 4)
            batch_of_two(i & 1, duel_destroy(0, HV_BAR2, 0), duel_destroy(0, HV_BAR2, 1024));
        else
            batch_of_two(i & 1, duel_destroy(0, HV_BAR2, 2000),
                         duel_create(0, HV_BAR2, 500, 12, HV_MMIO_REPLACE, 1, 0));
        duel_close();
    }
}

static int on_end(void **state)
{
    (void)state;
    duel_print();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, on_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ept_pages),
        TEST(test_npt_pages),
        TEST(test_ept_stores),
        TEST(test_npt_stores),
        TEST(test_ept_huge),
        TEST(test_npt_huge),
        TEST(test_no_huge),
        TEST(test_ept_joins),
        TEST(test_npt_joins),
        TEST(test_huge_joins),
        TEST(test_tables_come_back),
        TEST(test_holes_cut_leaves),
        TEST(test_batch_forgets_types),
        TEST(test_default_type_of_what_goes),
        TEST(test_batch_ends_in_another_bar),
        TEST(test_swaps_and_others),
        TEST(test_rows_of_swaps_end),
        TEST(test_beyond_a_shrunk_bar),
    };

    cmocka_set_test_filter(getenv("MODEL_TEST"));
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
