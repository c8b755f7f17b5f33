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
    run((struct duel_config){.name = "EPT", .format = &pt_format_ept, .large_executable = true},
        10000);
}

static void test_npt_pages(void **state)
{
    (void)state;
    run((struct duel_config){.name = "NPT", .format = &pt_format_npt}, 10000);
}

static void test_ept_stores(void **state)
{
    (void)state;
    run(
        (struct duel_config){
            .name = "EPT, every store", .format = &pt_format_ept, .watch = true, .check_every = 8},
        4000);
}

static void test_npt_stores(void **state)
{
    (void)state;
    run((struct duel_config){.name = "NPT, every store, A/D",
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
    run((struct duel_config){.name = "EPT, 1 GiB",
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
    run((struct duel_config){.name = "NPT, 1 GiB", .format = &pt_format_npt, .shift = 9}, 2000);
}

static void test_no_huge(void **state)
{
    (void)state;
    run((struct duel_config){.name = "no 1 GiB",
                             .format = &pt_format_ept,
                             .shift = 9,
                             .no_huge = true,
                             .check_every = 4},
        1000);
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
        TEST(test_ept_pages), TEST(test_npt_pages), TEST(test_ept_stores), TEST(test_npt_stores),
        TEST(test_ept_huge),  TEST(test_npt_huge),  TEST(test_no_huge),
    };

    cmocka_set_test_filter(getenv("MODEL_TEST"));
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
