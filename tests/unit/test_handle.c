#include "tests/unit/section_kit.h"

#include <stdio.h>

#include "hv/base/lock.h"
#include "tests/fake/window.h"

/* ---- names, handles, references ---- */

static void handle_table(void **state)
{
    enum { COUNT = 5000 };
    static hv_handle_t h[COUNT];
    hv_handle_t old;

    (void)state;
    assert_int_equal(hv_handle_close(0), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_handle_close(12345), HV_E_INVALID_HANDLE);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &h[i]), HV_OK);
        assert_int_not_equal(h[i], 0);
    }
    for (unsigned i = 0; i < COUNT; i += 2)
        close_handle(h[i]);
    for (unsigned i = 0; i < COUNT; i += 2)
        assert_int_equal(hv_handle_close(h[i]), HV_E_INVALID_HANDLE);
    for (unsigned i = 0; i < COUNT; i += 2) {
        old = h[i];
        assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &h[i]), HV_OK);
        assert_int_not_equal(h[i], old);
        assert_int_equal(hv_handle_close(old), HV_E_INVALID_HANDLE);
    }
    for (unsigned i = 0; i < COUNT; i++)
        close_handle(h[i]);
    /* One place in the table, over and over: never the same number. */
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &old), HV_OK);
    close_handle(old);
    for (unsigned i = 0; i < 200000; i++) {
        assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &h[0]), HV_OK);
        assert_int_not_equal(h[0], old);
        close_handle(h[0]);
    }
}

static void handle_table_is_full_at_last(void **state)
{
    enum { MOST = 20000 };
    static hv_handle_t h[MOST];
    hv_handle_t one_more = 77;
    unsigned count = 0;

    (void)state;
    while (count < MOST && hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &h[count]) == HV_OK)
        count++;
    assert_int_equal(count, 16384);
    assert_int_equal(create(&one_more, 1, 0), HV_E_NO_MEMORY);
    assert_int_equal(one_more, 77);
    assert_int_equal(fake_window.removed_pages, 0);
    close_handle(h[4711]);
    close_handle(make(1, 0));
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &h[4711]), HV_OK);
    while (count-- != 0)
        close_handle(h[count]);
}

static void open_by_name(void **state)
{
    hv_handle_t a = make_named("frame buffer");
    hv_handle_t b = 77;
    struct section *sa, *sb;

    (void)state;
    assert_int_equal(hv_section_open(NULL, 0, ""), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_section_open(&b, 0, ""), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_section_open(&b, 64, ""), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_section_open(&b, ALL, NULL), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_section_open(&b, ALL, ""), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_section_open(&b, ALL, NAME_63 "4"), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_section_open(&b, ALL, "frame buffe"), HV_E_NOT_FOUND);
    assert_int_equal(hv_section_open(&b, HV_SECTION_MAP_EXECUTE, "frame buffer"),
                     HV_E_ACCESS_DENIED);
    assert_int_equal(b, 77);
    assert_int_equal(hv_section_open(&b, HV_SECTION_MAP_READ | HV_SECTION_QUERY, "frame buffer"),
                     HV_OK);
    assert_int_not_equal(a, b);
    assert_int_equal(query(a).handles, 2);
    sa = ref(a);
    sb = ref(b);
    assert_ptr_equal(sa, sb);
    assert_string_equal(section_name(sa), "frame buffer");
    unref(sa);
    unref(sb);
    close_handle(a);
    assert_int_equal(query(b).handles, 1);
    assert_int_equal(
        hv_section_create(&a, ALL, "frame buffer", 1, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL),
        HV_E_ALREADY_EXISTS);
    close_handle(b);
    close_handle(make_named("frame buffer"));
}

static void name_goes_with_the_last_handle(void **state)
{
    hv_handle_t a = make_named("n");
    struct section *s = ref(a);
    hv_handle_t b;
    char byte = 0;

    (void)state;
    put_bytes(s, 0, "z", 1);
    close_handle(a);
    assert_int_equal(section_live_count(), 1);
    assert_int_equal(hv_section_open(&b, ALL, "n"), HV_E_NOT_FOUND);
    b = make_named("n"); /* a new object; the old one lives on */
    assert_int_equal(section_live_count(), 2);
    get_bytes(s, 0, &byte, 1);
    assert_int_equal(byte, 'z');
    unref(s);
    assert_int_equal(section_live_count(), 1);
    assert_int_equal(hv_section_open(&a, ALL & ~(uint32_t)HV_SECTION_MAP_EXECUTE, "n"), HV_OK);
    close_handle(a);
    close_handle(b);
}

static void many_names(void **state)
{
    enum { COUNT = 300 };
    hv_handle_t h[COUNT], found;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        h[i] = make_named(name);
    }
    for (unsigned i = 0; i < COUNT; i += 3)
        close_handle(h[i]);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        if (i % 3 == 0) {
            assert_int_equal(hv_section_open(&found, HV_SECTION_QUERY, name), HV_E_NOT_FOUND);
            continue;
        }
        assert_int_equal(hv_section_open(&found, HV_SECTION_QUERY, name), HV_OK);
        assert_string_equal(query(found).name, name);
        close_handle(found);
        close_handle(h[i]);
    }
}

static void references_are_counted_apart(void **state)
{
    hv_handle_t h = make(PAGE_BYTES, 0);
    struct section *range, *view;
    struct hv_section_info info;

    (void)state;
    assert_int_equal(section_ref(h, HV_SECTION_MAP_READ, SECTION_USER_RANGE, &range), HV_OK);
    assert_int_equal(section_ref(h, HV_SECTION_MAP_WRITE, SECTION_USER_VIEW, &view), HV_OK);
    assert_ptr_equal(range, view);
    section_ref_again(range, SECTION_USER_RANGE);
    info = query(h);
    assert_int_equal(info.handles, 1);
    assert_int_equal(info.ranges, 2);
    assert_int_equal(info.views, 1);
    section_unref(range, SECTION_USER_RANGE);
    close_handle(h);
    section_unref(view, SECTION_USER_VIEW);
    assert_int_equal(section_live_count(), 1);
    section_unref(range, SECTION_USER_RANGE);
    assert_int_equal(section_live_count(), 0);
}

static void ref_checks_in_order(void **state)
{
    hv_handle_t event, h, weak;
    struct section *s = NULL;
    struct hv_section_info info;

    (void)state;
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event), HV_OK);
    assert_int_equal(
        hv_section_create(&h, ALL, "r", PAGE_BYTES, HV_PAGE_READONLY, HV_SEC_COMMIT, NULL), HV_OK);
    assert_int_equal(hv_section_open(&weak, HV_SECTION_MAP_READ, "r"), HV_OK);
    assert_int_equal(section_ref(0, 4, SECTION_USER_RANGE, &s), HV_E_INVALID_HANDLE);
    assert_int_equal(section_ref(event, 4, SECTION_USER_RANGE, &s), HV_E_OBJECT_TYPE);
    assert_int_equal(
        section_ref(weak, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, SECTION_USER_RANGE, &s),
        HV_E_ACCESS_DENIED);
    assert_int_equal(
        section_ref(h, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, SECTION_USER_RANGE, &s),
        HV_E_SECTION_PROTECTION);
    assert_int_equal(section_ref(h, HV_SECTION_MAP_EXECUTE, SECTION_USER_RANGE, &s),
                     HV_E_SECTION_PROTECTION);
    assert_null(s);
    assert_int_equal(hv_section_query(0, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_section_query(event, NULL), HV_E_OBJECT_TYPE);
    assert_int_equal(hv_section_query(weak, &info), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_section_query(h, NULL), HV_E_INVALID_PARAMETER_2);
    close_handle(event);
    close_handle(h);
    assert_int_equal(hv_section_query(h, &info), HV_E_INVALID_HANDLE);
    close_handle(weak);
}

static void ids_are_unique(void **state)
{
    hv_handle_t a = make(1, 0), b = make(1, 0);
    struct section *sa = ref(a), *sb = ref(b);

    (void)state;
    assert_int_not_equal(section_id(sa), 0);
    assert_int_not_equal(section_id(sa), section_id(sb));
    assert_string_equal(section_name(sa), "");
    unref(sa);
    unref(sb);
    close_handle(a);
    close_handle(b);
}

static void unref_of_another_kind_asserts(void **state)
{
    hv_handle_t h = make(1, 0);
    struct section *s = ref(h);

    (void)state;
    expect_assert_failure(section_unref(s, SECTION_USER_VIEW));
    lock_release(&section_lock);
    unref(s);
    close_handle(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handle_table),
        TEST(handle_table_is_full_at_last),
        TEST(open_by_name),
        TEST(name_goes_with_the_last_handle),
        TEST(many_names),
        TEST(references_are_counted_apart),
        TEST(ref_checks_in_order),
        TEST(ids_are_unique),
        TEST(unref_of_another_kind_asserts),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
