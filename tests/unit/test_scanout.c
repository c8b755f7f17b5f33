/*
 * hv/pci/scanout.c: what is refused, when a picture is copied, whose it is, and that nothing is
 * left of it.
 */
#include "tests/unit/device_kit.h"

#include <string.h>

#include "hv/mem/section.h"
#include "hv/mem/view.h"

#define RIGHTS (HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE)
#define PAGES  8u

static struct probe *const probe = &world.probe[0];
static hv_handle_t section;

static void begin(void)
{
    probe_create(probe);
    assert_int_equal(hv_section_create(&section, RIGHTS, NULL, PAGES * PAGE_BYTES,
                                       HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL),
                     HV_OK);
}

static void end(void)
{
    assert_int_equal(hv_handle_close(section), HV_OK);
}

static void poke(uint64_t offset, uint32_t pixel)
{
    struct section *object;

    assert_int_equal(section_ref(section, HV_SECTION_MAP_WRITE, SECTION_USER_VIEW, &object), HV_OK);
    assert_int_equal(section_write(object, offset, &pixel, sizeof(pixel)), HV_OK);
    section_unref(object, SECTION_USER_VIEW);
}

static hv_status_t show(hv_handle_t handle, uint64_t offset, uint32_t width, uint32_t height,
                        uint32_t stride)
{
    const struct hv_scanout scanout = {handle, offset, width, height, stride};

    return hv_scanout_set(probe->device, &scanout);
}

static uint32_t views(void)
{
    struct hv_section_info info;

    assert_int_equal(hv_section_query(section, &info), HV_OK);
    return info.views;
}

static void refused(void **state)
{
    const uint32_t all = PAGES * PAGE_BYTES;
    hv_handle_t handle;

    (void)state;
    begin();
    assert_int_equal(hv_scanout_set(NULL, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_scanout_set((struct hv_device *)(void *)probe, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(show(section, 0, 0, 1, 4), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(section, 0, 1, 0, 4), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(section, 2, 1, 1, 4), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(section, 0, 1, 1, 6), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(section, 0, 2, 1, 4), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(section, 0, 0x40000001, 1, 4), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(show(0, 0, 1, 1, 4), HV_E_INVALID_HANDLE);
    assert_int_equal(show(section, all, 1, 1, 4), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, all - 4, 2, 1, 8), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, all - 4, 1, 2, 4), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, ~3ull, 1, 1, 4), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, ~3ull, 1, 2, 0xfffffffc), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, 0, 64, 0xffffffff, 0xfffffffc), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, 0, 64, PAGES * 16 + 1, 256), HV_E_INVALID_VIEW_SIZE);
    /* a last line need not have all of its stride */
    assert_int_equal(show(section, 0, 1, PAGES + 1, PAGE_BYTES), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(show(section, PAGE_BYTES - 4, 1, PAGES, PAGE_BYTES), HV_OK);
    assert_int_equal(fake_pictures, 1);
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK);

    assert_int_equal(hv_section_create(&handle, HV_SECTION_QUERY | HV_SECTION_MAP_WRITE, NULL,
                                       PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL),
                     HV_OK);
    assert_int_equal(show(handle, 0, 1, 1, 4), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_handle_close(handle), HV_OK);
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, NULL, NULL, &handle), HV_OK);
    assert_int_equal(show(handle, 0, 1, 1, 4), HV_E_OBJECT_TYPE);
    assert_int_equal(hv_handle_close(handle), HV_OK);
    assert_int_equal(fake_pictures, 2); /* the last of the one that was shown */
    assert_int_equal(views(), 0);
    end();
}

/* A page without a frame could not be read. */
static void uncommitted(void **state)
{
    hv_handle_t handle;

    (void)state;
    begin();
    assert_int_equal(hv_section_create(&handle, RIGHTS, NULL, PAGES * PAGE_BYTES, HV_PAGE_READWRITE,
                                       HV_SEC_RESERVE, NULL),
                     HV_OK);
    assert_int_equal(hv_section_commit(handle, 2, 2), HV_OK);
    assert_int_equal(show(handle, 0, 1, 1, 4), HV_E_NOT_MAPPED);
    assert_int_equal(show(handle, 2 * PAGE_BYTES, 64, 32, 256), HV_OK);
    assert_int_equal(show(handle, 2 * PAGE_BYTES + 4, 64, 32, 256), HV_E_NOT_MAPPED);
    assert_int_equal(show(handle, 2 * PAGE_BYTES - 4, 1, 1, 4), HV_E_NOT_MAPPED);
    assert_int_equal(fake_pictures, 1); /* a failure leaves what is shown */
    fake_alarm_go(fake_alarm_clock + SCANOUT_TICKS);
    assert_int_equal(fake_pictures, 2);
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK);
    assert_int_equal(hv_handle_close(handle), HV_OK);
    end();
}

static void times(void **state)
{
    uint64_t start;

    (void)state;
    begin();
    poke(4, 0x111111);
    assert_int_equal(show(section, 4, 10, 10, 64), HV_OK);
    assert_int_equal(fake_pictures, 1);
    assert_int_equal(fake_picture_first, 0x111111);
    assert_int_equal(fake_picture_stride, 64);
    poke(4, 0x222222);
    start = fake_alarm_clock;
    fake_alarm_go(start + SCANOUT_TICKS - 1);
    assert_int_equal(fake_pictures, 1);
    fake_alarm_go(start + SCANOUT_TICKS);
    assert_int_equal(fake_pictures, 2);
    assert_int_equal(fake_picture_first, 0x222222);
    fake_alarm_go(start + 10 * SCANOUT_TICKS);
    assert_int_equal(fake_pictures, 11);
    poke(4, 0x333333);
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK);
    assert_int_equal(fake_pictures, 12); /* the last state */
    assert_int_equal(fake_picture_first, 0x333333);
    assert_false(alarm_wait()); /* nothing rings any more */
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK);
    assert_int_equal(fake_pictures, 12);
    end();
}

static void no_screen(void **state)
{
    (void)state;
    begin();
    fake_screen = false;
    assert_int_equal(show(section, 0, 10, 10, 64), HV_OK);
    assert_false(alarm_wait());
    assert_int_equal(views(), 1);
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK);
    assert_int_equal(fake_pictures, 0);
    assert_int_equal(views(), 0);
    end();
}

/* The picture keeps the section, and the last to ask is the one that is shown. */
static void lifetimes(void **state)
{
    const struct hv_scanout theirs = {0, 0, 5, 5, 64};
    struct hv_scanout other;
    uint64_t sections;

    (void)state;
    begin();
    probe_create(&world.probe[1]);
    sections = section_live_count();
    assert_int_equal(show(section, 0, 10, 10, 64), HV_OK);
    assert_int_equal(show(section, 64, 11, 10, 64), HV_OK);
    assert_int_equal(views(), 1);
    other = theirs;
    other.section = section;
    assert_int_equal(hv_scanout_set(world.probe[1].device, &other), HV_OK);
    assert_int_equal(views(), 1);
    assert_int_equal(fake_picture_width, 5);
    assert_int_equal(hv_scanout_set(probe->device, NULL), HV_OK); /* not its any more */
    assert_int_equal(views(), 1);
    end();
    assert_int_equal(section_live_count(), sections);
    fake_alarm_go(fake_alarm_clock + SCANOUT_TICKS);
    assert_int_equal(fake_picture_width, 5);
    assert_int_equal(hv_scanout_set(world.probe[1].device, NULL), HV_OK);
    assert_int_equal(section_live_count(), sections - 1);
}

static void set_in_teardown(struct probe *torn)
{
    const struct hv_scanout scanout = {section, 0, 5, 5, 64};

    assert_int_equal(hv_scanout_set(torn->device, &scanout), HV_E_INVALID_STATE);
}

static void clear_in_teardown(struct probe *torn)
{
    set_in_teardown(torn);
    assert_int_equal(hv_scanout_set(torn->device, NULL), HV_OK);
}

static void teardown(void **state)
{
    (void)state;
    begin();
    assert_int_equal(show(section, 0, 10, 10, 64), HV_OK);
    probe->in_teardown = clear_in_teardown;
    fake_log_lines = 0;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(fake_log_lines, 0);
    assert_int_equal(views(), 0);

    probe->in_teardown = set_in_teardown;
    probe_create(probe);
    assert_int_equal(show(section, 0, 10, 10, 64), HV_OK);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(fake_log_lines, 1); /* it was left */
    assert_int_equal(views(), 0);
    assert_false(alarm_wait());
    end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(refused),   TEST(uncommitted), TEST(times),
        TEST(no_screen), TEST(lifetimes),   TEST(teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
