#include "tests/unit/section_kit.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"
#include "tests/fake/window.h"

static void map(struct mapping *mapping, struct section *section, uint64_t page,
                enum memtype memtype)
{
    struct ledger_wish wish = {.memtype = memtype, .fixed = true};

    assert_int_equal(mapping_choose_type(section, page, 1, &wish), HV_OK);
    *mapping =
        (struct mapping){.section = section, .section_page = page, .pages = 1, .memtype = memtype};
    mapping_add(mapping, NULL);
}

/* ---- bytes ---- */

static void bytes_cross_pages_and_extents(void **state)
{
    static uint8_t out[3 * PAGE_BYTES], in[3 * PAGE_BYTES];
    hpa_t all;
    uint64_t pages, run;
    hv_handle_t h;
    struct section *s;

    (void)state;
    fragment(&all, &pages, false);
    h = make(1027 * PAGE_BYTES, 0);
    s = ref(h);
    section_frame(s, 511, &run);
    assert_int_equal(run, 1); /* an extent ends here */
    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7 + i / 256);
    put_bytes(s, 511 * PAGE_BYTES - 100, in, sizeof(in));
    get_bytes(s, 511 * PAGE_BYTES - 100, out, sizeof(out));
    assert_memory_equal(in, out, sizeof(in));
    get_bytes(s, 511 * PAGE_BYTES - 101, out, 1);
    assert_int_equal(out[0], 0);
    get_bytes(s, 514 * PAGE_BYTES - 100, out, 1);
    assert_int_equal(out[0], 0);
    get_bytes(s, 1027 * PAGE_BYTES, out, 0);
    expect_assert_failure((void)!section_read(s, 1027 * PAGE_BYTES - 1, out, 2));
    expect_assert_failure((void)!section_write(s, ~0ull, out, 2));
    unref(s);
    close_handle(h);
    section_trim();
    fragment(&all, &pages, true);
}

static void bytes_go_through_the_type_in_force(void **state)
{
    hv_handle_t h = make(2 * PAGE_BYTES, HV_SEC_WRITECOMBINE);
    struct section *s = ref(h);
    struct mapping mapping;
    uint64_t run, flushed = fake_window.flushed_pages;
    hpa_t frame = section_frame(s, 1, &run);
    uint32_t word = 0;

    (void)state;
    /* Nothing is in force: the default, and an earlier write-back mapping may have left lines. */
    put_bytes(s, PAGE_BYTES, &word, 4);
    assert_int_equal(fake_window.last_type, MEMTYPE_WC);
    assert_int_equal(fake_window.flushed_pages, flushed + 1);
    map(&mapping, s, 1, MEMTYPE_UC);
    put_bytes(s, PAGE_BYTES + 4, &word, 4);
    assert_int_equal(fake_window.last_type, MEMTYPE_UC);
    assert_int_equal(fake_window.last_at.v, frame.v + 4);
    assert_int_equal(fake_window.last_bytes, 4);
    get_bytes(s, 4, &word, 4);
    assert_int_equal(fake_window.last_type, MEMTYPE_WC);
    assert_int_equal(fake_window.flushed_pages, flushed + 2);
    checksum_of(s, PAGE_BYTES, 1);
    assert_int_equal(fake_window.last_type, MEMTYPE_UC);
    assert_int_equal(fake_window.flushed_pages, flushed + 2);
    mapping_remove(&mapping);
    map(&mapping, s, 1, MEMTYPE_WB);
    get_bytes(s, PAGE_BYTES, &word, 4);
    assert_int_equal(fake_window.last_type, MEMTYPE_WB);
    mapping_remove(&mapping);
    unref(s);
    close_handle(h);
}

static void checksum_is_fnv1a(void **state)
{
    hv_handle_t h = make(2 * PAGE_BYTES, 0);
    struct section *s = ref(h);
    uint64_t hash = 0xcbf29ce484222325ull;
    uint8_t byte;

    (void)state;
    assert_true(checksum_of(s, 0, 0) == hash);
    put_bytes(s, 100, "foobar", 6);
    assert_true(checksum_of(s, 100, 6) == 0x85944171f73967e8ull); /* the published vector */
    for (unsigned i = 3; i < 2 * PAGE_BYTES; i++) {
        get_bytes(s, i, &byte, 1);
        hash = (hash ^ byte) * 0x100000001b3ull;
    }
    assert_true(checksum_of(s, 3, 2 * PAGE_BYTES - 3) == hash);
    unref(s);
    close_handle(h);
}

/* ---- failure at every step ---- */

static void direct_map_removal_fails(void **state)
{
    hpa_t all;
    uint64_t pages, left;
    hv_handle_t h = 77;

    (void)state;
    fragment(&all, &pages, false);
    left = hv_frames.free_pages;
    /* Two extents of 2 MiB (each with a neighbour or not): the n-th removal fails. */
    for (unsigned nth = 1; nth <= 2; nth++) {
        fake_direct_fail(nth);
        assert_int_equal(create(&h, 1024 * PAGE_BYTES, 0), HV_E_NO_MEMORY);
        assert_int_equal(h, 77);
        assert_int_equal(fake_window.removed_pages, 0);
        assert_int_equal(free_now(), left);
        assert_int_equal(section_live_count(), 0);
    }
    h = make(1024 * PAGE_BYTES, 0);
    close_handle(h);
    section_trim();
    fragment(&all, &pages, true);

    fake_direct_fail(1);
    assert_int_equal(create_backed(&h, 0, 0, module(MODULE)), HV_E_NO_MEMORY);
    assert_true(fake_direct_has(HPA(MODULE_BASE)));
    assert_int_equal(create_backed(&h, 0, 0, module(MODULE)), HV_OK);
    assert_false(fake_direct_has(HPA(MODULE_BASE)));
    close_handle(h);
}

/* With n frames left, for every n until the call succeeds: nothing changes, and then it works. */
static void frames_run_out_at_every_step(void **state)
{
    const struct hv_section_backing window = physical(DEVICE, MIB(2));
    const struct hv_section_backing image = module(MODULE);
    const struct {
        const struct hv_section_backing *backing;
        uint64_t bytes;
        uint64_t frames; /* of the section itself */
    } kind[] = {{NULL, 3 * PAGE_BYTES, 3}, {&window, 0, 0}, {&image, 0, 0}};

    (void)state;
    for (unsigned k = 0; k < ARRAY_COUNT(kind); k++) {
        hpa_t all, rest;
        uint64_t total = hv_frames.free_pages;
        uint64_t spare = 0;
        hv_status_t status;
        hv_handle_t h = 77;

        for (;; spare++) {
            assert_int_equal(frames_alloc(&hv_frames, total, 1, &all), HV_OK);
            if (spare != 0)
                frames_free(&hv_frames, all, spare);
            rest = HPA(all.v + spare * PAGE_BYTES);
            status = hv_section_create(&h, ALL, "short", kind[k].bytes, HV_PAGE_READWRITE,
                                       HV_SEC_COMMIT, kind[k].backing);
            frames_free(&hv_frames, rest, total - spare);
            if (status == HV_OK)
                break;
            assert_int_equal(status,
                             spare < kind[k].frames ? HV_E_COMMITMENT_LIMIT : HV_E_NO_MEMORY);
            assert_int_equal(h, 77);
            assert_int_equal(free_now(), total);
            assert_int_equal(section_live_count(), 0);
            assert_int_equal(fake_window.removed_pages, 0);
            assert_int_equal(hv_section_open(&h, ALL, "short"), HV_E_NOT_FOUND);
        }
        /* One page each for the extent, the section and the handle. */
        assert_int_equal(spare, kind[k].frames + 3);
        close_handle(h);
        section_trim();
        assert_int_equal(hv_frames.free_pages, total);
    }
}

static void open_without_records(void **state)
{
    static hv_handle_t h[1000];
    hv_handle_t last = 77;
    unsigned count = 0;
    hpa_t all;
    uint64_t total;

    (void)state;
    h[count++] = make_named("x");
    total = hv_frames.free_pages;
    assert_int_equal(frames_alloc(&hv_frames, total, 1, &all), HV_OK);
    while (count < ARRAY_COUNT(h) && hv_section_open(&h[count], HV_SECTION_QUERY, "x") == HV_OK)
        count++;
    assert_in_range(count, 2, ARRAY_COUNT(h) - 1);
    assert_int_equal(hv_section_open(&last, HV_SECTION_QUERY, "x"), HV_E_NO_MEMORY);
    assert_int_equal(last, 77);
    assert_int_equal(query(h[0]).handles, count);
    frames_free(&hv_frames, all, total);
    assert_int_equal(hv_section_open(&last, HV_SECTION_QUERY, "x"), HV_OK);
    close_handle(last);
    while (count-- != 0)
        close_handle(h[count]);
}

/* With real records: every number of frames too few, and nothing is left of the failures. */
static void commit_runs_out_at_every_step(void **state)
{
    hv_handle_t h;
    uint64_t total, spare;

    (void)state;
    assert_int_equal(
        hv_section_create(&h, ALL, NULL, 8 * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_RESERVE, NULL),
        HV_OK);
    total = free_now();
    for (spare = 0;; spare++) {
        hpa_t all;
        hv_status_t status;

        assert_int_equal(frames_alloc(&hv_frames, total, 1, &all), HV_OK);
        if (spare != 0)
            frames_free(&hv_frames, all, spare);
        status = hv_section_commit(h, 3, 4);
        frames_free(&hv_frames, HPA(all.v + spare * PAGE_BYTES), total - spare);
        if (status == HV_OK)
            break;
        assert_int_equal(status, spare < 4 ? HV_E_COMMITMENT_LIMIT : HV_E_NO_MEMORY);
        assert_int_equal(free_now(), total);
        assert_int_equal(query(h).committed_pages, 0);
        assert_int_equal(fake_window.removed_pages, 0);
    }
    assert_int_equal(spare, 4 + 1); /* one page of records */
    close_handle(h);
}

/* ---- a storm ---- */

static void random_lives(void **state)
{
    enum { SLOTS = 40 };
    static struct {
        hv_handle_t handle;
        struct section *section;
        uint64_t pages;
    } slot[SLOTS];

    (void)state;
    srand(4);
    memset(slot, 0, sizeof(slot));
    for (unsigned i = 0; i < 4000; i++) {
        unsigned at = (unsigned)rand() % SLOTS;

        if (slot[at].handle == 0 && slot[at].section == NULL) {
            slot[at].pages = 1 + (uint64_t)rand() % (rand() % 8 ? 8 : 1200);
            if (create(&slot[at].handle, slot[at].pages * PAGE_BYTES,
                       rand() % 4 ? 0 : HV_SEC_CONTIGUOUS) != HV_OK)
                slot[at].handle = 0;
        } else if (slot[at].section == NULL) {
            slot[at].section = ref(slot[at].handle);
            put_bytes(slot[at].section, (slot[at].pages - 1) * PAGE_BYTES, &at, sizeof(at));
        } else if (slot[at].handle != 0) {
            close_handle(slot[at].handle);
            slot[at].handle = 0;
        } else {
            unsigned value = ~0u;

            get_bytes(slot[at].section, (slot[at].pages - 1) * PAGE_BYTES, &value, sizeof(value));
            assert_int_equal(value, at);
            unref(slot[at].section);
            slot[at].section = NULL;
        }
        if (i % 64 == 0) {
            uint64_t hidden = 0;

            for (unsigned s = 0; s < SLOTS; s++)
                hidden += slot[s].handle != 0 || slot[s].section != NULL ? slot[s].pages : 0;
            assert_int_equal(fake_window.removed_pages, hidden);
            assert_int_equal(section_ram_pages(), hidden);
        }
    }
    for (unsigned s = 0; s < SLOTS; s++) {
        if (slot[s].section != NULL)
            unref(slot[s].section);
        if (slot[s].handle != 0)
            close_handle(slot[s].handle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_cross_pages_and_extents),
        TEST(bytes_go_through_the_type_in_force),
        TEST(checksum_is_fnv1a),
        TEST(direct_map_removal_fails),
        TEST(frames_run_out_at_every_step),
        TEST(open_without_records),
        TEST(commit_runs_out_at_every_step),
        TEST(random_lives),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
