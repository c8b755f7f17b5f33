/* hv/pci/doorbell.c, range_create.c: doorbells beside ranges. hv/pci/bar.c: wide accesses, leaves. */
#include "tests/unit/bell_kit.h"

#include <string.h>

#define PAGE 5u /* of BAR2, where the doorbell is */
#define AT   (PAGE * PAGE_BYTES + NOTIFY)

static hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, flags, section, 0);
}

/* Doorbells at the first and the last byte of a page: windows on either side of it are free. */
static void test_writable_range_over_a_doorbell(void **state)
{
    static const uint64_t edges[] = {PAGE * PAGE_BYTES, PAGE * PAGE_BYTES + PAGE_BYTES - 1};
    hv_handle_t section;

    (void)state;
    bars_up();
    make_events();
    section = make_section(16, HV_PAGE_READWRITE, 0);
    for (unsigned i = 0; i < ARRAY_COUNT(edges); i++) {
        struct world_state before;

        assert_int_equal(bell_add(HV_BAR2, edges[i], 1, ANY, event[0]), HV_OK);
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, event[1]), HV_OK);
        before = world_state();
        for (uint64_t first = 0; first < 12; first++)
            for (uint64_t pages = 1; pages < 12; pages++) {
                bool over = first <= PAGE && first + pages > PAGE;

                for (uint32_t more = 0; more <= HV_MMIO_REPLACE; more += HV_MMIO_REPLACE) {
                    assert_int_equal(create(first, pages, RW | more, section),
                                     over ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
                    if (over)
                        assert_unchanged(before);
                    else
                        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, first),
                                         HV_OK);
                    before.stores = world.vm.tables.stores;
                    before.flushes = world.vm.stats.flushes;
                }
            }
        assert_int_equal(bell_drop(HV_BAR2, edges[i], 1, ANY), HV_OK);
        assert_int_equal(create(0, 12, RW, section), HV_OK);
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0), HV_OK);
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
    }
    assert_int_equal(hv_handle_close(section), HV_OK);
    close_events();
}

/* Reads of the page are direct; writes trap anyway, so they can ring. REPLACE cannot make it writable. */
static void test_read_only_range(void **state)
{
    struct hv_mmio_range_info info;
    hv_handle_t section;

    (void)state;
    bars_up();
    make_events();
    section = make_section(16, HV_PAGE_READWRITE, 0);
    assert_int_equal(create(0, 12, HV_MMIO_READ_ONLY, section), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    rings(HV_BAR2, AT, 2, 1, 0);
    rings(HV_BAR2, AT, 2, 2, EVENTS);
    assert_int_equal(fake_vm_read(&world.vm, bar_base(probe, HV_BAR2) + PAGE * PAGE_BYTES, 8),
                     section_word(PAGE, 0));
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
    assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, PAGE, &info), HV_OK);
    assert_int_equal(info.trapped_writes, 1); /* what rang went nowhere */
    assert_int_equal(create(PAGE, 1, RW | HV_MMIO_REPLACE, section), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(create(PAGE, 1, HV_MMIO_REPLACE, section), HV_OK);
    rings(HV_BAR2, AT, 2, 1, 0);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    assert_int_equal(create(PAGE, 1, RW | HV_MMIO_REPLACE, section), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(bell_add(HV_BAR2, AT + PAGE_BYTES, 1, WORD, event[0]), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, AT + PAGE_BYTES, 1, WORD), HV_OK);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 12), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
    close_events();
}

/* An uncommitted page traps today; it will not when it is committed. */
static void test_reserved_range(void **state)
{
    hv_handle_t section;

    (void)state;
    bars_up();
    make_events();
    assert_int_equal(hv_section_create(&section, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL,
                                       16 * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_RESERVE, NULL),
                     HV_OK);
    assert_int_equal(create(0, 12, RW, section), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    assert_int_equal(create(0, 12, RW, section), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
    close_events();
}

/* Ops that replace page by page take a shorter way through the checks from the second one on. */
static void test_batch(void **state)
{
    struct hv_mmio_op op[8];
    hv_handle_t first, second;
    struct world_state before;
    uint64_t done;

    (void)state;
    bars_up();
    make_events();
    first = make_section(16, HV_PAGE_READWRITE, 0);
    second = make_section(16, HV_PAGE_READWRITE, 0);
    for (unsigned i = 0; i < ARRAY_COUNT(op); i++) {
        assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, i, 1, 0, first, i), HV_OK);
        op[i] = (struct hv_mmio_op){.kind = HV_MMIO_OP_CREATE,
                                    .bar = HV_BAR2,
                                    .bar_page = i,
                                    .page_count = 1,
                                    .section_page = i,
                                    .flags = RW | HV_MMIO_REPLACE,
                                    .section = second};
    }
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    before = world_state();
    assert_int_equal(hv_mmio_range_batch(probe->device, op, 8, HV_BATCH_ATOMIC, &done),
                     HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(done, 0);
    assert_unchanged(before);
    assert_int_equal(hv_mmio_range_batch(probe->device, op, 8, 0, &done),
                     HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(done, PAGE);
    rings(HV_BAR2, AT, 2, 1, 0);
    /* That an earlier op empties the page does not help. */
    op[0] = (struct hv_mmio_op){
        .kind = HV_MMIO_OP_UNMAP, .bar = HV_BAR2, .bar_page = PAGE, .page_count = 1};
    op[1] = (struct hv_mmio_op){.kind = HV_MMIO_OP_CREATE,
                                .bar = HV_BAR2,
                                .bar_page = PAGE,
                                .page_count = 1,
                                .flags = RW,
                                .section = second};
    assert_int_equal(hv_mmio_range_batch(probe->device, op, 2, 0, &done),
                     HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(done, 1);
    rings(HV_BAR2, AT, 2, 1, 0);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    assert_int_equal(hv_mmio_range_batch(probe->device, &op[1], 1, 0, &done), HV_OK);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 16), HV_OK);
    assert_int_equal(hv_handle_close(first), HV_OK);
    assert_int_equal(hv_handle_close(second), HV_OK);
    close_events();
}

/* ---- wide accesses ---- */

static const struct mmio_handler *handler_of(enum hv_bar bar)
{
    unsigned hint = 0;
    unsigned region = mmio_region_find(&world.vm.regions, GPA(bar_base(probe, bar)), &hint);

    return region == MMIO_NONE ? NULL : &world.vm.regions.handler[region];
}

static void test_access_bytes_statuses(void **state)
{
    static const uint32_t no_lengths[] = {0, 1, 4, 7, 9, 24, 48, 65, 128, 1u << 31, UINT32_MAX};

    (void)state;
    probe_create(probe);
    assert_int_equal(hv_bar_set_access_bytes(NULL, HV_BAR0, 16), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, (enum hv_bar)7, 3),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR3, 3), HV_E_NO_SUCH_BAR);
    for (unsigned i = 0; i < ARRAY_COUNT(no_lengths); i++)
        assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR0, no_lengths[i]),
                         HV_E_INVALID_PARAMETER_3);
    for (uint32_t bytes = 64; bytes >= 8; bytes /= 2)
        assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR0, bytes), HV_OK);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR2, 32), HV_OK);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, (enum hv_bar)7, 3), HV_E_INVALID_STATE);
    decode(probe, true);
    assert_int_equal(handler_of(HV_BAR0)->wide_bytes, 0); /* 8 again */
    assert_null(handler_of(HV_BAR0)->read_wide);
    assert_null(handler_of(HV_BAR0)->write_wide);
    assert_int_equal(handler_of(HV_BAR2)->wide_bytes, 32);
}

static void test_wide_accesses(void **state)
{
    const struct mmio_handler *handler;
    struct hv_bar_state *bar;
    uint8_t bytes[64];

    (void)state;
    probe_create(probe);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR2, 64), HV_OK);
    decode(probe, true);
    handler = handler_of(HV_BAR2);
    bar = &probe->device->bar[HV_BAR2];
    probe->read_fill = 0x5a;
    for (unsigned length = 16; length <= 64; length *= 2) {
        memset(bytes, 0, sizeof(bytes));
        handler->read_wide(handler->owner, 0x40, length, bytes); /* on_read() wants ones there */
        for (unsigned i = 0; i < sizeof(bytes); i++)
            assert_int_equal(bytes[i], i < length ? 0x5a : 0);
        assert_int_equal(probe->last_offset, 0x40);
        assert_int_equal(probe->last_length, length);
        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)(i + length);
        handler->write_wide(handler->owner, 0x80, length, bytes);
        assert_int_equal(probe->last_length, length);
        assert_memory_equal(probe->last_bytes, bytes, length);
    }
    assert_int_equal(bar->trapped_reads, 3);
    assert_int_equal(bar->trapped_writes, 3);
    probe->access = HV_E_BUSY;
    handler->read_wide(handler->owner, 0, 32, bytes);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(bytes[i], 0xff);
    assert_int_not_equal(bytes[32], 0xff);
    handler->write_wide(handler->owner, 0, 32, bytes);
    assert_int_equal(bar->callback_failures, 2);
    assert_int_equal(fake_vm_read(&world.vm, bar->base, 4), 0xffffffff);
}

/* ---- leaves ---- */

/* From the first range on a fault in the region may be over by now; also in one that comes back with its ranges. */
static void test_region_knows_of_leaves(void **state)
{
    hv_handle_t section;

    (void)state;
    bars_up();
    section = make_section(16, HV_PAGE_READWRITE, 0);
    assert_false(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(create(3, 1, RW, section), HV_OK);
    assert_true(handler_of(HV_BAR2)->has_leaves);
    assert_false(handler_of(HV_BAR0)->has_leaves);
    decode(probe, false);
    decode(probe, true);
    assert_true(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 3), HV_OK);
    decode(probe, false);
    decode(probe, true);
    assert_false(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(create(0, 1, RW, section), HV_OK);
    assert_true(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* The first page of a BAR is mapped under tables that a neighbour has made, and so with their lock held throughout. */
static void test_first_page_beside_a_neighbour(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_bar32(probe, HV_BAR0, KIB(64));
    probe_bar64(probe, HV_BAR2, KIB(64));
    bars_up();
    move_bar(probe, HV_BAR2, bar_base(probe, HV_BAR0) + KIB(64));
    section = make_section(16, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR0, 0, 1, RW, section, 0), HV_OK);
    assert_false(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(create(0, 1, RW, section), HV_OK);
    assert_true(handler_of(HV_BAR2)->has_leaves);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR0, 0), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_writable_range_over_a_doorbell),
        TEST(test_read_only_range),
        TEST(test_reserved_range),
        TEST(test_batch),
        TEST(test_access_bytes_statuses),
        TEST(test_wide_accesses),
        TEST(test_region_knows_of_leaves),
        TEST(test_first_page_beside_a_neighbour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
