#include "tests/unit/view_kit.h"

#include <string.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"
#include "tests/fake/space.h"
#include "tests/fake/window.h"

static hv_handle_t make_protected(uint32_t access, uint32_t protect)
{
    hv_handle_t h;

    assert_int_equal(hv_section_create(&h, access, NULL, MIB(1), protect, HV_SEC_COMMIT, NULL),
                     HV_OK);
    return h;
}

static hv_status_t unmap_try(uint64_t address)
{
    return hv_section_unmap_view(HV_SPACE_HYPERVISOR, (void *)(uintptr_t)address);
}

/* ---- the checks, by name ---- */

struct bad_map {
    hv_status_t want;
    struct map_call call;
    uint32_t inherit; /* 0: HV_VIEW_SHARE */
};

static void expect(const struct bad_map *bad, unsigned count, hv_handle_t section)
{
    for (unsigned i = 0; i < count; i++) {
        struct map_call call = bad[i].call;
        void *base = (void *)(uintptr_t)call.base;
        struct view_state before = view_state();
        hv_status_t got = hv_section_map_view(section, HV_SPACE_HYPERVISOR, &base, call.zero_bits,
                                              call.commit_bytes, &call.offset, &call.bytes,
                                              bad[i].inherit != 0 ? bad[i].inherit : HV_VIEW_SHARE,
                                              call.allocation, call.protect);

        if (got != bad[i].want)
            print_error("line %u: %s\n", i, hv_status_name(got));
        assert_int_equal(got, bad[i].want);
        assert_int_equal((uintptr_t)base, bad[i].call.base);
        assert_int_equal(call.offset, bad[i].call.offset);
        assert_int_equal(call.bytes, bad[i].call.bytes);
        assert_same(before);
    }
}

static void map_checks_handle_space_and_pointers_first(void **state)
{
    hv_handle_t section = make(MIB(1), 0), event;
    uint64_t offset = 5, bytes = ~0ull;
    void *base = (void *)5;

    (void)state;
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event), HV_OK);
#define MAP(h, s, b, n) hv_section_map_view(h, s, b, 21, 1, &offset, n, 0, ~0u, 0)
    assert_int_equal(MAP(section, section, NULL, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(MAP(section, 0, &base, &bytes), HV_E_INVALID_HANDLE);
    assert_int_equal(MAP(event, 0, NULL, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(MAP(0, HV_SPACE_HYPERVISOR, NULL, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(MAP(event, HV_SPACE_HYPERVISOR, NULL, NULL), HV_E_OBJECT_TYPE);
    assert_int_equal(MAP(section, HV_SPACE_HYPERVISOR, NULL, NULL), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(MAP(section, HV_SPACE_HYPERVISOR, &base, NULL), HV_E_INVALID_PARAMETER_7);
    assert_int_equal(MAP(section, HV_SPACE_HYPERVISOR, &base, &bytes), HV_E_INVALID_PARAMETER_4);
#undef MAP
    assert_int_equal(query(section).views, 0);
    close_handle(event);
    close_handle(section);
}

static void map_names_the_illegal_argument(void **state)
{
    const uint32_t rw = HV_PAGE_READWRITE, both = HV_PAGE_NOCACHE | HV_PAGE_WRITECOMBINE;
    const struct bad_map bad[] = {
        {HV_E_INVALID_PARAMETER_4, {.zero_bits = 21, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_4, {.zero_bits = 1, .base = MIB(2048), .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_4, {.zero_bits = 12, .base = MIB(1) + 1, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_4, {.zero_bits = 4, .base = VIEW_BASE, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_8, {.protect = rw}, 3},
        {HV_E_INVALID_PARAMETER_9, {.allocation = HV_VIEW_COMMIT, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_9, {.allocation = HV_VIEW_RESERVE, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_9, {.allocation = 0x8, .protect = rw}, 0},
        {HV_E_INVALID_PROTECTION, {.protect = 0}, 0},
        {HV_E_INVALID_PROTECTION, {.protect = rw | HV_PAGE_READONLY}, 0},
        {HV_E_INVALID_PROTECTION, {.protect = rw | 0x100}, 0},
        {HV_E_INVALID_PROTECTION, {.protect = rw | both}, 0},
        {HV_E_NOT_SUPPORTED, {.protect = HV_PAGE_WRITECOPY}, 0},
        {HV_E_NOT_SUPPORTED, {.protect = HV_PAGE_EXECUTE_WRITECOPY}, 0},
        {HV_E_NOT_SUPPORTED, {.protect = HV_PAGE_EXECUTE_READWRITE}, 0},
        {HV_E_SECTION_PROTECTION, {.protect = HV_PAGE_EXECUTE_READ}, 0},
        {HV_E_SECTION_PROTECTION, {.protect = HV_PAGE_EXECUTE}, 0},
        {HV_E_INVALID_PARAMETER_3, {.bytes = VIEW_BYTES + 1, .protect = rw}, 0},
        {HV_E_MAPPED_ALIGNMENT, {.base = VIEW_BASE + PAGE_BYTES, .protect = rw}, 0},
        {HV_E_MAPPED_ALIGNMENT, {.offset = PAGE_BYTES, .protect = rw}, 0},
        {HV_E_MAPPED_ALIGNMENT,
         {.offset = 1, .allocation = HV_VIEW_PAGE_GRANULAR, .protect = rw},
         0},
        {HV_E_INVALID_PARAMETER_6, {.offset = MIB(1), .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_6, {.offset = ~0xffffull, .bytes = 1, .protect = rw}, 0},
        {HV_E_INVALID_VIEW_SIZE, {.bytes = MIB(1) + 1, .protect = rw}, 0},
        {HV_E_INVALID_VIEW_SIZE, {.offset = KIB(960), .bytes = KIB(64) + 1, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_5, {.commit_bytes = MIB(1) + 1, .protect = rw}, 0},
        {HV_E_INVALID_PARAMETER_5, {.commit_bytes = 8193, .bytes = 8192, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = VIEW_BASE - AREA_BLOCK, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = VIEW_BASE + VIEW_BYTES, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES,
         {.base = VIEW_BASE + VIEW_BYTES - AREA_BLOCK, .protect = rw},
         0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = ~0xffffull, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = GIB(4ull), .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = GIB(4ull) - AREA_BLOCK, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = FAKE_IMAGE_START, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {.base = FAKE_IMAGE_START - AREA_BLOCK, .protect = rw}, 0},
        {HV_E_CONFLICTING_ADDRESSES,
         {.base = FAKE_IMAGE_END - PAGE_BYTES,
          .bytes = PAGE_BYTES,
          .allocation = HV_VIEW_PAGE_GRANULAR,
          .protect = rw},
         0},
        {HV_E_NO_MEMORY, {.zero_bits = 20, .protect = rw}, 0},
        {HV_E_NO_MEMORY, {.zero_bits = 16, .protect = rw}, 0},
    };
    hv_handle_t section = make(MIB(1), 0);

    (void)state;
    expect(bad, ARRAY_COUNT(bad), section);
    close_handle(section);
}

/* Each line is the one before with one fault repaired. */
static void the_first_failing_check_decides(void **state)
{
    const uint32_t rw = HV_PAGE_READWRITE, wc = rw | HV_PAGE_WRITECOMBINE;
    const uint64_t bad_base = MIB(2048) + 1, far = ~0ull;
    const struct bad_map bad[] = {
        {HV_E_INVALID_PARAMETER_4, {0, bad_base, 1, far, 1, far, ~0u, ~0u}, 7},
        {HV_E_INVALID_PARAMETER_8, {0, bad_base, 0, far, 1, far, ~0u, ~0u}, 7},
        {HV_E_INVALID_PARAMETER_9, {0, bad_base, 0, far, 1, far, ~0u, ~0u}, 0},
        {HV_E_INVALID_PROTECTION, {0, bad_base, 0, far, 1, far, 0, ~0u}, 0},
        {HV_E_NOT_SUPPORTED, {0, bad_base, 0, far, 1, far, 0, HV_PAGE_EXECUTE_READWRITE}, 0},
        {HV_E_SECTION_PROTECTION, {0, bad_base, 0, far, 1, far, 0, HV_PAGE_EXECUTE}, 0},
        {HV_E_INVALID_PARAMETER_3, {0, bad_base, 0, far, 1, far, 0, wc}, 0},
        {HV_E_MAPPED_ALIGNMENT, {0, bad_base, 0, far, MIB(2), MIB(4), 0, wc}, 0},
        {HV_E_MAPPED_ALIGNMENT, {0, MIB(2048), 0, far, MIB(2) + 1, MIB(4), 0, wc}, 0},
        {HV_E_INVALID_PARAMETER_6, {0, GIB(4), 0, far, MIB(2), MIB(4), 0, wc}, 0},
        {HV_E_INVALID_VIEW_SIZE, {0, GIB(4), 0, far, 0, MIB(4), 0, wc}, 0},
        {HV_E_INVALID_PARAMETER_5, {0, GIB(4), 0, far, 0, MIB(1), 0, wc}, 0},
        {HV_E_CONFLICTING_ADDRESSES, {0, GIB(4), 0, 0, 0, MIB(1), 0, wc}, 0},
        {HV_E_CACHE_CONFLICT, {0, MIB(1), 0, 0, 0, MIB(1), 0, wc}, 0},
    };
    const struct bad_map no_room[] = {
        {HV_E_CACHE_CONFLICT, {0, 0, 20, 0, 0, MIB(1), 0, wc}, 0},
        {HV_E_NO_MEMORY, {0, 0, 20, 0, 0, MIB(1), 0, rw}, 0},
    };
    hv_handle_t section = make(MIB(1), 0);
    struct map_call other = whole(section);

    (void)state;
    map_ok(&other); /* write-back from here on */
    expect(bad, ARRAY_COUNT(bad), section);
    expect(no_room, ARRAY_COUNT(no_room), section);
    unmap_ok(other.base);
    close_handle(section);
}

static void rights_of_handle_and_section(void **state)
{
    const uint32_t read = HV_SECTION_MAP_READ, write = HV_SECTION_MAP_WRITE;
    const uint32_t exec = HV_SECTION_MAP_EXECUTE, rwx = HV_PAGE_EXECUTE_READWRITE;
    const struct {
        uint32_t access, section, protect;
        hv_status_t want;
    } cases[] = {
        {HV_SECTION_QUERY, HV_PAGE_READWRITE, HV_PAGE_NOACCESS, HV_E_ACCESS_DENIED},
        {write | exec, rwx, HV_PAGE_READONLY, HV_E_ACCESS_DENIED},
        {read, HV_PAGE_READONLY, HV_PAGE_NOACCESS, HV_OK},
        {read, HV_PAGE_READONLY, HV_PAGE_READONLY, HV_OK},
        {read, HV_PAGE_READONLY, HV_PAGE_READWRITE, HV_E_SECTION_PROTECTION}, /* not the handle */
        {read, HV_PAGE_READWRITE, HV_PAGE_READWRITE, HV_E_ACCESS_DENIED},
        {read | write, HV_PAGE_READWRITE, HV_PAGE_READWRITE, HV_OK},
        {read | exec, HV_PAGE_READWRITE, HV_PAGE_EXECUTE, HV_E_SECTION_PROTECTION},
        {read, HV_PAGE_EXECUTE_READ, HV_PAGE_EXECUTE_READ, HV_E_ACCESS_DENIED},
        {read | exec, HV_PAGE_EXECUTE_READ, HV_PAGE_EXECUTE_READ, HV_OK},
        {read | exec, HV_PAGE_EXECUTE_READ, HV_PAGE_EXECUTE, HV_OK},
        {read | write | exec, HV_PAGE_EXECUTE_READ, HV_PAGE_READWRITE, HV_E_SECTION_PROTECTION},
        {read | write | exec, rwx, rwx, HV_E_NOT_SUPPORTED},
        {read | write | exec, rwx, HV_PAGE_READWRITE, HV_OK},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        hv_handle_t section = make_protected(cases[i].access, cases[i].section);
        struct map_call call = {.section = section, .protect = cases[i].protect};
        hv_status_t got = map_try(&call);

        if (got != cases[i].want)
            print_error("case %u: %s\n", i, hv_status_name(got));
        assert_int_equal(got, cases[i].want);
        if (got == HV_OK)
            unmap_ok(call.base);
        close_handle(section);
    }
}

/* ---- what a view is ---- */

static void leaves_have_the_rights_and_are_never_writable_and_executable(void **state)
{
    const struct {
        uint32_t protect;
        uint8_t rights;
    } cases[] = {
        {HV_PAGE_READONLY, PT_R},
        {HV_PAGE_READWRITE, PT_R | PT_W},
        {HV_PAGE_EXECUTE, PT_R | PT_X},
        {HV_PAGE_EXECUTE_READ, PT_R | PT_X},
    };
    hv_handle_t section = make_protected(ALL, HV_PAGE_EXECUTE_READWRITE);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct map_call call = {.section = section, .protect = cases[i].protect};
        uint64_t base = map_ok(&call);

        for (uint64_t page = 0; page < 256; page++) {
            struct pt_leaf leaf = leaf_at(base + page * PAGE_BYTES);

            assert_int_equal(leaf.attr.rights, cases[i].rights);
            assert_int_equal(leaf.attr.memtype, MEMTYPE_WB);
            assert_int_equal(leaf.frame.v, frame_of_page(section, page).v);
        }
        assert_false(is_mapped(base + MIB(1)));
        unmap_ok(base);
        assert_false(is_mapped(base));
    }
    close_handle(section);
}

static void outputs_say_what_was_mapped(void **state)
{
    hv_handle_t section = make(MIB(1), 0);
    struct map_call call = whole(section), page = whole(section), tail = whole(section);
    uint64_t bytes = 1;
    void *base = NULL;

    (void)state;
    map_ok(&call);
    assert_int_equal(call.base, VIEW_BASE);
    assert_int_equal(call.offset, 0);
    assert_int_equal(call.bytes, MIB(1));
    page.bytes = 1;
    page.offset = KIB(64);
    map_ok(&page);
    assert_int_equal(page.base, VIEW_BASE + MIB(1));
    assert_int_equal(page.offset, KIB(64));
    assert_int_equal(page.bytes, PAGE_BYTES);
    assert_int_equal(leaf_at(page.base).frame.v, frame_of_page(section, 16).v);
    assert_false(is_mapped(page.base + PAGE_BYTES));
    tail.offset = KIB(960);
    map_ok(&tail);
    assert_int_equal(tail.base, VIEW_BASE + MIB(1) + KIB(64));
    assert_int_equal(tail.bytes, KIB(64));
    assert_int_equal(hv_section_map_view(section, HV_SPACE_HYPERVISOR, &base, 0, 0, NULL, &bytes,
                                         HV_VIEW_UNMAP, 0, HV_PAGE_READONLY),
                     HV_OK);
    assert_int_equal(bytes, PAGE_BYTES);
    assert_int_equal(leaf_at((uintptr_t)base).frame.v, frame_of_page(section, 0).v);
    assert_int_equal(query(section).views, 4);
    unmap_ok((uintptr_t)base);
    unmap_ok(call.base);
    unmap_ok(page.base);
    unmap_ok(tail.base);
    assert_int_equal(query(section).views, 0);
    close_handle(section);
}

static void two_views_name_the_same_frames(void **state)
{
    hv_handle_t section = make(MIB(1), 0);
    struct map_call one = whole(section), two = whole(section);

    (void)state;
    two.protect = HV_PAGE_READONLY;
    two.offset = KIB(128);
    map_ok(&one);
    map_ok(&two);
    for (uint64_t at = 0; at < two.bytes; at += PAGE_BYTES)
        assert_int_equal(leaf_at(one.base + KIB(128) + at).frame.v, leaf_at(two.base + at).frame.v);
    unmap_ok(one.base);
    assert_true(is_mapped(two.base));
    unmap_ok(two.base);
    close_handle(section);
}

static void any_address_inside_unmaps_the_whole_view(void **state)
{
    hv_handle_t section = make(MIB(1), 0);
    struct map_call one = whole(section), two = whole(section);

    (void)state;
    two.bytes = 3 * PAGE_BYTES;
    map_ok(&one);
    map_ok(&two);
    assert_int_equal(unmap_try(two.base + 3 * PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(unmap_try(VIEW_BASE - 1), HV_E_NOT_MAPPED);
    assert_int_equal(unmap_try(FAKE_IMAGE_START), HV_E_NOT_MAPPED);
    assert_int_equal(unmap_try(0), HV_E_NOT_MAPPED);
    assert_int_equal(hv_section_unmap_view(section, (void *)(uintptr_t)one.base),
                     HV_E_INVALID_HANDLE);
    unmap_ok(two.base + 2 * PAGE_BYTES + 123);
    assert_false(is_mapped(two.base));
    assert_int_equal(unmap_try(two.base), HV_E_NOT_MAPPED);
    unmap_ok(one.base + MIB(1) - 1);
    assert_int_equal(unmap_try(one.base), HV_E_NOT_MAPPED);
    close_handle(section);
}

static void a_view_keeps_the_section_after_its_last_handle(void **state)
{
    hv_handle_t section = make_named("kept");
    struct map_call call = whole(section);

    (void)state;
    map_ok(&call);
    close_handle(section);
    assert_int_equal(section_live_count(), 1);
    assert_true(is_mapped(call.base));
    unmap_ok(call.base);
    assert_int_equal(section_live_count(), 0);
}

static void no_access_maps_nothing_and_fixes_no_type(void **state)
{
    hv_handle_t section = make(MIB(1), 0);
    struct map_call none = whole(section), wc = whole(section);

    (void)state;
    none.protect = HV_PAGE_NOACCESS;
    wc.protect = HV_PAGE_READWRITE | HV_PAGE_WRITECOMBINE;
    map_ok(&none);
    assert_false(is_mapped(none.base));
    map_ok(&wc);
    assert_int_not_equal(wc.base, none.base);
    assert_int_equal(query(section).views, 2);
    unmap_ok(none.base + 5);
    unmap_ok(wc.base);
    close_handle(section);
}

/* ---- TLB ---- */

static void after_an_unmap_no_stale_translation_is_left(void **state)
{
    hv_handle_t section = make(MIB(4), 0);
    struct map_call call = whole(section);

    (void)state;
    for (uint64_t bytes = PAGE_BYTES; bytes <= MIB(4); bytes *= 4) {
        call = whole(section);
        call.bytes = bytes;
        map_ok(&call);
        assert_true(fake_space_touch(call.base));
        assert_true(fake_space_touch(call.base + bytes / 2));
        assert_true(fake_space_touch(call.base + bytes - 1));
        unmap_ok(call.base);
        assert_false(fake_space_touch(call.base));
        assert_false(fake_space_touch(call.base + bytes / 2));
        assert_false(fake_space_touch(call.base + bytes - 1));
    }
    close_handle(section);
}

static void mapping_into_emptiness_flushes_nothing(void **state)
{
    hv_handle_t section = make(MIB(4), 0);
    struct map_call call = whole(section);
    uint64_t before = fake_space.flushes;

    (void)state;
    map_ok(&call);
    assert_int_equal(fake_space.flushes, before);
    unmap_ok(call.base);
    assert_int_equal(fake_space.flushes, before + 1);
    close_handle(section);
}

/* ---- types ---- */

static void modifiers_choose_the_type_and_conflicts_are_refused(void **state)
{
    const uint32_t rw = HV_PAGE_READWRITE;
    const struct {
        uint32_t modifier;
        enum memtype want;
    } cases[] = {
        {0, MEMTYPE_WB}, {HV_PAGE_NOCACHE, MEMTYPE_UC}, {HV_PAGE_WRITECOMBINE, MEMTYPE_WC}};
    hv_handle_t section = make(MIB(1), 0);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct map_call call = whole(section), again, open;
        uint64_t flushed = fake_window.flushed_pages;

        call.protect = rw | cases[i].modifier;
        again = open = call;
        open.protect = HV_PAGE_READONLY;
        map_ok(&call);
        assert_int_equal(fake_window.flushed_pages - flushed, i == 0 ? 0 : 256);
        assert_int_equal(leaf_at(call.base).attr.memtype, cases[i].want); /* never UC- */
        for (unsigned j = 1; j < 3; j++) {
            struct map_call other = whole(section);

            other.protect = rw | cases[j].modifier;
            if (j != i)
                assert_int_equal(map_try(&other), HV_E_CACHE_CONFLICT);
        }
        map_ok(&again);
        map_ok(&open); /* the type in force */
        assert_int_equal(leaf_at(open.base).attr.memtype, cases[i].want);
        assert_int_equal(fake_window.flushed_pages - flushed, i == 0 ? 0 : 256);
        unmap_ok(call.base);
        unmap_ok(again.base);
        unmap_ok(open.base);
    }
    close_handle(section);
}

static void the_default_type_is_the_sections(void **state)
{
    hv_handle_t uc = make(MIB(1), HV_SEC_NOCACHE), wc = make(MIB(1), HV_SEC_WRITECOMBINE), device;
    struct map_call a = whole(uc), b = whole(wc), c;

    (void)state;
    assert_int_equal(create_backed(&device, 0, 0, physical(DEVICE, MIB(2))), HV_OK);
    c = whole(device);
    map_ok(&a);
    map_ok(&b);
    map_ok(&c);
    assert_int_equal(leaf_at(a.base).attr.memtype, MEMTYPE_UC);
    assert_int_equal(leaf_at(b.base).attr.memtype, MEMTYPE_WC);
    assert_int_equal(leaf_at(c.base).attr.memtype, MEMTYPE_UC);
    assert_int_equal(leaf_at(c.base).frame.v, DEVICE);
    unmap_ok(a.base);
    unmap_ok(b.base);
    unmap_ok(c.base);
    close_handle(uc);
    close_handle(wc);
    close_handle(device);
}

/* ---- leaves and tables ---- */

static void leaves_are_as_large_as_addresses_and_frames_allow(void **state)
{
    hv_handle_t section = make(MIB(6), HV_SEC_LARGE_PAGES);
    struct map_call call = whole(section), small = whole(section), odd = whole(section);

    (void)state;
    map_ok(&call); /* that long: on 2 MiB without being asked */
    assert_true(IS_ALIGNED(call.base, MIB(2)));
    assert_int_equal(hv_space.root.leaves[2], 3);
    assert_int_equal(hv_space.root.leaves[1], 0);
    odd.base = call.base + MIB(6) + KIB(64);
    map_ok(&odd);
    assert_int_equal(hv_space.root.leaves[2], 3);
    assert_int_equal(hv_space.root.leaves[1], 3 * 512);
    unmap_ok(odd.base);
    small.bytes = PAGE_BYTES;
    small.allocation = HV_VIEW_LARGE_PAGES;
    map_ok(&small);
    assert_int_equal(small.base, call.base + MIB(6));
    unmap_ok(call.base);
    unmap_ok(small.base);
    assert_int_equal(fake_space_tables(), 0);
    close_handle(section);
}

static void scattered_frames_make_one_view(void **state)
{
    hv_handle_t section;
    struct map_call call;
    hpa_t all;
    uint64_t pages;

    (void)state;
    fragment(&all, &pages, false);
    section = make((512 + 517 + 3) * PAGE_BYTES, 0);
    call = whole(section);
    map_ok(&call);
    for (uint64_t page = 0; page < 1032; page++)
        assert_int_equal(leaf_at(call.base + page * PAGE_BYTES).frame.v,
                         frame_of_page(section, page).v);
    assert_int_equal(hv_space.root.leaves[1] + hv_space.root.leaves[2] * 512, 1032);
    unmap_ok(call.base);
    call = whole(section);
    /* Three runs of a page: no more tables are promised than the pages together can take. */
    call.allocation = HV_VIEW_PAGE_GRANULAR;
    call.offset = 1029 * PAGE_BYTES;
    call.bytes = 3 * PAGE_BYTES;
    map_ok(&call);
    for (uint64_t page = 0; page < 3; page++)
        assert_int_equal(leaf_at(call.base + page * PAGE_BYTES).frame.v,
                         frame_of_page(section, 1029 + page).v);
    unmap_ok(call.base);
    close_handle(section);
    fragment(&all, &pages, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(map_checks_handle_space_and_pointers_first),
        VIEW_TEST(map_names_the_illegal_argument),
        VIEW_TEST(the_first_failing_check_decides),
        VIEW_TEST(rights_of_handle_and_section),
        VIEW_TEST(leaves_have_the_rights_and_are_never_writable_and_executable),
        VIEW_TEST(outputs_say_what_was_mapped),
        VIEW_TEST(two_views_name_the_same_frames),
        VIEW_TEST(any_address_inside_unmaps_the_whole_view),
        VIEW_TEST(a_view_keeps_the_section_after_its_last_handle),
        VIEW_TEST(no_access_maps_nothing_and_fixes_no_type),
        VIEW_TEST(after_an_unmap_no_stale_translation_is_left),
        VIEW_TEST(mapping_into_emptiness_flushes_nothing),
        VIEW_TEST(modifiers_choose_the_type_and_conflicts_are_refused),
        VIEW_TEST(the_default_type_is_the_sections),
        VIEW_TEST(leaves_are_as_large_as_addresses_and_frames_allow),
        VIEW_TEST(scattered_frames_make_one_view),
    };

    return cmocka_run_group_tests(tests, view_kit_group, NULL);
}
