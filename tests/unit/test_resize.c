/* hv/pci/bus.c, resize.c: config space in memory, and BARs whose size the guest chooses. */
#include "tests/unit/pci_world.h"

#include "hv/mem/frames.h"
#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "tests/fake/slab.h"

#define RW        HV_MMIO_WRITEABLE
#define MEM64     0x400000000ull
#define OWN_DWORD 0x40u

static struct probe *const probe = &world.probe[0];

static uint32_t bar_dword(enum hv_bar bar)
{
    return config_read(probe->device->slot, PCI_CFG_BAR0 + 4 * (uint32_t)bar, 4);
}

static void set_bar_dword(enum hv_bar bar, uint32_t value)
{
    config_write(probe->device->slot, PCI_CFG_BAR0 + 4 * (uint32_t)bar, 4, value);
}

/* ---- config space in memory ---- */

#define ECAM(slot, function, offset) \
    (PCI_ECAM_BASE + (uint64_t)(slot)*0x8000 + (function)*0x1000 + (offset))

static uint64_t ecam_read(unsigned slot, uint32_t offset, unsigned bytes)
{
    return fake_vm_read(&world.vm, ECAM(slot, 0, offset), bytes);
}

static void ecam_write(unsigned slot, uint32_t offset, unsigned bytes, uint64_t value)
{
    fake_vm_write(&world.vm, ECAM(slot, 0, offset), bytes, value);
}

static void test_ecam_reads(void **state)
{
    (void)state;
    probe->caps_pointer = 0x40;
    probe->probed[HV_BAR_ROM] = 0u - 0x10000u;
    probe_bar64(probe, HV_BAR4, GIB(8ull));
    probe_create(probe);
    config_write(1, OWN_DWORD, 4, 0x11223344);
    /* Every byte, word and dword of every slot as the ports have it. */
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
        for (uint32_t offset = 0; offset < PCI_CONFIG_PORTS_BYTES; offset++)
            for (unsigned bytes = 1; bytes <= 4; bytes *= 2)
                if (offset % bytes == 0)
                    assert_int_equal(ecam_read(slot, offset, bytes),
                                     config_read(slot, offset, bytes));
    assert_int_equal(ecam_read(1, PCI_CFG_ID, 8), 0x0010000056781234ull);
    assert_int_equal(ecam_read(1, OWN_DWORD, 8), 0x11223344);
    /* The device is asked for extended dwords; the bridge has none; nobody is at other functions and past bus 0. */
    probe->config_reads = 0;
    assert_int_equal(ecam_read(1, 0xffc, 4), 0);
    assert_int_equal(probe->config_reads, 1);
    assert_int_equal(ecam_read(0, PCI_EXT_FIRST, 4), 0);
    assert_int_equal(ecam_read(2, PCI_EXT_FIRST, 8), ~0ull);
    assert_int_equal(fake_vm_read(&world.vm, ECAM(1, 1, 0), 4), 0xffffffff);
    assert_int_equal(fake_vm_read(&world.vm, ECAM(31, 7, 0xff8), 8), ~0ull);
    assert_int_equal(fake_vm_way, FAKE_TRAPPED);
    fake_vm_read(&world.vm, PCI_ECAM_BASE + PCI_ECAM_BYTES, 4);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
    fake_vm_read(&world.vm, PCI_ECAM_BASE - 4, 4);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
}

static void test_ecam_writes(void **state)
{
    (void)state;
    probe_create(probe);
    ecam_write(1, OWN_DWORD, 4, 0x11223344);
    assert_int_equal(config_read(1, OWN_DWORD, 4), 0x11223344);
    ecam_write(1, OWN_DWORD + 3, 1, 0xaa);
    assert_int_equal(config_read(1, OWN_DWORD, 4), 0xaa223344);
    ecam_write(1, OWN_DWORD + 2, 2, 0xbbcc);
    assert_int_equal(config_read(1, OWN_DWORD, 4), 0xbbcc3344);
    assert_int_equal(probe->config_offset, OWN_DWORD);
    ecam_write(1, OWN_DWORD, 1, 0x55);
    assert_int_equal(config_read(1, OWN_DWORD, 4), 0xbbcc3355);
    /* Eight bytes are two dwords, the lower first: a 64-bit BAR in one store, with decode on. */
    decode(probe, true);
    ecam_write(1, PCI_CFG_BAR0 + 8, 8, MEM64 + GIB(8ull) + 0xff);
    assert_int_equal(bar_base(probe, HV_BAR2), MEM64 + GIB(8ull));
    assert_int_equal(probe->config_offset, PCI_CFG_BAR0 + 12);
    assert_ptr_equal(who_answers(MEM64 + GIB(8ull)), probe);
    ecam_write(1, PCI_CFG_COMMAND, 2, 0);
    assert_ptr_equal(who_answers(MEM64 + GIB(8ull)), NULL);
    ecam_write(2, PCI_CFG_COMMAND, 8, ~0ull);
    fake_vm_write(&world.vm, ECAM(1, 1, PCI_CFG_COMMAND), 2, 2);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), 0);
}

/* A BAR waits while it lies over the window, as over any region; the window stays. */
static void test_ecam_wins(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, (uint32_t)MIB(2));
    probe_create(probe);
    move_bar(probe, HV_BAR0, PCI_ECAM_BASE);
    decode(probe, true);
    assert_false(probe->device->bar[HV_BAR0].live);
    assert_int_equal(ecam_read(1, PCI_CFG_ID, 4), 0x56781234);
    move_bar(probe, HV_BAR0, PCI_ECAM_BASE - MIB(2));
    assert_true(probe->device->bar[HV_BAR0].live);
    assert_ptr_equal(who_answers(PCI_ECAM_BASE - 4), probe);
    assert_int_equal(ecam_read(1, PCI_CFG_ID, 4), 0x56781234);
}

static void test_ecam_without_place(void **state)
{
    static const struct mmio_handler nobody;
    uint64_t frames = hv_frames.free_pages;

    (void)state;
    hv_device_host_destroy(world.host);
    assert_int_equal(world.vm.regions.count, 0);
    assert_int_equal(mmio_region_add(&world.vm.regions, GPA(PCI_ECAM_BASE + 0xff000), 1, &nobody),
                     HV_OK);
    assert_int_equal(hv_device_host_create(&world.vm, 0, &world.host), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(hv_frames.free_pages, frames + 1);
    assert_int_equal(mmio_region_remove(&world.vm.regions, GPA(PCI_ECAM_BASE + 0xff000)), HV_OK);
    assert_int_equal(hv_device_host_create(&world.vm, 0, &world.host), HV_OK);
}

/* ---- resizable BARs ---- */

#define RESIZE_PAIR(i)         (PCI_EXT_FIRST + 4 + 8 * (i))
#define RESIZE_CAPABILITY(i)   RESIZE_PAIR(i)
#define RESIZE_CONTROL(i)      (RESIZE_PAIR(i) + 4)
#define SIZES_64M_256M_8G      (BIT(6) | BIT(8) | BIT(13))
#define RESIZED(bar, count, n) ((uint32_t)(bar) | (uint32_t)(count) << 5 | (uint32_t)(n) << 8)

static void test_resize_statuses(void **state)
{
    struct hv_device *device;

    (void)state;
    probe->probed[HV_BAR0] = 0xffffffe1; /* ports */
    probe_bar32(probe, HV_BAR1, (uint32_t)MIB(1));
    probe_bar64(probe, HV_BAR2, MIB(64));
    probe->probed[HV_BAR4] = 0u - 0x1000u;
    probe->probed[HV_BAR_ROM] = 0u - (uint32_t)MIB(1);
    device = probe_create(probe);
    assert_int_equal(hv_bar_make_resizable(NULL, HV_BAR2, BIT(6)), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR_COUNT, BIT(6)), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_bar_make_resizable(device, (enum hv_bar) - 1, BIT(6)),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR0, BIT(0)), HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR3, BIT(6)), HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR5, BIT(6)), HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR_ROM, BIT(0)), HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, BIT(5) | BIT(7)),
                     HV_E_INVALID_PARAMETER_3); /* not the size that it has */
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, BIT(6) | BIT(28)),
                     HV_E_INVALID_PARAMETER_3);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR4, BIT(0)),
                     HV_E_INVALID_PARAMETER_3); /* below 1 MiB */
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR1, BIT(0) | BIT(12)),
                     HV_E_INVALID_PARAMETER_3);          /* 4 GiB in 32 bits */
    assert_int_equal(ecam_read(1, PCI_EXT_FIRST, 4), 0); /* the device's still */
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR1, BIT(0) | BIT(11)), HV_OK);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, BIT(6) | BIT(27)), HV_OK);
    assert_int_equal(device->bar[HV_BAR2].max_bytes, BIT(47));
    assert_int_equal(device->bar[HV_BAR4].max_bytes, 0x1000);
    /* Another choice before the start replaces the first. */
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, BIT(6)), HV_OK);
    assert_int_equal(device->bar[HV_BAR2].max_bytes, MIB(64));
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, BIT(6)), HV_E_INVALID_STATE);
}

static hv_status_t status_in_teardown;

static void resize_in_teardown(struct probe *self)
{
    status_in_teardown = hv_bar_make_resizable(self->device, HV_BAR2, BIT(3));
}

static void test_resize_in_teardown(void **state)
{
    (void)state;
    probe_create(probe);
    probe->in_teardown = resize_in_teardown;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(status_in_teardown, HV_E_INVALID_STATE);
}

static void test_resize_capability(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, (uint32_t)MIB(1));
    probe_bar64(probe, HV_BAR2, GIB(8ull));
    probe_bar64(probe, HV_BAR4, MIB(2));
    probe_create(probe);
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR4, BIT(1) | BIT(27)), HV_OK);
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR2, SIZES_64M_256M_8G), HV_OK);
    assert_int_equal(ecam_read(1, PCI_EXT_FIRST, 4), 0x00010015);
    assert_int_equal(ecam_read(1, RESIZE_CAPABILITY(0), 4), SIZES_64M_256M_8G << 4);
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(0), 4), RESIZED(HV_BAR2, 2, 13));
    assert_int_equal(ecam_read(1, RESIZE_CAPABILITY(1), 4), (BIT(1) | BIT(27)) << 4);
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(1), 4), RESIZED(HV_BAR4, 0, 1));
    /* What lies behind the capability is the device's. */
    probe->config_reads = 0;
    assert_int_equal(ecam_read(1, RESIZE_PAIR(2), 4), 0);
    assert_int_equal(probe->config_reads, 1);
    /* Only the size can be written, and only one that is offered. */
    ecam_write(1, PCI_EXT_FIRST, 4, ~0ull);
    ecam_write(1, RESIZE_CAPABILITY(0), 4, ~0ull);
    ecam_write(1, RESIZE_CONTROL(0), 4, 7u << 8);
    ecam_write(1, RESIZE_CONTROL(0), 4, 0x3fu << 8);
    assert_int_equal(ecam_read(1, PCI_EXT_FIRST, 4), 0x00010015);
    assert_int_equal(ecam_read(1, RESIZE_CAPABILITY(0), 8),
                     SIZES_64M_256M_8G << 4 | (uint64_t)RESIZED(HV_BAR2, 2, 13) << 32);
    ecam_write(1, RESIZE_CONTROL(0), 4, (~0u & ~(0x3fu << 8)) | 8u << 8);
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(0), 4), RESIZED(HV_BAR2, 2, 8));
    ecam_write(1, RESIZE_CONTROL(0) + 1, 1, 6);
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(0), 4), RESIZED(HV_BAR2, 2, 6));
    assert_int_equal(probe->config_offset, RESIZE_CONTROL(0)); /* and the device is told */
    ecam_write(1, RESIZE_CONTROL(1), 4, 27u << 8);
    assert_int_equal(probe->device->bar[HV_BAR4].bytes, BIT(47));
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(1), 4), RESIZED(HV_BAR4, 0, 27));
}

/* Choose size n of BAR2 with decode off. */
static void resize(unsigned n)
{
    decode(probe, false);
    ecam_write(1, RESIZE_CONTROL(0), 4, n << 8);
    decode(probe, true);
}

static void test_resize_and_sizing(void **state)
{
    struct hv_bar_stats stats;

    (void)state;
    probe_bar64(probe, HV_BAR2, MIB(64));
    probe_create(probe);
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR2, SIZES_64M_256M_8G), HV_OK);
    move_bar(probe, HV_BAR2, MEM64 + MIB(64) * 5);
    decode(probe, true);
    assert_ptr_equal(who_answers(MEM64 + MIB(64) * 6 - 4), probe);
    assert_ptr_equal(who_answers(MEM64 + MIB(64) * 6), NULL);
    /* With decode on the size stays. */
    ecam_write(1, RESIZE_CONTROL(0), 4, 8u << 8);
    assert_int_equal(ecam_read(1, RESIZE_CONTROL(0), 4), RESIZED(HV_BAR2, 1, 6));
    /* A larger BAR has fewer address bits: the others are gone. */
    resize(8);
    assert_int_equal(bar_base(probe, HV_BAR2), MEM64 + MIB(256));
    assert_ptr_equal(who_answers(MEM64 + MIB(256)), probe);
    assert_ptr_equal(who_answers(MEM64 + MIB(512) - 4), probe);
    assert_ptr_equal(who_answers(MEM64 + MIB(512)), NULL);
    set_bar_dword(HV_BAR2, 0xffffffff);
    assert_int_equal(bar_dword(HV_BAR2), 0xf000000c);
    set_bar_dword(HV_BAR2, (uint32_t)MEM64);
    resize(13);
    set_bar_dword(HV_BAR2, 0xffffffff);
    set_bar_dword(HV_BAR3, 0xffffffff);
    assert_int_equal(bar_dword(HV_BAR2), 0x0000000c);
    assert_int_equal(bar_dword(HV_BAR3), 0xfffffffe);
    move_bar(probe, HV_BAR2, MEM64 + GIB(8ull));
    assert_ptr_equal(who_answers(MEM64 + GIB(16ull) - 4), probe);
    assert_int_equal(inspect_bar(probe->device, HV_BAR2, &stats), HV_OK);
    assert_int_equal(stats.bytes, GIB(8ull));
    assert_int_equal(stats.max_bytes, GIB(8ull));
    resize(6);
    assert_ptr_equal(who_answers(MEM64 + GIB(8ull) + MIB(64)), NULL);
    assert_int_equal(inspect_bar(probe->device, HV_BAR2, &stats), HV_OK);
    assert_int_equal(stats.bytes, MIB(64));
    assert_int_equal(stats.max_bytes, GIB(8ull));
    assert_int_equal(probe->device->bar[HV_BAR0].max_bytes, 0);
}

/* Pages count up to the size of the moment. */
static void test_resize_and_new_ranges(void **state)
{
    struct hv_device *device;
    hv_handle_t section;

    (void)state;
    probe_bar64(probe, HV_BAR2, GIB(8ull));
    device = probe_create(probe);
    section = make_section(1, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, SIZES_64M_256M_8G), HV_OK);
    resize(8);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0x10000, 1, RW, section, 0),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0xffff, 1, RW, section, 0), HV_OK);
    resize(13);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0x10000, 1, RW, section, 0), HV_OK);
    assert_int_equal(fake_vm_read(&world.vm, bar_base(probe, HV_BAR2) + 0x10000 * PAGE_BYTES, 8),
                     section_word(0, 0));
    hv_handle_close(section);
}

/* The leaf at a page of BAR2, or level 0. */
static unsigned level_at(uint64_t page)
{
    struct inspect_leaf leaf;

    inspect_leaf(probe->device, GPA(bar_base(probe, HV_BAR2) + page * PAGE_BYTES), &leaf);
    return leaf.level;
}

/* Ranges beyond the end keep their records and lose their leaves; the size of before brings them back. */
static void test_resize_with_ranges(void **state)
{
    const uint64_t inside = 0, across = 0xff80, beyond = 0x40000;
    struct hv_mmio_range_info info;
    struct hv_device *device;
    hv_handle_t window;
    uint64_t full;

    (void)state;
    probe_bar64(probe, HV_BAR2, GIB(8ull));
    device = probe_create(probe);
    window = make_window(HPA(GIB(64ull)), 2 * HUGE_PAGES);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, SIZES_64M_256M_8G), HV_OK);
    decode(probe, true);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, inside, 0x1000, RW, window, 0), HV_OK);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, across, 0x100, RW, window, 0x2000),
                     HV_OK);
    assert_int_equal(
        hv_mmio_range_create(device, HV_BAR2, beyond, HUGE_PAGES, RW, window, HUGE_PAGES), HV_OK);
    assert_int_equal(level_at(beyond), 3);
    full = pt_hash(&world.vm.tables);

    resize(8);
    assert_int_equal(level_at(inside), 2);
    assert_int_equal(level_at(0xffff), 1);
    for (uint64_t page = 0x10000; page < 0x10080; page++)
        assert_int_equal(level_at(page), 0);
    assert_int_equal(level_at(beyond), 0);
    assert_int_equal(world.vm.tables.leaves[3], 0);
    assert_ptr_equal(who_answers(bar_base(probe, HV_BAR2) + MIB(256)), NULL);
    assert_int_equal(hv_mmio_range_query(device, HV_BAR2, across, &info), HV_OK);
    assert_int_equal(info.page_count, 0x100);
    assert_int_equal(info.leaves[1], 0x80);
    assert_int_equal(hv_mmio_range_query(device, HV_BAR2, beyond, &info), HV_OK);
    assert_int_equal(info.leaves[3], 0);
    resize(6);
    assert_int_equal(level_at(0xff80), 0);
    assert_int_equal(level_at(inside + 0xfff), 2);
    resize(13);
    assert_int_equal(pt_hash(&world.vm.tables), full);

    /* Out of reach, and still to be destroyed. */
    resize(6);
    assert_int_equal(hv_mmio_range_destroy(device, HV_BAR2, beyond), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(device, HV_BAR2, across), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(device, HV_BAR2, across), HV_E_NOT_MAPPED);
    resize(13);
    assert_int_equal(level_at(beyond), 0);
    assert_int_equal(level_at(across), 0);
    assert_int_equal(level_at(inside), 2);
    hv_handle_close(window);
}

/* While the BAR is small, what lies beyond its end may be split by a call on the pages that it has. */
static void test_resize_and_split(void **state)
{
    struct hv_device *device;
    hv_handle_t window;

    (void)state;
    probe_bar64(probe, HV_BAR2, GIB(8ull));
    device = probe_create(probe);
    window = make_window(HPA(GIB(64ull)), HUGE_PAGES);
    assert_int_equal(hv_bar_make_resizable(device, HV_BAR2, SIZES_64M_256M_8G), HV_OK);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0, HUGE_PAGES, RW, window, 0), HV_OK);
    resize(8);
    assert_int_equal(level_at(0xffff), 2);
    assert_int_equal(hv_mmio_range_unmap(device, HV_BAR2, 0xffff, 1), HV_OK);
    assert_int_equal(hv_mmio_range_unmap(device, HV_BAR2, 0xffff, 2), HV_E_OUT_OF_RANGE);
    assert_int_equal(level_at(0xffff), 0);
    assert_int_equal(level_at(0xfffe), 1);
    resize(13);
    assert_int_equal(level_at(0xffff), 0);
    assert_int_equal(level_at(0x10000), 2);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0xffff, 1, RW, window, 0xffff), HV_OK);
    assert_int_equal(level_at(0xffff), 3); /* whole again: one leaf */
    hv_handle_close(window);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ecam_reads),
        TEST(test_ecam_writes),
        TEST(test_ecam_wins),
        TEST(test_ecam_without_place),
        TEST(test_resize_statuses),
        TEST(test_resize_in_teardown),
        TEST(test_resize_capability),
        TEST(test_resize_and_sizing),
        TEST(test_resize_and_new_ranges),
        TEST(test_resize_with_ranges),
        TEST(test_resize_and_split),
    };

    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
