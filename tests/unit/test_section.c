#include "tests/unit/section_kit.h"

#include <string.h>

#include "hv/mem/frames.h"
#include "tests/fake/phys.h"
#include "tests/fake/window.h"

/* ---- the checks of create, by name ---- */

struct bad_create {
    hv_status_t want;
    uint32_t access;
    const char *name;
    uint64_t bytes;
    uint32_t protect;
    uint32_t attributes;
};

static void create_names_the_illegal_argument(void **state)
{
    const uint32_t rw = HV_PAGE_READWRITE;
    const uint32_t commit = HV_SEC_COMMIT;
    const struct bad_create bad[] = {
        {HV_E_INVALID_PARAMETER_2, 0, NULL, 1, rw, commit},
        {HV_E_INVALID_PARAMETER_2, 32, NULL, 1, rw, commit},
        {HV_E_INVALID_PARAMETER_3, ALL, "", 1, rw, commit},
        {HV_E_INVALID_PARAMETER_3, ALL, NAME_63 "4", 1, rw, commit},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, 0, rw, commit},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, MIB(2) + 1, rw, commit | HV_SEC_LARGE_PAGES},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, MIB(1), rw, commit | HV_SEC_LARGE_PAGES},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, 1, rw, 0},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, 1, rw, commit | HV_SEC_RESERVE},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, 1, rw, HV_SEC_OPEN_IF},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, 1, rw, commit | 0x200},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, 1, rw, HV_SEC_RESERVE | 0x200},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, 0, rw, HV_SEC_RESERVE},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, MIB(1), rw, HV_SEC_RESERVE | HV_SEC_LARGE_PAGES},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, 0, commit},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, HV_PAGE_NOACCESS, commit},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, HV_PAGE_EXECUTE, commit},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, rw | HV_PAGE_READONLY, commit},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, rw | 0x800, commit},
        {HV_E_INVALID_PROTECTION, ALL, NULL, 1, rw, commit | HV_SEC_NOCACHE | HV_SEC_WRITECOMBINE},
        {HV_E_NOT_SUPPORTED, ALL, NULL, 1, HV_PAGE_WRITECOPY, commit},
        {HV_E_NOT_SUPPORTED, ALL, NULL, 1, HV_PAGE_EXECUTE_WRITECOPY, commit},
        {HV_E_SECTION_TOO_BIG, ALL, NULL, HV_SECTION_MAX_BYTES + 1, rw, commit},
        {HV_E_SECTION_TOO_BIG, ALL, NULL, ~0ull, rw, commit},
        {HV_E_COMMITMENT_LIMIT, ALL, NULL, HV_SECTION_MAX_BYTES, rw, commit},
        {HV_E_COMMITMENT_LIMIT, ALL, NULL, RAM_PAGES * PAGE_BYTES, rw, commit},
        {HV_E_COMMITMENT_LIMIT, ALL, NULL, RAM_PAGES * PAGE_BYTES, rw, commit | HV_SEC_CONTIGUOUS},
        {HV_E_COMMITMENT_LIMIT, ALL, NULL, RAM_PAGES * PAGE_BYTES, rw, commit | HV_SEC_LARGE_PAGES},
        /* The first failing check decides: each line is the one before, with one fault repaired. */
        {HV_E_INVALID_PARAMETER_2, 0, "", 0, 0, 0},
        {HV_E_INVALID_PARAMETER_3, ALL, "", 0, 0, 0},
        {HV_E_INVALID_PARAMETER_4, ALL, NULL, 0, 0, 0},
        {HV_E_INVALID_PARAMETER_6, ALL, NULL, ~0ull, 0, 0},
        {HV_E_INVALID_PROTECTION, ALL, NULL, ~0ull, 0, HV_SEC_RESERVE},
        {HV_E_SECTION_TOO_BIG, ALL, NULL, ~0ull, rw, HV_SEC_RESERVE},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        hv_handle_t h = 77;
        hv_status_t got = hv_section_create(&h, bad[i].access, bad[i].name, bad[i].bytes,
                                            bad[i].protect, bad[i].attributes, NULL);

        if (got != bad[i].want)
            print_error("line %u: %s\n", i, hv_status_name(got));
        assert_int_equal(got, bad[i].want);
        assert_int_equal(h, 77);
    }
    assert_int_equal(hv_section_create(NULL, 0, "", 0, 0, 0, NULL), HV_E_INVALID_PARAMETER_1);
}

static void create_checks_the_backing(void **state)
{
    const struct {
        hv_status_t want;
        uint64_t bytes;
        uint32_t attributes;
        struct hv_section_backing backing;
    } bad[] = {
        {HV_E_INVALID_PARAMETER_7, 0, 0, {.kind = (enum hv_backing_kind)3}},
        {HV_E_INVALID_PARAMETER_7, 0, 0, {.kind = (enum hv_backing_kind)0}},
        {HV_E_INVALID_PARAMETER_7, 0, 0, physical(DEVICE, 0)},
        {HV_E_MAPPED_ALIGNMENT, 0, 0, physical(DEVICE + 1, PAGE_BYTES)},
        {HV_E_MAPPED_ALIGNMENT, 0, 0, physical(DEVICE, PAGE_BYTES + 8)},
        {HV_E_MAPPED_ALIGNMENT, 0, 0, physical(RAM_BASE + 1, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(RAM_BASE, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(RAM_BASE - PAGE_BYTES, 2 * PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(RAM_BASE + (RAM_PAGES - 1) * PAGE_BYTES, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(0, GIB(3ull))},
        {HV_E_ACCESS_DENIED, 0, 0, physical(MODULE_BASE + 2 * PAGE_BYTES, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(DEVICE + MIB(64), PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(DEVICE + MIB(64) + PAGE_BYTES, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(CPU_LIMIT - PAGE_BYTES, 2 * PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(CPU_LIMIT, PAGE_BYTES)},
        {HV_E_ACCESS_DENIED, 0, 0, physical(-PAGE_BYTES, 2 * PAGE_BYTES)}, /* wraps */
        {HV_E_ACCESS_DENIED, 0, 0, physical(DEVICE, -PAGE_BYTES)},
        {HV_E_NOT_FOUND, 0, 0, module(0)},
        {HV_E_NOT_FOUND, 0, 0, module(SECTION_MAX_MODULES)},
        {HV_E_NOT_FOUND, 0, 0, module(~0u)},
        {HV_E_INVALID_PARAMETER, 2 * PAGE_BYTES, 0, physical(DEVICE, PAGE_BYTES)},
        {HV_E_INVALID_PARAMETER, 3 * PAGE_BYTES + 1, 0, module(MODULE)},
        {HV_E_INVALID_PARAMETER_4, 0, HV_SEC_LARGE_PAGES, physical(DEVICE, MIB(1))},
        {HV_E_MAPPED_ALIGNMENT, 0, HV_SEC_LARGE_PAGES, physical(DEVICE + MIB(1), MIB(2))},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        hv_handle_t h = 77;
        hv_status_t got = create_backed(&h, bad[i].bytes, bad[i].attributes, bad[i].backing);

        if (got != bad[i].want)
            print_error("line %u: %s\n", i, hv_status_name(got));
        assert_int_equal(got, bad[i].want);
        assert_int_equal(h, 77);
    }
}

static void legal_protections_and_ends_of_limits(void **state)
{
    static const uint32_t legal[] = {HV_PAGE_READONLY, HV_PAGE_READWRITE, HV_PAGE_EXECUTE_READ,
                                     HV_PAGE_EXECUTE_READWRITE};
    hv_handle_t h;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(legal); i++) {
        assert_int_equal(hv_section_create(&h, ALL, NAME_63, 1, legal[i], HV_SEC_COMMIT, NULL),
                         HV_OK);
        assert_int_equal(query(h).protect, legal[i]);
        assert_string_equal(query(h).name, NAME_63);
        close_handle(h);
    }
    assert_int_equal(create_backed(&h, 0, 0, physical(CPU_LIMIT - PAGE_BYTES, PAGE_BYTES)), HV_OK);
    close_handle(h);
    assert_int_equal(
        create_backed(&h, 0, 0, physical(DEVICE + MIB(64) + 2 * PAGE_BYTES, PAGE_BYTES)), HV_OK);
    close_handle(h);
}

/* ---- OPEN_IF ---- */

static hv_status_t open_if(hv_handle_t *h, uint32_t access, const char *name, uint64_t bytes,
                           uint32_t protect, uint32_t attributes)
{
    return hv_section_create(h, access, name, bytes, protect, HV_SEC_OPEN_IF | attributes, NULL);
}

static void open_if_makes_or_opens(void **state)
{
    const struct hv_section_backing no_module = module(0);
    hv_handle_t first, second, third, bad = 77;
    struct section *a, *b;
    uint64_t left;

    (void)state;
    assert_int_equal(
        open_if(&first, ALL, "shared", 2 * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT), HV_OK);
    assert_false(query(first).existed);
    assert_int_equal(query(first).attributes, HV_SEC_COMMIT);
    assert_int_equal(query(first).committed_pages, 2);
    left = hv_frames.free_pages;

    /* More memory than there is, another protection and type: legal, and the existing section's count. */
    assert_int_equal(open_if(&second, ALL & ~(uint32_t)HV_SECTION_MAP_EXECUTE, "shared",
                             HV_SECTION_MAX_BYTES, HV_PAGE_READONLY,
                             HV_SEC_RESERVE | HV_SEC_WRITECOMBINE),
                     HV_OK);
    assert_int_equal(hv_frames.free_pages, left);
    assert_int_not_equal(first, second);
    assert_true(query(second).existed);
    assert_false(query(first).existed);
    assert_int_equal(query(second).bytes, 2 * PAGE_BYTES);
    assert_int_equal(query(second).protect, HV_PAGE_READWRITE);
    assert_int_equal(query(second).default_type, MEMTYPE_WB);
    assert_int_equal(query(second).handles, 2);
    a = ref(first);
    b = ref(second);
    assert_ptr_equal(a, b);
    unref(a);
    unref(b);
    assert_int_equal(hv_section_open(&third, HV_SECTION_QUERY, "shared"), HV_OK);
    assert_true(query(third).existed);

    /* Refused: rights that the protection does not give, and whatever is illegal without the name. */
    assert_int_equal(open_if(&bad, HV_SECTION_MAP_EXECUTE, "shared", 1, HV_PAGE_EXECUTE_READWRITE,
                             HV_SEC_COMMIT),
                     HV_E_ACCESS_DENIED);
    assert_int_equal(open_if(&bad, ALL, "shared", 0, HV_PAGE_READWRITE, HV_SEC_COMMIT),
                     HV_E_INVALID_PARAMETER_4);
    assert_int_equal(open_if(&bad, ALL, "shared", 1, HV_PAGE_NOACCESS, HV_SEC_COMMIT),
                     HV_E_INVALID_PROTECTION);
    assert_int_equal(open_if(&bad, ALL, "shared", 1, HV_PAGE_READWRITE, 0),
                     HV_E_INVALID_PARAMETER_6);
    assert_int_equal(hv_section_create(&bad, HV_SECTION_QUERY, "shared", 0, HV_PAGE_READWRITE,
                                       HV_SEC_COMMIT | HV_SEC_OPEN_IF, &no_module),
                     HV_E_NOT_FOUND);
    assert_int_equal(hv_section_create(&bad, HV_SECTION_QUERY, "shared", 1, HV_PAGE_READWRITE,
                                       HV_SEC_COMMIT, NULL),
                     HV_E_ALREADY_EXISTS);
    assert_int_equal(bad, 77);
    assert_int_equal(query(first).handles, 3);
    close_handle(first);
    close_handle(second);
    close_handle(third);

    /* The name went with the last handle; without a name there is nothing to open. */
    assert_int_equal(open_if(&first, ALL, "shared", 1, HV_PAGE_READWRITE, HV_SEC_RESERVE), HV_OK);
    assert_false(query(first).existed);
    assert_int_equal(query(first).committed_pages, 0);
    assert_int_equal(open_if(&second, ALL, NULL, 1, HV_PAGE_READWRITE, HV_SEC_COMMIT), HV_OK);
    assert_int_equal(open_if(&third, ALL, NULL, 1, HV_PAGE_READWRITE, HV_SEC_COMMIT), HV_OK);
    assert_false(query(third).existed);
    assert_int_equal(section_live_count(), 3);
    close_handle(first);
    close_handle(second);
    close_handle(third);
}

static hv_handle_t rival;

static void create_meanwhile(void)
{
    rival = make_named("race");
}

/* While frames are taken, another CPU makes a section of the same name. */
static void a_name_is_taken_meanwhile(void **state)
{
    hv_handle_t h = 77;

    (void)state;
    fake_direct_hook(create_meanwhile);
    assert_int_equal(
        hv_section_create(&h, ALL, "race", PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL),
        HV_E_ALREADY_EXISTS);
    assert_int_equal(h, 77);
    assert_int_equal(section_live_count(), 1);
    close_handle(rival);

    fake_direct_hook(create_meanwhile);
    assert_int_equal(
        open_if(&h, HV_SECTION_QUERY, "race", 5 * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT),
        HV_OK);
    assert_true(query(h).existed);
    assert_int_equal(query(h).bytes, PAGE_BYTES);
    assert_int_equal(section_ram_pages(), 1);
    assert_int_equal(section_live_count(), 1);
    close_handle(rival);
    close_handle(h);
}

/* ---- frames ---- */

static void anonymous_frames_are_zeroed_hidden_and_flushed(void **state)
{
    hpa_t all;
    uint64_t run, left = hv_frames.free_pages;
    hv_handle_t h;
    struct section *s;

    (void)state;
    assert_int_equal(frames_alloc(&hv_frames, left, 1, &all), HV_OK);
    memset(direct(all), 0x5a, left * PAGE_BYTES);
    frames_free(&hv_frames, all, left);

    h = make(5 * PAGE_BYTES - 7, 0);
    s = ref(h);
    assert_int_equal(section_pages(s), 5);
    assert_true(section_is_ram(s));
    assert_int_equal(query(h).bytes, 5 * PAGE_BYTES);
    for (uint64_t page = 0; page < 5; page++) {
        hpa_t frame = section_frame(s, page, &run);
        uint8_t bytes[PAGE_BYTES];

        assert_int_equal(run, 5 - page);
        assert_false(fake_direct_has(frame));
        assert_true(fake_window_is_flushed(frame));
        get_bytes(s, page * PAGE_BYTES, bytes, sizeof(bytes));
        for (unsigned i = 0; i < sizeof(bytes); i++)
            assert_int_equal(bytes[i], 0);
    }
    expect_assert_failure(section_frame(s, 5, &run));
    unref(s);
    close_handle(h);
}

static void reused_frames_hold_nothing_old(void **state)
{
    static const char secret[] = "guest data";
    hv_handle_t h = make(MIB(1), 0);
    struct section *s = ref(h);
    char bytes[sizeof(secret)];
    uint64_t run;
    hpa_t frame = section_frame(s, 0, &run);

    (void)state;
    put_bytes(s, 0, secret, sizeof(secret));
    get_bytes(s, 0, bytes, sizeof(bytes));
    assert_memory_equal(bytes, secret, sizeof(secret));
    unref(s);
    close_handle(h);

    h = make(MIB(1), 0);
    s = ref(h);
    assert_int_equal(section_frame(s, 0, &run).v, frame.v);
    get_bytes(s, 0, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 0);
    unref(s);
    close_handle(h);
}

static void extents_of_fragmented_memory(void **state)
{
    hpa_t all;
    uint64_t pages, run;
    hv_handle_t h;
    struct section *s;

    (void)state;
    fragment(&all, &pages, false);
    /* 1032 frames are free, in five runs. */
    assert_int_equal(create(&h, 1033 * PAGE_BYTES, 0), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(create(&h, MIB(6), HV_SEC_LARGE_PAGES), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(create(&h, 513 * PAGE_BYTES + MIB(1), HV_SEC_CONTIGUOUS),
                     HV_E_COMMITMENT_LIMIT);
    assert_int_equal(create(&h, 1032 * PAGE_BYTES, 0),
                     HV_E_COMMITMENT_LIMIT); /* records took some */
    h = make(1026 * PAGE_BYTES, 0);
    s = ref(h);
    assert_int_equal(section_frame(s, 0, &run).v % MIB(2), 0);
    assert_int_equal(run, 512);
    assert_int_equal(section_frame(s, 512, &run).v % MIB(2), 0);
    assert_true(run >= 512);
    unref(s);
    close_handle(h);
    section_trim();

    h = make(MIB(4), HV_SEC_LARGE_PAGES);
    s = ref(h);
    for (uint64_t page = 0; page < 1024; page += 512) {
        assert_int_equal(section_frame(s, page, &run).v % MIB(2), 0);
        assert_int_equal(run, 512);
        assert_int_equal(section_frame(s, page + 100, &run).v % MIB(2), 100 * PAGE_BYTES);
        assert_int_equal(run, 412);
    }
    unref(s);
    close_handle(h);
    h = make(517 * PAGE_BYTES, HV_SEC_CONTIGUOUS);
    s = ref(h);
    assert_int_equal(section_frame(s, 0, &run).v, RAM_BASE + 2048 * PAGE_BYTES);
    assert_int_equal(run, 517);
    unref(s);
    close_handle(h);
    section_trim();
    fragment(&all, &pages, true);
}

/* 1000 free frames in a row with no aligned 2 MiB among them. */
static void memory_without_an_aligned_2_mib(void **state)
{
    static hpa_t taken[RAM_PAGES];
    const hpa_t hole = HPA(RAM_BASE + MIB(2) + PAGE_BYTES);
    const uint64_t hole_pages = 1000;
    unsigned count = 0;
    uint64_t run;
    hv_handle_t h;
    struct section *s;

    (void)state;
    close_handle(make(1, 0)); /* the pages of records are there now, and lie elsewhere */
    while (frames_alloc(&hv_frames, 1, 1, &taken[count]) == HV_OK)
        count++;
    frames_free(&hv_frames, hole, hole_pages);
    assert_int_equal(create(&h, MIB(2), HV_SEC_LARGE_PAGES), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(hv_frames.free_pages, hole_pages);
    h = make(900 * PAGE_BYTES, 0);
    s = ref(h);
    assert_int_equal(section_frame(s, 0, &run).v, hole.v);
    assert_int_equal(run, 900); /* two extents were taken; neighbours are one */
    unref(s);
    close_handle(h);
    while (count-- != 0) {
        if (taken[count].v - hole.v >= hole_pages * PAGE_BYTES)
            frames_free(&hv_frames, taken[count], 1);
    }
}

static void contiguous_is_one_run_at_2_mib(void **state)
{
    hv_handle_t small = make(PAGE_BYTES, 0);
    hv_handle_t h = make(MIB(2) + PAGE_BYTES, HV_SEC_CONTIGUOUS);
    struct section *s = ref(h);
    uint64_t run;

    (void)state;
    assert_int_equal(section_frame(s, 0, &run).v % MIB(2), 0);
    assert_int_equal(run, 513);
    unref(s);
    close_handle(h);
    close_handle(small);
}

/* ---- default types ---- */

static void default_types(void **state)
{
    hv_handle_t h = make(1, 0);

    (void)state;
    assert_int_equal(query(h).default_type, MEMTYPE_WB);
    close_handle(h);
    h = make(1, HV_SEC_NOCACHE);
    assert_int_equal(query(h).default_type, MEMTYPE_UC);
    close_handle(h);
    h = make(1, HV_SEC_WRITECOMBINE);
    assert_int_equal(query(h).default_type, MEMTYPE_WC);
    assert_int_equal(query(h).attributes, HV_SEC_COMMIT | HV_SEC_WRITECOMBINE);
    close_handle(h);
    assert_int_equal(create_backed(&h, 0, 0, physical(DEVICE, PAGE_BYTES)), HV_OK);
    assert_int_equal(query(h).default_type, MEMTYPE_UC);
    close_handle(h);
    assert_int_equal(create_backed(&h, 0, HV_SEC_WRITECOMBINE, physical(DEVICE, PAGE_BYTES)),
                     HV_OK);
    assert_int_equal(query(h).default_type, MEMTYPE_WC);
    close_handle(h);
    assert_int_equal(create_backed(&h, 0, 0, module(MODULE)), HV_OK);
    assert_int_equal(query(h).default_type, MEMTYPE_WB);
    close_handle(h);
}

/* ---- physical windows and modules ---- */

static void physical_window_is_never_touched(void **state)
{
    struct fake_window before = fake_window;
    uint64_t run;
    hv_handle_t h;
    struct section *s;

    (void)state;
    memset(direct(HPA(DEVICE)), 0x77, PAGE_BYTES);
    assert_int_equal(create_backed(&h, 0, 0, physical(DEVICE, MIB(4))), HV_OK);
    s = ref(h);
    assert_false(section_is_ram(s));
    assert_int_equal(section_pages(s), 1024);
    assert_int_equal(section_frame(s, 3, &run).v, DEVICE + 3 * PAGE_BYTES);
    assert_int_equal(run, 1021);
    unref(s);
    close_handle(h);
    assert_memory_equal(&before, &fake_window, sizeof(before));
    assert_int_equal(*(uint8_t *)direct(HPA(DEVICE)), 0x77);
    /* A part of it, and its bytes. */
    assert_int_equal(create_backed(&h, PAGE_BYTES + 1, 0, physical(DEVICE, MIB(4))), HV_OK);
    s = ref(h);
    assert_int_equal(section_pages(s), 2);
    put_bytes(s, 8, "12345678", 8);
    assert_int_equal(fake_window.last_type, MEMTYPE_UC);
    assert_int_equal(fake_window.last_at.v, DEVICE + 8);
    assert_int_equal(fake_window.last_bytes, 8);
    assert_int_equal(fake_window.flushed_pages, before.flushed_pages);
    unref(s);
    close_handle(h);
}

static void two_sections_over_one_module(void **state)
{
    hv_handle_t a, b;
    struct section *sa, *sb;
    uint8_t bytes[3 * PAGE_BYTES];
    uint64_t run;

    (void)state;
    assert_true(fake_direct_has(HPA(MODULE_BASE)));
    assert_int_equal(create_backed(&a, 0, 0, module(MODULE)), HV_OK);
    assert_int_equal(create_backed(&b, PAGE_BYTES, HV_SEC_WRITECOMBINE, module(MODULE)), HV_OK);
    assert_int_equal(query(a).bytes, 3 * PAGE_BYTES);
    assert_int_equal(query(b).bytes, PAGE_BYTES);
    assert_int_equal(fake_window.removed_pages, 3);
    assert_true(fake_window_is_flushed(HPA(MODULE_BASE)));
    sa = ref(a);
    sb = ref(b);
    assert_int_equal(section_frame(sa, 1, &run).v, MODULE_BASE + PAGE_BYTES);
    assert_int_equal(run, 2);
    get_bytes(sa, 0, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], i < MODULE_BYTES ? 0xee : 0); /* the tail of the page is zero */
    put_bytes(sb, 5, "x", 1);
    get_bytes(sa, 5, bytes, 1);
    assert_int_equal(bytes[0], 'x');
    put_bytes(sb, 5, "\xee", 1);
    close_handle(a);
    unref(sa);
    assert_false(fake_direct_has(HPA(MODULE_BASE)));
    unref(sb);
    close_handle(b);
    assert_true(fake_direct_has(HPA(MODULE_BASE)));
    assert_int_equal(create_backed(&a, 0, HV_SEC_LARGE_PAGES, module(LARGE_MODULE)), HV_OK);
    close_handle(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_names_the_illegal_argument),
        TEST(create_checks_the_backing),
        TEST(legal_protections_and_ends_of_limits),
        TEST(open_if_makes_or_opens),
        TEST(a_name_is_taken_meanwhile),
        TEST(anonymous_frames_are_zeroed_hidden_and_flushed),
        TEST(reused_frames_hold_nothing_old),
        TEST(extents_of_fragmented_memory),
        TEST(memory_without_an_aligned_2_mib),
        TEST(contiguous_is_one_run_at_2_mib),
        TEST(default_types),
        TEST(physical_window_is_never_touched),
        TEST(two_sections_over_one_module),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
