/* Reserved sections: frames that come later. */
#include "tests/unit/commit_kit.h"

#include <string.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "tests/fake/slab.h"
#include "tests/fake/window.h"

/* ---- statuses ---- */

static void statuses_in_order(void **state)
{
    hv_handle_t h = reserve(PAGES, 0), whole = make(4 * PAGE_BYTES, 0), weak, event;
    struct hv_section_backing window = physical(DEVICE, PAGE_BYTES);

    (void)state;
    assert_int_equal(hv_section_create(&weak, ALL & ~(uint32_t)HV_SECTION_MAP_WRITE, NULL,
                                       PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_RESERVE, NULL),
                     HV_OK);
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event), HV_OK);
    assert_int_equal(hv_section_commit(0, 0, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_section_commit(event, 0, 0), HV_E_OBJECT_TYPE);
    assert_int_equal(hv_section_commit(weak, 0, 0), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_section_commit(h, PAGES + 1, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_section_commit(h, PAGES + 1, 1), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(hv_section_commit(h, PAGES, 1), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(hv_section_commit(h, PAGES - 1, 2), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(hv_section_commit(h, 1, ~0ull), HV_E_INVALID_VIEW_SIZE); /* wraps */
    assert_int_equal(hv_section_commit(whole, 1, 4), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(hv_section_commit(whole, 1, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_section_commit(whole, 1, 3), HV_OK);
    assert_int_equal(query(whole).committed_pages, 4);
    assert_int_equal(query(h).committed_pages, 0);
    close_handle(h);
    assert_int_equal(hv_section_commit(h, 0, 1), HV_E_INVALID_HANDLE);
    close_handle(whole);
    close_handle(weak);
    close_handle(event);

    h = reserve(1024, HV_SEC_LARGE_PAGES);
    assert_int_equal(hv_section_commit(h, 1, 1024), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(hv_section_commit(h, 1, 512), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(hv_section_commit(h, 512, 511), HV_E_MAPPED_ALIGNMENT);
    close_handle(h);
    h = make(MIB(2), HV_SEC_LARGE_PAGES);
    commit(h, 1, 1); /* has them all, whatever the alignment */
    close_handle(h);
    assert_int_equal(hv_section_create(&h, ALL, NULL, 0, HV_PAGE_READWRITE, HV_SEC_COMMIT, &window),
                     HV_OK);
    commit(h, 0, 1);
    close_handle(h);
}

static void reserve_takes_no_frame(void **state)
{
    const struct hv_section_backing backing[] = {physical(DEVICE, PAGE_BYTES), module(MODULE)};
    uint64_t left = hv_frames.free_pages;
    hv_handle_t h;
    struct section *s;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(backing); i++)
        assert_int_equal(hv_section_create(&h, ALL, NULL, PAGE_BYTES, HV_PAGE_READWRITE,
                                           HV_SEC_RESERVE, &backing[i]),
                         HV_E_INVALID_PARAMETER_6);
    assert_int_equal(hv_section_create(&h, ALL, NULL, HV_SECTION_MAX_BYTES, HV_PAGE_READWRITE,
                                       HV_SEC_RESERVE | HV_SEC_WRITECOMBINE, NULL),
                     HV_OK);
    assert_int_equal(hv_frames.free_pages, left);
    assert_int_equal(section_ram_pages(), 0);
    assert_int_equal(query(h).committed_pages, 0);
    assert_int_equal(query(h).bytes, HV_SECTION_MAX_BYTES);
    assert_int_equal(query(h).default_type, MEMTYPE_WC);
    assert_int_equal(query(h).attributes, HV_SEC_RESERVE | HV_SEC_WRITECOMBINE);
    s = ref(h);
    assert_true(section_facts(s)->is_reserved);
    assert_true(section_is_ram(s));
    assert_int_equal(section_facts(s)->first_pages, 0);
    expect_run(s, 5, false, HV_SECTION_MAX_BYTES / PAGE_BYTES - 5);
    assert_false(section_is_committed(s, 0, 1));
    assert_true(section_is_committed(s, 0, 0));
    assert_int_equal(hv_section_commit(h, 0, HV_SECTION_MAX_BYTES / PAGE_BYTES),
                     HV_E_COMMITMENT_LIMIT);
    expect_assert_failure(section_frame(s, 0, &left));
    unref(s);
    close_handle(h);
}

/* ---- frames ---- */

static void committed_pages_are_zero_hidden_and_flushed(void **state)
{
    uint8_t page[PAGE_BYTES];
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);

    (void)state;
    poison_free_frames();
    commit(h, 10, 5);
    assert_int_equal(query(h).committed_pages, 5);
    assert_int_equal(section_ram_pages(), 5);
    assert_int_equal(fake_window.removed_pages, 5);
    expect_run(s, 0, false, 10);
    expect_run(s, 10, true, 5);
    expect_run(s, 12, true, 3);
    expect_run(s, 15, false, PAGES - 15);
    assert_true(section_is_committed(s, 10, 5));
    assert_false(section_is_committed(s, 9, 2));
    assert_false(section_is_committed(s, 14, 2));
    for (uint64_t i = 10; i < 15; i++) {
        uint64_t run;
        hpa_t frame;

        assert_true(frame_at(s, i, &frame, &run));
        assert_false(fake_direct_has(frame));
        assert_true(fake_window_is_flushed(frame));
        get_bytes(s, i * PAGE_BYTES, page, sizeof(page));
        for (unsigned b = 0; b < sizeof(page); b++)
            assert_int_equal(page[b], 0);
    }
    /* Whoever gets these frames next sees nothing of what is written now. */
    memset(page, 0x77, sizeof(page));
    for (uint64_t i = 10; i < 15; i++)
        put_bytes(s, i * PAGE_BYTES, page, sizeof(page));
    unref(s);
    close_handle(h);
    h = reserve(PAGES, 0);
    s = ref(h);
    commit(h, 0, PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        get_bytes(s, i * PAGE_BYTES, page, sizeof(page));
        for (unsigned b = 0; b < sizeof(page); b++)
            assert_int_equal(page[b], 0);
    }
    unref(s);
    close_handle(h);
}

static void bytes_of_a_hole(void **state)
{
    uint8_t in[2 * PAGE_BYTES], out[2 * PAGE_BYTES];
    uint64_t checksum = 77, before;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);

    (void)state;
    memset(in, 0x11, sizeof(in));
    memset(out, 0x22, sizeof(out));
    commit(h, 4, 4);
    before = checksum_of(s, 4 * PAGE_BYTES, 4 * PAGE_BYTES);
    /* One byte before, one byte behind, all of a hole, and a window with a hole inside. */
    assert_int_equal(section_read(s, 4 * PAGE_BYTES - 1, out, 2), HV_E_NOT_MAPPED);
    assert_int_equal(section_write(s, 4 * PAGE_BYTES - 1, in, 2), HV_E_NOT_MAPPED);
    assert_int_equal(section_read(s, 7 * PAGE_BYTES, out, PAGE_BYTES + 1), HV_E_NOT_MAPPED);
    assert_int_equal(section_write(s, 7 * PAGE_BYTES, in, PAGE_BYTES + 1), HV_E_NOT_MAPPED);
    assert_int_equal(section_write(s, 0, in, 1), HV_E_NOT_MAPPED);
    assert_int_equal(section_checksum(s, 7 * PAGE_BYTES, PAGE_BYTES + 1, &checksum),
                     HV_E_NOT_MAPPED);
    assert_int_equal(checksum, 77);
    for (unsigned i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], 0x22);
    assert_true(checksum_of(s, 4 * PAGE_BYTES, 4 * PAGE_BYTES) == before);
    get_bytes(s, 0, out, 0);
    put_bytes(s, 3 * PAGE_BYTES, in, 0);
    put_bytes(s, 7 * PAGE_BYTES, in, PAGE_BYTES);
    get_bytes(s, 7 * PAGE_BYTES, out, PAGE_BYTES);
    assert_memory_equal(in, out, PAGE_BYTES);
    unref(s);
    close_handle(h);
}

static void pages_keep_the_frames_that_they_have(void **state)
{
    uint64_t run;
    hpa_t first, second;
    char kept[4];
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);

    (void)state;
    commit(h, 8, 4);
    assert_true(frame_at(s, 8, &first, &run));
    put_bytes(s, 8 * PAGE_BYTES, "kept", 4);
    commit(h, 8, 4); /* nothing to do */
    commit(h, 9, 1);
    assert_int_equal(query(h).committed_pages, 4);
    assert_int_equal(fake_window.removed_pages, 4);
    commit(h, 6, 4); /* over its first edge, its last one, and all of it */
    commit(h, 10, 4);
    assert_int_equal(query(h).committed_pages, 8);
    commit(h, 2, 20);
    assert_int_equal(query(h).committed_pages, 20);
    assert_true(frame_at(s, 8, &second, &run));
    assert_int_equal(first.v, second.v);
    get_bytes(s, 8 * PAGE_BYTES, kept, sizeof(kept));
    assert_memory_equal(kept, "kept", sizeof(kept));
    expect_run(s, 0, false, 2);
    expect_run(s, 22, false, PAGES - 22);
    commit(h, 0, PAGES);
    assert_true(section_is_committed(s, 0, PAGES));
    unref(s);
    close_handle(h);
}

static void runs_that_continue_each_other_are_one(void **state)
{
    hpa_t between;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);
    uint64_t records = fake_slab_live();

    (void)state;
    commit(h, 10, 1);
    assert_int_equal(frames_alloc(&hv_frames, 1, 1, &between), HV_OK);
    commit(h, 12, 1);
    assert_int_equal(fake_slab_live(), records + 2);
    frames_free(&hv_frames, between, 1);
    commit(h, 11, 1); /* first fit: the frame in between */
    expect_run(s, 10, true, 3);
    assert_int_equal(fake_slab_live(), records + 1);
    commit(h, 13, 2);
    expect_run(s, 10, true, 5);
    commit(h, 9, 1); /* its frame does not continue anything */
    expect_run(s, 9, true, 1);
    assert_int_equal(fake_slab_live(), records + 2);
    unref(s);
    close_handle(h);
}

static void large_leaves_are_possible_behind_a_crooked_start(void **state)
{
    hv_handle_t h = reserve(2048, 0);
    struct section *s = ref(h);
    uint64_t run;
    hpa_t frame;

    (void)state;
    commit(h, 3, 1600);
    for (uint64_t page = 512; page < 1536; page += 512) {
        assert_true(frame_at(s, page, &frame, &run));
        assert_int_equal(frame.v % MIB(2), 0);
        assert_true(run >= 512);
    }
    unref(s);
    close_handle(h);
}

static void large_pages(void **state)
{
    hv_handle_t h = reserve(2048, HV_SEC_LARGE_PAGES);
    struct section *s = ref(h);
    uint64_t run, pages;
    hpa_t frame, all;

    (void)state;
    commit(h, 512, 512);
    expect_run(s, 0, false, 512);
    commit(h, 0, 1536);
    for (uint64_t page = 0; page < 1536; page += 512) {
        assert_true(frame_at(s, page, &frame, &run));
        assert_int_equal(frame.v % MIB(2), 0);
        assert_true(run >= 512);
    }
    unref(s);
    close_handle(h);

    h = reserve(2048, HV_SEC_LARGE_PAGES);
    fragment(&all, &pages, false);
    assert_int_equal(hv_section_commit(h, 0, 2048), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(hv_frames.free_pages, 1032);
    commit(h, 512, 1024); /* both 2 MiB that there are */
    assert_int_equal(hv_frames.free_pages, 8);
    close_handle(h);
    h = reserve(2048, HV_SEC_LARGE_PAGES | HV_SEC_CONTIGUOUS);
    assert_int_equal(hv_section_commit(h, 0, 1024), HV_E_COMMITMENT_LIMIT);
    commit(h, 0, 512);
    commit(h, 0, 1024); /* each hole is a run of its own */
    close_handle(h);
    fragment(&all, &pages, true);
}

static void contiguous_holes(void **state)
{
    hv_handle_t h = reserve(2048, HV_SEC_CONTIGUOUS);
    struct section *s = ref(h);
    uint64_t pages;
    hpa_t all;

    (void)state;
    fragment(&all, &pages, false); /* runs of 512, 1, 1, 1 and 517 */
    assert_int_equal(hv_section_commit(h, 0, 518), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(hv_frames.free_pages, 1032);
    commit(h, 600, 1);
    /* Two holes, each of which fits into one run; together they would not. */
    commit(h, 100, 1001);
    expect_run(s, 100, true, 500);
    expect_run(s, 601, true, 500);
    assert_int_equal(query(h).committed_pages, 1001);
    assert_int_equal(hv_section_commit(h, 1200, 18), HV_E_COMMITMENT_LIMIT);
    unref(s);
    close_handle(h);
    fragment(&all, &pages, true);
}

static void fragmented_memory(void **state)
{
    hv_handle_t h = reserve(2048, 0);
    struct section *s = ref(h);
    uint64_t pages;
    hpa_t all;

    (void)state;
    fragment(&all, &pages, false);
    assert_int_equal(hv_section_commit(h, 7, 1033), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(hv_frames.free_pages, 1032);
    assert_int_equal(query(h).committed_pages, 0);
    commit(h, 7, 1032);
    assert_int_equal(hv_frames.free_pages, 0);
    assert_int_equal(section_ram_pages(), 1032);
    assert_true(section_is_committed(s, 7, 1032));
    assert_int_equal(hv_section_commit(h, 6, 2), HV_E_COMMITMENT_LIMIT);
    commit(h, 7, 1032);
    unref(s);
    close_handle(h);
    assert_int_equal(hv_frames.free_pages, 1032);
    fragment(&all, &pages, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COMMIT_TEST(statuses_in_order),
        COMMIT_TEST(reserve_takes_no_frame),
        COMMIT_TEST(committed_pages_are_zero_hidden_and_flushed),
        COMMIT_TEST(bytes_of_a_hole),
        COMMIT_TEST(pages_keep_the_frames_that_they_have),
        COMMIT_TEST(runs_that_continue_each_other_are_one),
        COMMIT_TEST(large_leaves_are_possible_behind_a_crooked_start),
        COMMIT_TEST(large_pages),
        COMMIT_TEST(contiguous_holes),
        COMMIT_TEST(fragmented_memory),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
