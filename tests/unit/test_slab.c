#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/frames.h"
#include "hv/mem/slab.h"
#include "tests/fake/phys.h"

#define RECORDS 2000u

struct small {
    uint64_t word[3];
};

struct big {
    uint64_t word[128];
};

static struct slab slab;

static int setup(void **state)
{
    struct slab fresh = SLAB_INIT("small", struct small);

    (void)state;
    slab = fresh;
    memset(&hv_frames, 0, sizeof(hv_frames));
    fake_phys_reset();
    assert_int_equal(frames_add(&hv_frames, HPA(MIB(1)), 512), HV_OK);
    return 0;
}

static void records_are_zeroed_aligned_and_apart(void **state)
{
    static struct small *record[RECORDS];

    (void)state;
    assert_int_equal(slab.record_bytes, 32);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < RECORDS; i++) {
            record[i] = slab_alloc(&slab);
            assert_non_null(record[i]);
            assert_int_equal((uintptr_t)record[i] % 16, 0);
            for (unsigned w = 0; w < 3; w++)
                assert_int_equal(record[i]->word[w], 0);
            memset(record[i], (int)(i | 1) & 0xff, slab.record_bytes);
        }
        assert_int_equal(slab.live, RECORDS);
        for (unsigned i = 0; i < RECORDS; i++) {
            uint8_t want[32];

            memset(want, (int)(i | 1) & 0xff, sizeof(want));
            assert_memory_equal(record[i], want, sizeof(want));
            slab_free(&slab, record[i]);
        }
        assert_int_equal(slab.live, 0);
    }
}

static void take_is_alloc_without_zeroes(void **state)
{
    struct small *a = slab_take(&slab), *b = slab_take(&slab);

    (void)state;
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_int_equal(slab.live, 2);
    memset(b, 0xff, sizeof(*b));
    slab_free(&slab, b);
    b = slab_alloc(&slab);
    assert_int_equal(b->word[0] | b->word[1] | b->word[2], 0);
    slab_free(&slab, b);
    slab_free(&slab, a);
    assert_int_equal(slab.live, 0);
}

static void free_pages_go_back_but_one(void **state)
{
    static struct small *record[RECORDS];
    uint64_t before = hv_frames.free_pages;

    (void)state;
    for (unsigned i = 0; i < RECORDS; i++)
        record[i] = slab_alloc(&slab);
    assert_true(slab.pages >= RECORDS * 32 / 4096);
    assert_int_equal(hv_frames.free_pages, before - slab.pages);
    for (unsigned i = 0; i < RECORDS; i++)
        slab_free(&slab, record[(i * 7) % RECORDS]);
    assert_int_equal(slab.pages, 1);
    assert_int_equal(hv_frames.free_pages, before - 1);
    slab_trim(&slab);
    assert_int_equal(slab.pages, 0);
    assert_int_equal(hv_frames.free_pages, before);
    assert_null(slab.partial);
    slab_free(&slab, NULL);
}

static void warm_page_saves_the_allocator(void **state)
{
    uint64_t before;

    (void)state;
    slab_free(&slab, slab_alloc(&slab));
    before = hv_frames.free_pages;
    for (unsigned i = 0; i < 100; i++) {
        void *record = slab_alloc(&slab);

        assert_int_equal(hv_frames.free_pages, before);
        slab_free(&slab, record);
    }
}

static void without_frames_null_and_nothing_changes(void **state)
{
    uint64_t left = hv_frames.free_pages;
    hpa_t all;

    (void)state;
    assert_int_equal(frames_alloc(&hv_frames, left, 1, &all), HV_OK);
    assert_null(slab_alloc(&slab));
    assert_int_equal(slab.pages, 0);
    assert_int_equal(slab.live, 0);
    assert_false(lock_is_held(&slab.lock));
    frames_free(&hv_frames, all, left);
    assert_non_null(slab_alloc(&slab));
}

static void largest_records(void **state)
{
    static struct slab bigs = SLAB_INIT("big", struct big);
    struct big *a = slab_alloc(&bigs);
    struct big *b = slab_alloc(&bigs);
    struct big *c = slab_alloc(&bigs);
    struct big *d = slab_alloc(&bigs);

    (void)state;
    assert_int_equal(bigs.pages, 2);
    memset(c, 0xff, sizeof(*c));
    assert_int_equal(a->word[127] | b->word[0] | d->word[0], 0);
    slab_free(&bigs, a);
    slab_free(&bigs, b);
    slab_free(&bigs, d);
    slab_free(&bigs, c);
    assert_int_equal(bigs.pages, 1);
}

static void double_free_asserts(void **state)
{
    void *record = slab_alloc(&slab);

    (void)state;
    slab_free(&slab, record);
    expect_assert_failure(slab_free(&slab, record));
}

static void free_into_another_slab_asserts(void **state)
{
    struct slab other = SLAB_INIT("other", struct small);
    void *record = slab_alloc(&slab);

    (void)state;
    expect_assert_failure(slab_free(&other, record));
}

static void free_of_the_middle_asserts(void **state)
{
    uint8_t *record = slab_alloc(&slab);

    (void)state;
    expect_assert_failure(slab_free(&slab, record + 16));
}

static void free_of_what_was_never_handed_out_asserts(void **state)
{
    uint8_t *record = slab_alloc(&slab);

    (void)state;
    expect_assert_failure(slab_free(&slab, record + slab.record_bytes));
}

static void record_that_is_too_large_asserts(void **state)
{
    (void)state;
    slab.record_bytes = 2016;
    expect_assert_failure(slab_alloc(&slab));
}

static void random_operations(void **state)
{
    static struct small *record[RECORDS];
    uint64_t live = 0;

    (void)state;
    srand(2);
    memset(record, 0, sizeof(record));
    for (unsigned i = 0; i < 50000; i++) {
        unsigned at = (unsigned)rand() % RECORDS;

        if (record[at] == NULL) {
            record[at] = slab_alloc(&slab);
            assert_int_equal(record[at]->word[0], 0);
            record[at]->word[0] = at + 1;
            live++;
        } else {
            assert_int_equal(record[at]->word[0], at + 1);
            slab_free(&slab, record[at]);
            record[at] = NULL;
            live--;
        }
        assert_int_equal(slab.live, live);
    }
    for (unsigned i = 0; i < RECORDS; i++)
        slab_free(&slab, record[i]);
    slab_trim(&slab);
    assert_int_equal(slab.pages, 0);
    assert_int_equal(hv_frames.free_pages, 511);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(records_are_zeroed_aligned_and_apart, setup),
        cmocka_unit_test_setup(take_is_alloc_without_zeroes, setup),
        cmocka_unit_test_setup(free_pages_go_back_but_one, setup),
        cmocka_unit_test_setup(warm_page_saves_the_allocator, setup),
        cmocka_unit_test_setup(without_frames_null_and_nothing_changes, setup),
        cmocka_unit_test_setup(largest_records, setup),
        cmocka_unit_test_setup(double_free_asserts, setup),
        cmocka_unit_test_setup(free_into_another_slab_asserts, setup),
        cmocka_unit_test_setup(free_of_the_middle_asserts, setup),
        cmocka_unit_test_setup(free_of_what_was_never_handed_out_asserts, setup),
        cmocka_unit_test_setup(record_that_is_too_large_asserts, setup),
        cmocka_unit_test_setup(random_operations, setup),
    };

    fake_phys_init(MIB(16));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
