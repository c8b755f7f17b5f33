/*
 * Mistakes that other hypervisors made with MSI-X tables, each as a test that would have found it.
 *
 *   Xen 7c24d58a6e              a range over the page of a table        table_page_always_traps
 *   XSA-164, CVE-2020-13754     an access past the last entry           access_past_the_last_entry
 *   XSA-121, XSA-239            an access of a wrong size leaks         all_sizes_at_all_offsets
 */
#include "tests/unit/cap_kit.h"

#include <string.h>

#define RW    HV_MMIO_WRITEABLE
#define PAGES 8u

static struct probe *const probe = &world.probe[0];

static bool is_core_page(uint64_t page)
{
    return page == CAP_TABLE >> PAGE_SHIFT || page == CAP_PENDING >> PAGE_SHIFT;
}

/* Does a guest reach the device or the core there, and no frame? */
static void expect_trapped(void)
{
    for (uint64_t page = 0; page < PAGES; page++)
        if (is_core_page(page)) {
            bar_get(page << PAGE_SHIFT, 4);
            assert_int_equal(fake_vm_way, FAKE_TRAPPED);
        }
}

/* Every window over a few pages, plain, replacing and read-only, alone and in a batch of either kind. */
static void test_xen_7c24d58a6e_table_page_always_traps(void **state)
{
    static const uint32_t flags[] = {0, RW, HV_MMIO_REPLACE, RW | HV_MMIO_REPLACE};
    hv_handle_t section = make_section(PAGES, HV_PAGE_READWRITE, 0);

    (void)state;
    cap_create(probe, OFFER_ALL);
    for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
        for (uint64_t page = 0; page < PAGES; page++)
            for (uint64_t count = 1; page + count <= PAGES; count++) {
                struct hv_mmio_op ops[] = {
                    {.kind = HV_MMIO_OP_CREATE,
                     .bar = HV_BAR2,
                     .bar_page = page,
                     .page_count = count,
                     .flags = flags[i],
                     .section = section},
                };
                bool over = false;
                uint64_t done;
                hv_status_t expected;

                for (uint64_t p = page; p < page + count; p++)
                    over |= is_core_page(p);
                expected = over ? HV_E_CONFLICTING_ADDRESSES : HV_OK;
                assert_int_equal(
                    hv_mmio_range_create(probe->device, HV_BAR2, page, count, flags[i], section, 0),
                    expected);
                expect_trapped();
                assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, PAGES), HV_OK);
                for (uint32_t kind = 0; kind <= HV_BATCH_ATOMIC; kind++) {
                    assert_int_equal(hv_mmio_range_batch(probe->device, ops, 1, kind, &done),
                                     expected);
                    assert_int_equal(done, !over);
                    expect_trapped();
                    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, PAGES), HV_OK);
                }
            }
    /* And the other way round: a table where a range lies. */
    cap_destroy(probe);
    cap_create(probe, 0);
    cap_stop(probe);
    for (uint64_t page = 0; page < PAGES; page++) {
        assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, page, 1, RW, section, 0),
                         HV_OK);
        if (is_core_page(page))
            assert_int_equal(
                hv_msix_offer(probe->device, HV_BAR2, CAP_TABLE, CAP_PENDING, CAP_VECTORS),
                HV_E_CONFLICTING_ADDRESSES);
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, page), HV_OK);
    }
    /* A table across pages: all of them. */
    assert_int_equal(hv_msix_offer(probe->device, HV_BAR2, 0x1ff8, 0x4000, 300), HV_OK);
    for (uint64_t page = 0; page < PAGES; page++) {
        bool over = page >= 1 && page <= 4;

        assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, page, 1, RW, section, 0),
                         over ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
    }
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, PAGES), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* The first byte behind the table, and everything up to the end of its page, is the device's; likewise in front. */
static void test_xsa_164_access_past_the_last_entry(void **state)
{
    const uint64_t end = CAP_TABLE + CAP_VECTORS * 16, pending_end = CAP_PENDING + 8;
    unsigned reads = 0, writes = 0;

    (void)state;
    cap_create(probe, OFFER_ALL);
    probe->read_fill = 0x5a;
    for (uint64_t at = CAP_TABLE - 0x40; at < CAP_PENDING + 0x1000; at += 4) {
        bool table = at >= CAP_TABLE && at < end;
        bool core = table || (at >= CAP_PENDING && at < pending_end);
        uint64_t value = bar_get(at, 4);

        reads += !core;
        assert_int_equal(probe->reads, reads);
        if (!core)
            assert_int_equal(value, 0x5a5a5a5a);
        else
            assert_int_equal(value, table && at % 16 == 12);
        bar_put(at, 4, 0xffffffff);
        writes += !core;
        assert_int_equal(probe->writes, writes);
        if (!core)
            assert_int_equal(probe->last_offset, at);
    }
    /* Of all those writes the table took its own and nothing else. */
    for (uint64_t at = CAP_TABLE; at < end; at += 4)
        assert_int_equal(bar_get(at, 4), at % 16 == 12 ? 1 : 0xffffffff);
    assert_int_equal(bar_get(CAP_PENDING, 8), 0);
    assert_int_equal(hv_interrupt_raise(probe->device, CAP_VECTORS), HV_OK); /* not enabled */
    config_write(1, AT_MSIX + 2, 2, 0x8000);
    assert_int_equal(hv_interrupt_raise(probe->device, CAP_VECTORS), HV_E_INVALID_PARAMETER_2);
}

/*
 * Reads of each size at each offset of both pages, when the device fails as when it answers: the core's bytes as they are,
 * the device's as it gives them, ones when it fails. on_read() of the kit sees that buffers come filled with ones.
 */
static void test_xsa_121_all_sizes_at_all_offsets(void **state)
{
    static uint8_t expected[0x3000];

    (void)state;
    cap_create(probe, OFFER_ALL);
    for (unsigned fails = 0; fails < 2; fails++) {
        probe->read_fill = 0x5a;
        probe->access = fails ? HV_E_NOT_SUPPORTED : HV_OK;
        memset(expected, fails ? 0xff : 0x5a, sizeof(expected));
        memset(expected + CAP_TABLE, 0, CAP_VECTORS * 16);
        memset(expected + CAP_PENDING, 0, 8);
        for (uint32_t v = 0; v < CAP_VECTORS; v++)
            expected[CAP_TABLE + v * 16 + 12] = 1;
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            for (uint64_t at = 0; at + bytes <= sizeof(expected); at += bytes) {
                uint64_t value = 0;

                memcpy(&value, &expected[at], bytes);
                assert_int_equal(bar_get(at, bytes), value);
            }
        /* Narrow writes to the core's bytes go nowhere. */
        probe->writes = 0;
        for (unsigned bytes = 1; bytes <= 2; bytes++)
            for (uint64_t at = 0; at < CAP_VECTORS * 16; at += bytes) {
                bar_put(CAP_TABLE + at, bytes, 0xffff);
                bar_put(CAP_PENDING + at % 8, bytes, 0xffff);
            }
        for (uint64_t at = 0; at < CAP_VECTORS * 16; at += 4)
            assert_int_equal(bar_get(CAP_TABLE + at, 4), at % 16 == 12);
        assert_int_equal(bar_get(CAP_PENDING, 8), 0);
        assert_int_equal(probe->writes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_xen_7c24d58a6e_table_page_always_traps, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(test_xsa_164_access_past_the_last_entry, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(test_xsa_121_all_sizes_at_all_offsets, world_open,
                                        world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
