#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/frames.h"
#include "tests/fake/phys.h"

#define PHYS_BYTES GIB(4ull)

static struct frames f;

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    fake_phys_reset();
    return 0;
}

static hpa_t at_page(uint64_t page)
{
    return HPA(page * PAGE_BYTES);
}

static void add(uint64_t page, uint64_t pages)
{
    assert_int_equal(frames_add(&f, at_page(page), pages), HV_OK);
}

static uint64_t take(uint64_t pages, uint64_t align)
{
    hpa_t base;

    assert_int_equal(frames_alloc(&f, pages, align, &base), HV_OK);
    assert_int_equal(base.v % (align * PAGE_BYTES), 0);
    return base.v / PAGE_BYTES;
}

static uint64_t take_extent(uint64_t pages, uint64_t *got)
{
    hpa_t base;

    assert_int_equal(frames_alloc_extent(&f, pages, &base, got), HV_OK);
    assert_true(*got >= 1 && *got <= pages);
    return base.v / PAGE_BYTES;
}

static void assert_none(uint64_t pages, uint64_t align)
{
    hpa_t base = HPA(7);
    uint64_t before = f.free_pages;

    assert_int_equal(frames_alloc(&f, pages, align, &base), HV_E_NO_MEMORY);
    assert_int_equal(base.v, 7);
    assert_int_equal(f.free_pages, before);
}

/* ---- regions ---- */

static void bitmap_comes_out_of_the_region(void **state)
{
    (void)state;
    add(256, 100);
    assert_int_equal(f.total_pages, 100);
    assert_int_equal(f.free_pages, 99);
    assert_ptr_equal(f.region[0].used, direct(at_page(256)));
    assert_int_equal(take(1, 1), 257);

    /* 32768 pages fill one page of bitmap, one more needs a second. */
    add(0x10000, 32768);
    assert_int_equal(f.region[1].free_pages, 32767);
    add(0x20000, 32769);
    assert_int_equal(f.region[2].free_pages, 32767);
}

static void every_frame_is_given_once(void **state)
{
    static const uint64_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        bool seen[1024] = {false};

        memset(&f, 0, sizeof(f));
        add(4096, sizes[i]);
        for (uint64_t n = 0; n + 1 < sizes[i]; n++) {
            uint64_t page = take(1, 1) - 4096;

            assert_true(page >= 1 && page < sizes[i] && !seen[page]);
            seen[page] = true;
        }
        assert_int_equal(f.free_pages, 0);
        assert_none(1, 1);
    }
}

static void regions_are_sorted_and_used_in_order(void **state)
{
    (void)state;
    add(4096, 4);
    add(1024, 4);
    add(2048, 4);
    assert_int_equal(f.region[0].base.v, at_page(1024).v);
    assert_int_equal(f.region[1].base.v, at_page(2048).v);
    assert_int_equal(f.region[2].base.v, at_page(4096).v);
    assert_int_equal(take(3, 1), 1025);
    assert_int_equal(take(3, 1), 2049);
    assert_int_equal(take(3, 1), 4097);
    assert_none(1, 1);
}

static void region_table_has_an_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FRAMES_MAX_REGIONS; i++)
        add(1024 + i * 16, 2);
    assert_int_equal(frames_add(&f, at_page(0x10000), 2), HV_E_QUOTA);
    assert_int_equal(f.count, FRAMES_MAX_REGIONS);
    assert_int_equal(f.total_pages, 2 * FRAMES_MAX_REGIONS);
    assert_false(lock_is_held(&f.lock));
}

static void owns_counts_used_and_free_frames(void **state)
{
    (void)state;
    add(100, 10);
    take(5, 1);
    assert_false(frames_owns(&f, at_page(99), 1));
    assert_true(frames_owns(&f, at_page(99), 2));
    assert_true(frames_owns(&f, at_page(100), 1)); /* the bitmap */
    assert_true(frames_owns(&f, at_page(109), 1));
    assert_false(frames_owns(&f, at_page(110), 1));
    assert_true(frames_owns(&f, at_page(0), 1000));
    assert_false(frames_owns(&f, at_page(110), (1ull << 52) / PAGE_BYTES));
}

/* ---- runs ---- */

static void single_frames_come_from_the_hint(void **state)
{
    uint64_t first;

    (void)state;
    add(1024, 4096);
    first = take(1, 1);
    for (unsigned i = 1; i < 2000; i++) {
        assert_int_equal(take(1, 1), first + i);
        assert_int_equal(f.region[0].hint, first + i + 1 - 1024);
    }
    frames_free(&f, at_page(first + 700), 1);
    assert_int_equal(f.region[0].hint, first + 700 - 1024);
    assert_int_equal(take(1, 1), first + 700);
    assert_int_equal(take(1, 1), first + 2000);
}

static void aligned_runs(void **state)
{
    (void)state;
    add(3, 0x1000); /* the alignment is of the frame, not of the page in the region */
    assert_int_equal(take(16, 16), 16);
    assert_int_equal(take(1, 1), 4);
    assert_int_equal(take(512, 512), 512);
    assert_int_equal(take(100, 64), 64);
    assert_int_equal(take(11, 1), 5);
    assert_int_equal(take(11, 1), 32);
    assert_none(4096, 4096);
}

static void run_that_crosses_words(void **state)
{
    (void)state;
    add(0x1000, 1024);
    for (unsigned i = 0; i < 1023; i++)
        take(1, 1);
    frames_free(&f, at_page(0x1000 + 60), 200);
    frames_free(&f, at_page(0x1000 + 300), 64);
    assert_none(201, 1);
    assert_int_equal(take(65, 1), 0x1000 + 60);
    assert_int_equal(take(135, 1), 0x1000 + 125);
    assert_int_equal(take(64, 1), 0x1000 + 300);
    assert_int_equal(f.free_pages, 0);
}

static void free_in_parts_and_all_at_once(void **state)
{
    uint64_t before, base;

    (void)state;
    add(0x1000, 1024);
    before = f.free_pages;
    base = take(300, 1);
    frames_free(&f, at_page(base + 100), 50);
    frames_free(&f, at_page(base), 100);
    frames_free(&f, at_page(base + 150), 150);
    assert_int_equal(f.free_pages, before);
    base = take(100, 1);
    assert_int_equal(take(100, 1), base + 100);
    frames_free(&f, at_page(base), 200);
    assert_int_equal(f.free_pages, before);
    assert_int_equal(f.region[0].free_pages, before);
}

/* ---- extents ---- */

static void extent_is_aligned_when_it_can_be(void **state)
{
    uint64_t got;

    (void)state;
    add(0x1001, 0x2000);
    assert_int_equal(take_extent(700, &got), 0x1200);
    assert_int_equal(got, 700);
    assert_int_equal(take_extent(100, &got), 0x1002);
    assert_int_equal(got, 100);
}

static void longest_extent_of_what_is_left(void **state)
{
    uint64_t got;

    (void)state;
    add(0x1000, 0x1000);
    while (f.free_pages != 0)
        take(1, 1);
    frames_free(&f, at_page(0x1010), 20);
    frames_free(&f, at_page(0x1100), 300);
    frames_free(&f, at_page(0x1300), 10);
    assert_int_equal(take_extent(310, &got), 0x1100);
    assert_int_equal(got, 300);
    assert_int_equal(take_extent(310, &got), 0x1010);
    assert_int_equal(got, 20);
    assert_int_equal(take_extent(310, &got), 0x1300);
    assert_int_equal(got, 10);
    assert_int_equal(frames_alloc_extent(&f, 310, &(hpa_t){0}, &got), HV_E_NO_MEMORY);
}

static void short_extent_keeps_large_leaves_possible(void **state)
{
    uint64_t got;

    (void)state;
    add(0x1000, 0x2000);
    while (f.free_pages != 0)
        take(1, 1);
    frames_free(&f, at_page(0x1100), 0x700); /* 0x1200 to 0x1800 aligned, 0x100 in front */
    assert_int_equal(take_extent(0x1000, &got), 0x1200);
    assert_int_equal(got, 0x600);
    frames_free(&f, at_page(0x2010), 0x580); /* one aligned run of 2 MiB, and a tail */
    assert_int_equal(take_extent(0x1000, &got), 0x2200);
    assert_int_equal(got, 0x200);
    /* 512 or more frames, but no aligned 2 MiB: less than 2 MiB, so that nothing promises alignment. */
    frames_free(&f, at_page(0x2600 + 1), 0x200 + 0x100);
    assert_int_equal(take_extent(0x1000, &got), 0x2601);
    assert_int_equal(got, 0x1ff);
}

/* ---- what must never happen ---- */

static void double_free_asserts(void **state)
{
    uint64_t base;

    (void)state;
    add(0x1000, 1024);
    base = take(10, 1);
    frames_free(&f, at_page(base + 9), 1);
    expect_assert_failure(frames_free(&f, at_page(base), 10));
}

static void free_of_a_foreign_frame_asserts(void **state)
{
    (void)state;
    add(0x1000, 1024);
    expect_assert_failure(frames_free(&f, at_page(0x900), 1));
}

static void free_past_the_region_asserts(void **state)
{
    (void)state;
    add(0x1000, 8);
    add(0x1008, 8);
    take(7, 1);
    take(7, 1);
    expect_assert_failure(frames_free(&f, at_page(0x1007), 2));
}

static void free_of_the_bitmap_asserts(void **state)
{
    (void)state;
    add(0x1000, 1024);
    expect_assert_failure(frames_free(&f, at_page(0x1000), 1));
}

static void overlapping_regions_assert(void **state)
{
    (void)state;
    add(0x1000, 1024);
    expect_assert_failure((void)!frames_add(&f, at_page(0x13ff), 4));
}

static void zero_pages_assert(void **state)
{
    hpa_t base;

    (void)state;
    add(0x1000, 1024);
    expect_assert_failure((void)!frames_alloc(&f, 0, 1, &base));
    expect_assert_failure((void)!frames_alloc(&f, 1, 3, &base));
}

/* ---- against a flat model ---- */

#define MODEL_PAGES 6000u
#define MODEL_BASE  0x1000u

static uint8_t owner[MODEL_PAGES]; /* 0 free, 1 bitmap or hole, 2 taken */

static bool model_fits(uint64_t pages, uint64_t align)
{
    uint64_t run = 0;

    for (uint64_t i = 0, start = 0; i < MODEL_PAGES; i++) {
        if (owner[i] != 0) {
            run = 0;
            continue;
        }
        if (run == 0 && (MODEL_BASE + i) % align != 0)
            continue;
        start = run == 0 ? i : start;
        run = i - start + 1;
        if (run >= pages)
            return true;
    }
    return false;
}

static void model_take(uint64_t page, uint64_t pages)
{
    for (uint64_t i = page - MODEL_BASE; i < page - MODEL_BASE + pages; i++) {
        assert_true(i < MODEL_PAGES);
        assert_int_equal(owner[i], 0);
        owner[i] = 2;
    }
}

static void model_alloc(void)
{
    uint64_t align = 1ull << (rand() % 11);
    uint64_t pages = rand() % 3 ? 1 + (uint64_t)rand() % 8 : 1 + (uint64_t)rand() % 900;
    hpa_t base;

    if (rand() % 4 == 0) {
        uint64_t got;

        if (frames_alloc_extent(&f, pages, &base, &got) == HV_OK) {
            assert_true(got <= pages);
            assert_true(got < LARGE_PAGES || base.v % MIB(2) == 0);
            if (got < pages)
                assert_false(model_fits(pages, pages < LARGE_PAGES ? 1 : LARGE_PAGES));
            model_take(base.v / PAGE_BYTES, got);
        } else {
            assert_int_equal(f.free_pages, 0);
        }
    } else if (frames_alloc(&f, pages, align, &base) == HV_OK) {
        assert_int_equal(base.v % (align * PAGE_BYTES), 0);
        model_take(base.v / PAGE_BYTES, pages);
    } else {
        assert_false(model_fits(pages, align));
    }
}

static void model_free(void)
{
    uint64_t at = (uint64_t)rand() % MODEL_PAGES;
    uint64_t end = at;
    uint64_t most = 1 + (uint64_t)rand() % 600;

    while (end < MODEL_PAGES && owner[end] == 2 && end - at < most)
        owner[end++] = 0;
    if (end != at)
        frames_free(&f, at_page(MODEL_BASE + at), end - at);
}

static void random_operations_match_the_model(void **state)
{
    (void)state;
    srand(1);
    memset(owner, 1, sizeof(owner));
    add(MODEL_BASE, 3001);
    add(MODEL_BASE + 3300, 2700);
    memset(owner + 1, 0, 3000);
    memset(owner + 3301, 0, 2699);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t free_pages = 0;

        if (rand() % 5 < 2)
            model_alloc();
        else
            model_free();
        for (unsigned p = 0; p < MODEL_PAGES && i % 16 == 0; p++)
            free_pages += owner[p] == 0;
        if (i % 16 == 0)
            assert_int_equal(f.free_pages, free_pages);
    }
    for (unsigned p = 0; p < MODEL_PAGES; p++) {
        if (owner[p] == 2)
            frames_free(&f, at_page(MODEL_BASE + p), 1);
    }
    assert_int_equal(f.free_pages, 3000 + 2699);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bitmap_comes_out_of_the_region, setup),
        cmocka_unit_test_setup(every_frame_is_given_once, setup),
        cmocka_unit_test_setup(regions_are_sorted_and_used_in_order, setup),
        cmocka_unit_test_setup(region_table_has_an_end, setup),
        cmocka_unit_test_setup(owns_counts_used_and_free_frames, setup),
        cmocka_unit_test_setup(single_frames_come_from_the_hint, setup),
        cmocka_unit_test_setup(aligned_runs, setup),
        cmocka_unit_test_setup(run_that_crosses_words, setup),
        cmocka_unit_test_setup(free_in_parts_and_all_at_once, setup),
        cmocka_unit_test_setup(extent_is_aligned_when_it_can_be, setup),
        cmocka_unit_test_setup(longest_extent_of_what_is_left, setup),
        cmocka_unit_test_setup(short_extent_keeps_large_leaves_possible, setup),
        cmocka_unit_test_setup(double_free_asserts, setup),
        cmocka_unit_test_setup(free_of_a_foreign_frame_asserts, setup),
        cmocka_unit_test_setup(free_past_the_region_asserts, setup),
        cmocka_unit_test_setup(free_of_the_bitmap_asserts, setup),
        cmocka_unit_test_setup(overlapping_regions_assert, setup),
        cmocka_unit_test_setup(zero_pages_assert, setup),
        cmocka_unit_test_setup(random_operations_match_the_model, setup),
    };

    fake_phys_init(PHYS_BYTES);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
