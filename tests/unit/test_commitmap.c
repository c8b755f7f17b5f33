/* Reserved sections: who is told of new frames, what fails, what happens at the same time. */
#include "tests/unit/commit_kit.h"

#include <stdlib.h>
#include <string.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "tests/fake/slab.h"
#include "tests/fake/window.h"

/* ---- mappings ---- */

static void owners_prepare_then_commit(void **state)
{
    struct mapping low, high, all, far;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);

    (void)state;
    map(&far, s, 50, 10);
    map(&all, s, 0, PAGES);
    map(&high, s, 20, 10);
    map(&low, s, 8, 4);
    commit(h, 10, 15); /* the newest mapping first */
    assert_int_equal(owner_log.count, 6);
    expect_call(0, PREPARE, &low, 2, 2);
    expect_call(1, PREPARE, &high, 0, 5);
    expect_call(2, PREPARE, &all, 10, 15);
    expect_call(3, COMMIT, &low, 2, 2);
    expect_call(4, COMMIT, &high, 0, 5);
    expect_call(5, COMMIT, &all, 10, 15);

    /* Nothing new: nobody is told. */
    owner_log.count = 0;
    commit(h, 12, 8);
    assert_int_equal(owner_log.count, 0);

    /* The least window around what is new: pages 9 and 25, and what lies between. */
    commit(h, 9, 17);
    assert_int_equal(owner_log.count, 6);
    expect_call(0, PREPARE, &low, 1, 3);
    expect_call(1, PREPARE, &high, 0, 6);
    expect_call(2, PREPARE, &all, 9, 17);

    owner_log.count = 0;
    unmap(&all);
    commit(h, 5, 6);
    assert_int_equal(owner_log.count, 2);
    expect_call(0, PREPARE, &low, 0, 1);
    expect_call(1, COMMIT, &low, 0, 1);
    unmap(&low);
    unmap(&high);
    unmap(&far);
    unref(s);
    close_handle(h);
}

static void a_split_mapping_is_told_twice(void **state)
{
    struct mapping head, tail;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);

    (void)state;
    map(&head, s, 10, 20);
    lock_acquire(&section_lock);
    mapping_split(&head, 5, &tail);
    lock_release(&section_lock);
    commit(h, 12, 6);
    assert_int_equal(owner_log.count, 4);
    expect_call(0, PREPARE, &tail, 0, 3);
    expect_call(1, PREPARE, &head, 2, 3);
    lock_acquire(&section_lock);
    mapping_unsplit(&head, &tail);
    lock_release(&section_lock);
    owner_log.count = 0;
    commit(h, 10, 20);
    assert_int_equal(owner_log.count, 2);
    expect_call(1, COMMIT, &head, 0, 20);
    unmap(&head);
    unref(s);
    close_handle(h);
}

/* A mapping sees holes as holes. */
static void frames_of_a_mapping(void **state)
{
    struct mapping m;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);
    uint64_t run;
    hpa_t frame, same;

    (void)state;
    map(&m, s, 10, 10);
    commit(h, 8, 5);
    assert_true(mapping_frames(&m, 0, &frame, &run));
    assert_int_equal(run, 3);
    assert_true(frame_at(s, 10, &same, &run));
    assert_int_equal(frame.v, same.v);
    assert_false(mapping_frames(&m, 3, &frame, &run));
    assert_int_equal(run, 7); /* up to the window's end */
    unmap(&m);
    unref(s);
    close_handle(h);
}

/* ---- failures ---- */

/* How a test makes the n-th of something fail. */
static void fail_slab(unsigned nth)
{
    fake_slab_fail(nth);
}

static void fail_direct(unsigned nth)
{
    fake_direct_fail(nth);
}

static void fail_prepare(unsigned nth)
{
    owner_log.fail_in = nth;
}

/* A window with three holes, in fragmented memory, under three mappings: every step fails once. */
static void any_step_fails(void **state)
{
    static void (*const fail[])(unsigned) = {fail_slab, fail_direct, fail_prepare};
    static const unsigned least_steps[] = {5, 5, 2};

    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(fail); kind++) {
        struct mapping a, b, c;
        hv_handle_t h = reserve(1200, 0);
        struct section *s = ref(h);
        uint64_t pages, left, records, sum;
        unsigned nth;
        hpa_t all;

        map(&a, s, 0, 600);
        map(&b, s, 1150, 50); /* not concerned */
        map(&c, s, 500, 650);
        fragment(&all, &pages, false);
        commit(h, 100, 1);
        commit(h, 900, 1);
        put_bytes(s, 100 * PAGE_BYTES, "abc", 3);
        left = hv_frames.free_pages;
        records = fake_slab_live();
        sum = checksum_of(s, 100 * PAGE_BYTES, PAGE_BYTES);
        for (nth = 1;; nth++) {
            hv_status_t status;

            owner_log.count = 0;
            fail[kind](nth);
            status = hv_section_commit(h, 80, 1025);
            fail[kind](0);
            if (status == HV_OK)
                break;
            assert_int_equal(status, HV_E_NO_MEMORY);
            assert_int_equal(hv_frames.free_pages, left);
            assert_int_equal(fake_slab_live(), records);
            assert_int_equal(section_ram_pages(), 2);
            assert_int_equal(fake_window.removed_pages, 2);
            assert_int_equal(query(h).committed_pages, 2);
            expect_run(s, 0, false, 100);
            expect_run(s, 101, false, 799);
            expect_run(s, 901, false, 299);
            assert_true(checksum_of(s, 100 * PAGE_BYTES, PAGE_BYTES) == sum);
            if (kind != 2) {
                assert_int_equal(owner_log.count, 0);
            } else if (nth == 1) {
                assert_int_equal(owner_log.count, 1);
            } else {
                assert_int_equal(owner_log.count, 3);
                expect_call(0, PREPARE, &c, 0, 605);
                expect_call(1, PREPARE, &a, 80, 520);
                expect_call(2, CANCEL, &c, 0, 605);
            }
        }
        assert_true(nth > least_steps[kind]);
        assert_int_equal(owner_log.count, 4);
        assert_true(section_is_committed(s, 80, 1025));
        assert_int_equal(query(h).committed_pages, 1025);
        assert_true(checksum_of(s, 100 * PAGE_BYTES, PAGE_BYTES) == sum);
        unmap(&a);
        unmap(&b);
        unmap(&c);
        unref(s);
        close_handle(h);
        fragment(&all, &pages, true);
    }
}

/* With too few frames by every number: nothing changes, and with enough it works. */
static void frames_run_out(void **state)
{
    const uint64_t wanted = 30;
    hv_handle_t h = reserve(PAGES, 0);
    uint64_t total, spare;
    hpa_t all;

    (void)state;
    commit(h, 20, 5);
    total = hv_frames.free_pages;
    assert_int_equal(frames_alloc(&hv_frames, total, 1, &all), HV_OK);
    for (spare = 0;; spare++) {
        hv_status_t status;

        if (spare != 0)
            frames_free(&hv_frames, HPA(all.v + (spare - 1) * PAGE_BYTES), 1);
        status = hv_section_commit(h, 10, wanted);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_COMMITMENT_LIMIT);
        assert_int_equal(hv_frames.free_pages, spare);
        assert_int_equal(query(h).committed_pages, 5);
        assert_int_equal(fake_window.removed_pages, 5);
    }
    assert_int_equal(spare, wanted - 5);
    close_handle(h);
    frames_free(&hv_frames, HPA(all.v + spare * PAGE_BYTES), total - spare);
}

/* ---- what another CPU does meanwhile ---- */

static struct {
    hv_handle_t handle;
    uint64_t page, count;
    struct mapping mapping;
} other;

static void commit_meanwhile(void)
{
    commit(other.handle, other.page, other.count);
}

static void two_commits_at_once(void **state)
{
    const struct {
        uint64_t page, count;
        unsigned calls; /* of the one mapping */
    } row[] = {
        {10, 20, 2}, /* the same pages: the slower one finds nothing to do */
        {15, 5, 4},  /* inside */
        {5, 10, 4},  /* over an edge */
        {25, 10, 4}, {0, 64, 2}, {30, 5, 4}, /* apart */
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(row); i++) {
        struct mapping m;
        hv_handle_t h = reserve(PAGES, i % 2 ? HV_SEC_CONTIGUOUS : 0);
        struct section *s = ref(h);
        uint64_t first = MIN(10, row[i].page), end = MAX(30, row[i].page + row[i].count);

        owner_log.count = 0;
        map(&m, s, 0, PAGES);
        other.handle = h;
        other.page = row[i].page;
        other.count = row[i].count;
        fake_direct_hook(commit_meanwhile);
        commit(h, 10, 20);
        assert_int_equal(owner_log.count, row[i].calls);
        expect_call(0, PREPARE, &m, row[i].page, row[i].count);
        expect_call(1, COMMIT, &m, row[i].page, row[i].count);
        assert_int_equal(query(h).committed_pages, end - first);
        assert_int_equal(section_ram_pages(), end - first);
        assert_int_equal(fake_window.removed_pages, end - first);
        assert_true(section_is_committed(s, first, end - first));
        unmap(&m);
        unref(s);
        close_handle(h);
    }
}

static void close_meanwhile(void)
{
    close_handle(other.handle);
    assert_int_equal(section_live_count(), 1);
}

static void handle_is_closed_meanwhile(void **state)
{
    (void)state;
    other.handle = reserve(PAGES, 0);
    fake_direct_hook(close_meanwhile);
    commit(other.handle, 0, PAGES);
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(fake_window.removed_pages, 0);
}

static void map_meanwhile(void)
{
    struct section *s = ref(other.handle);

    map(&other.mapping, s, 3, 10);
}

static void mapping_is_made_meanwhile(void **state)
{
    struct section *s;

    (void)state;
    other.handle = reserve(PAGES, 0);
    fake_direct_hook(map_meanwhile);
    commit(other.handle, 0, 5);
    assert_int_equal(owner_log.count, 2);
    expect_call(1, COMMIT, &other.mapping, 0, 2);
    s = other.mapping.section;
    unmap(&other.mapping);
    unref(s);
    close_handle(other.handle);
}

/* ---- the end ---- */

static void last_reference_frees_committed_frames(void **state)
{
    struct mapping m;
    hv_handle_t h = reserve(PAGES, 0);
    struct section *s = ref(h);
    uint64_t left = hv_frames.free_pages;

    (void)state;
    map(&m, s, 0, PAGES);
    commit(h, 3, 7);
    commit(h, 20, 7);
    assert_int_equal(section_commit(s, 40, 2), HV_OK);
    assert_int_equal(section_commit(s, 40, 0), HV_E_INVALID_PARAMETER_3);
    close_handle(h);
    assert_int_equal(section_commit(s, 42, 2), HV_OK); /* a view's commit needs no handle */
    assert_int_equal(hv_frames.free_pages, left - 18);
    unmap(&m);
    unref(s);
    assert_int_equal(hv_frames.free_pages, left);
    assert_int_equal(section_ram_pages(), 0);
}

/* ---- a storm against a flat model ---- */

enum { STORM_PAGES = 600, STORM_MAPPINGS = 12 };

static struct {
    struct section *s;
    bool committed[STORM_PAGES];
    uint32_t value[STORM_PAGES];
    struct mapping mapping[STORM_MAPPINGS];
    bool mapped[STORM_MAPPINGS];
} storm;

static void storm_commit(hv_handle_t h)
{
    uint64_t page = (uint64_t)rand() % STORM_PAGES;
    uint64_t count = 1 + (uint64_t)rand() % (rand() % 4 ? 12 : STORM_PAGES);
    hv_status_t want = HV_OK;

    count = MIN(count, STORM_PAGES - page);
    if (committed_in(storm.s, page, page + count) != count && rand() % 4 == 0) {
        fake_direct_fail(1);
        want = HV_E_NO_MEMORY;
    }
    owner_log.count = 0;
    assert_int_equal(hv_section_commit(h, page, count), want);
    for (uint64_t i = page; i < page + count && want == HV_OK; i++)
        storm.committed[i] = true;
}

static void storm_map(void)
{
    unsigned i = (unsigned)rand() % STORM_MAPPINGS;
    uint64_t page = (uint64_t)rand() % STORM_PAGES;
    uint64_t count = 1 + (uint64_t)rand() % (STORM_PAGES - page);

    if (storm.mapped[i])
        unmap(&storm.mapping[i]);
    else
        map(&storm.mapping[i], storm.s, page, count);
    storm.mapped[i] = !storm.mapped[i];
}

static void storm_access(void)
{
    uint64_t page = (uint64_t)rand() % STORM_PAGES;
    uint32_t value = (uint32_t)rand();
    hv_status_t want = storm.committed[page] ? HV_OK : HV_E_NOT_MAPPED;
    uint32_t got = storm.value[page];

    assert_int_equal(section_read(storm.s, page * PAGE_BYTES + 8, &got, sizeof(got)), want);
    assert_int_equal(got, storm.value[page]);
    assert_int_equal(section_write(storm.s, page * PAGE_BYTES + 8, &value, sizeof(value)), want);
    if (want == HV_OK)
        storm.value[page] = value;
}

/* Every page as the model has it, and no two neighbours that continue each other. */
static void storm_check(hv_handle_t h)
{
    uint64_t count = 0, run;
    hpa_t frame, end = HPA(~0ull);

    for (uint64_t page = 0; page < STORM_PAGES; page += run) {
        bool has_frames = frame_at(storm.s, page, &frame, &run);

        assert_true(run != 0 && run <= STORM_PAGES - page);
        for (uint64_t i = page; i < page + run; i++)
            assert_int_equal(storm.committed[i], has_frames);
        if (has_frames) {
            assert_int_not_equal(frame.v, end.v);
            end = HPA(frame.v + run * PAGE_BYTES);
            count += run;
        } else {
            end = HPA(~0ull);
        }
    }
    assert_int_equal(query(h).committed_pages, count);
    assert_int_equal(section_ram_pages(), count);
    assert_int_equal(fake_window.removed_pages, count);
}

static void random_commits(void **state)
{
    (void)state;
    srand(7);
    poison_free_frames();
    for (unsigned life = 0; life < 40; life++) {
        hv_handle_t h = reserve(STORM_PAGES, 0);

        memset(&storm, 0, sizeof(storm));
        owner_log.is_loose = true;
        storm.s = ref(h);
        for (unsigned i = 0; i < 100; i++) {
            if (rand() % 3 == 0)
                storm_commit(h);
            else if (rand() % 2)
                storm_map();
            else
                storm_access();
            storm_check(h);
        }
        for (unsigned i = 0; i < STORM_MAPPINGS; i++)
            if (storm.mapped[i])
                unmap(&storm.mapping[i]);
        close_handle(h);
        unref(storm.s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COMMIT_TEST(owners_prepare_then_commit),
        COMMIT_TEST(a_split_mapping_is_told_twice),
        COMMIT_TEST(frames_of_a_mapping),
        COMMIT_TEST(any_step_fails),
        COMMIT_TEST(frames_run_out),
        COMMIT_TEST(two_commits_at_once),
        COMMIT_TEST(handle_is_closed_meanwhile),
        COMMIT_TEST(mapping_is_made_meanwhile),
        COMMIT_TEST(last_reference_frees_committed_frames),
        COMMIT_TEST(random_commits),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
