/* Apertures: guest RAM in the hypervisor's own space. */
#include "tests/unit/ram_kit.h"

#include <errno.h>
#include <unistd.h>

#include "tests/fake/slab.h"
#include "tests/fake/view_ram.h"

static struct probe *const probe = &world.probe[0];
static struct probe *const other = &world.probe[1];

/* ---- apertures ---- */

static void test_aperture(void **state)
{
    const uint32_t bytes = 3 * PAGE_BYTES - OFFSET;
    uint64_t pages = fake_view_pages;
    uint8_t *va = NULL, byte = 0;

    (void)state;
    probe_create(probe);
    fill_ram(HIGH, 4 * PAGE_BYTES, 0);
    assert_int_equal(aperture(HIGH + OFFSET, bytes, (void **)&va), HV_OK);
    assert_int_equal((uintptr_t)va & PAGE_MASK, OFFSET);
    assert_int_equal(fake_view_pages, pages + 3);
    assert_int_equal(view_live_count(), world.views + 1);
    for (uint32_t i = 0; i < bytes; i++)
        assert_int_equal(va[i], (uint8_t)(OFFSET + i));
    for (uint32_t i = 0; i < bytes; i += 97) { /* the guest writes */
        *ram(HIGH + OFFSET + i) ^= 0xff;
        assert_int_equal(va[i], (uint8_t) ~(OFFSET + i));
    }
    for (uint32_t i = 0; i < bytes; i += 89) { /* the device writes */
        va[i] = 0x3c;
        assert_int_equal(*ram(HIGH + OFFSET + i), 0x3c);
        assert_int_equal(read_at(HIGH + OFFSET + i, 1, &byte), HV_OK);
        assert_int_equal(byte, 0x3c);
    }
    destroy(va);
    assert_int_equal(view_live_count(), world.views);
    assert_int_equal(fake_view_pages, pages);

    /* One byte more is a page more, and the least is one page. */
    assert_int_equal(aperture(HIGH + OFFSET, bytes + 1, (void **)&va), HV_OK);
    assert_int_equal(fake_view_pages, pages + 4);
    destroy(va);
    assert_int_equal(aperture(HIGH_END - 1, 1, (void **)&va), HV_OK);
    assert_int_equal((uintptr_t)va & PAGE_MASK, PAGE_MASK);
    assert_int_equal(fake_view_pages, pages + 1);
    destroy(va);
}

/* The runs touch for a copy; an aperture must lie in one of them. */
static void test_one_run(void **state)
{
    void *va = NULL;

    (void)state;
    probe_create(probe);
    assert_int_equal(aperture(SEAM - PAGE_BYTES, 2 * PAGE_BYTES, &va), HV_E_GUEST_FAULT);
    assert_int_equal(aperture(SEAM - 1, 2, &va), HV_E_GUEST_FAULT);
    assert_null(va);
    assert_int_equal(aperture(SEAM - 1, 1, &va), HV_OK);
    destroy(va);
    assert_int_equal(aperture(SEAM, MIB(40), &va), HV_OK);
    ((uint8_t *)va)[MIB(40) - 1] = 0x99;
    assert_int_equal(*ram(TOP - 1), 0x99);
    destroy(va);
}

/* Is the byte one that this process may write? The kernel tells without a signal. */
static bool is_writable(void *at)
{
    int ends[2];
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], at, 1), 1);
    errno = 0;
    got = read(ends[0], at, 1);
    assert_true(got == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return got == 1;
}

static void test_write_protected(void **state)
{
    uint8_t *reader = NULL, *writer = NULL;

    (void)state;
    probe_create(probe);
    assert_int_equal(hv_guest_aperture_create(probe->device, GPA(LOW), 100, true, (void **)&reader),
                     HV_OK);
    assert_int_equal(
        hv_guest_aperture_create(probe->device, GPA(LOW), 100, false, (void **)&writer), HV_OK);
    assert_false(is_writable(reader));
    assert_true(is_writable(writer));
    writer[50] = 0x31;
    assert_int_equal(reader[50], 0x31);
    *ram(LOW + 50) = 0x32;
    assert_int_equal(reader[50], 0x32);
    destroy(reader);
    destroy(writer);
}

static void test_overlapping(void **state)
{
    uint8_t *first = NULL, *second = NULL;

    (void)state;
    probe_create(probe);
    assert_int_equal(aperture(LOW, 2 * PAGE_BYTES, (void **)&first), HV_OK);
    assert_int_equal(aperture(LOW + PAGE_BYTES, 2 * PAGE_BYTES, (void **)&second), HV_OK);
    assert_ptr_not_equal(first + PAGE_BYTES, second);
    first[PAGE_BYTES + 7] = 0x11;
    assert_int_equal(second[7], 0x11);
    destroy(first);
    second[7] = 0x12;
    assert_int_equal(*ram(LOW + PAGE_BYTES + 7), 0x12);
    destroy(second);
}

static void test_exact_pointer(void **state)
{
    uint8_t *va = NULL;

    (void)state;
    probe_create(probe);
    probe_create(other);
    assert_int_equal(aperture(LOW + OFFSET, 2 * PAGE_BYTES, (void **)&va), HV_OK);
    for (unsigned i = 0; i < 5; i++) {
        uint8_t *const wrong[5] = {va + 1, va - OFFSET, va + PAGE_BYTES, NULL, ram(LOW)};

        assert_int_equal(hv_guest_aperture_destroy(probe->device, wrong[i]), HV_E_NOT_MAPPED);
    }
    assert_int_equal(hv_guest_aperture_destroy(other->device, va), HV_E_NOT_MAPPED);
    va[0] = 1; /* still there */
    destroy(va);
    assert_int_equal(hv_guest_aperture_destroy(probe->device, va), HV_E_NOT_MAPPED);
    assert_false(lock_is_held(&probe->device->lock));
}

static void test_quota(void **state)
{
    static void *va[HV_APERTURES_PER_DEVICE];
    struct world_state before;
    void *none = NULL;

    (void)state;
    probe_create(probe);
    probe_create(other);
    for (unsigned i = 0; i < HV_APERTURES_PER_DEVICE; i++)
        assert_int_equal(aperture(LOW + i, 1, &va[i]), HV_OK);
    before = world_state();
    fake_slab_fail(1); /* it is not asked for a record */
    assert_int_equal(aperture(LOW, 1, &none), HV_E_QUOTA);
    assert_int_equal(aperture(TOP, 1, &none), HV_E_GUEST_FAULT);
    fake_slab_fail(0);
    assert_null(none);
    assert_unchanged(before);
    assert_int_equal(hv_guest_aperture_create(other->device, GPA(LOW), 1, false, &none), HV_OK);
    assert_int_equal(hv_guest_aperture_destroy(other->device, none), HV_OK);
    destroy(va[500]);
    assert_int_equal(aperture(HIGH, 1, &va[500]), HV_OK);
    assert_int_equal(aperture(LOW, 1, &none), HV_E_QUOTA);
    for (unsigned i = 0; i < HV_APERTURES_PER_DEVICE; i++)
        destroy(va[i]);
}

/* The record, and the mapping: each fails once. */
static void test_no_memory(void **state)
{
    struct world_state before;
    void *va = NULL;

    (void)state;
    probe_create(probe);
    before = world_state();
    for (unsigned nth = 0; nth < 2; nth++) {
        fake_slab_fail(nth == 0);
        fake_view_fail(nth == 1);
        assert_int_equal(aperture(LOW, 1, &va), HV_E_NO_MEMORY);
        assert_null(va);
        assert_int_equal(probe->device->apertures.count, 0);
        assert_unchanged(before);
        assert_false(lock_is_held(&probe->device->lock));
        assert_int_equal(aperture(LOW, 1, &va), HV_OK);
        destroy(va);
        va = NULL;
        assert_unchanged(before);
    }
}

static void test_leftovers(void **state)
{
    void *va[3];
    unsigned lines;

    (void)state;
    probe_create(probe);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(aperture(HIGH + i * PAGE_BYTES, 1 + i, &va[i]), HV_OK);
    destroy(va[1]);
    lines = fake_log_lines;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(view_live_count(), world.views);
    assert_int_equal(fake_log_lines, lines + 3); /* one each, and the sum */
    assert_string_equal(
        fake_log_last,
        "pci: 00:01.0 was torn down with 0 doorbells, 0 ranges and 2 apertures left\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ram_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_aperture),    TEST(test_one_run),       TEST(test_write_protected),
        TEST(test_overlapping), TEST(test_exact_pointer), TEST(test_quota),
        TEST(test_no_memory),   TEST(test_leftovers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
