/* I/O BARs: behind the VM's ports while COMMAND.IO is on. */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "hv/pci/config.h"

#define PORTS_OF_BUS 0xcf8u

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];

static unsigned ports; /* registered besides ours */

static void make(struct probe *p, uint32_t bytes)
{
    p->probed[HV_BAR1] = (0 - bytes) | HV_BAR_IO;
    probe_create(p);
    ports = world.vm.port_count;
}

static void enable(struct probe *p, uint32_t command)
{
    config_write(p->device->slot, PCI_CFG_COMMAND, 2, command);
}

static uint16_t home(const struct probe *p)
{
    return (uint16_t)bar_base(p, HV_BAR1);
}

static uint32_t in(uint32_t port, unsigned bytes)
{
    return fake_vm_in(&world.vm, (uint16_t)port, bytes);
}

static void out(uint32_t port, unsigned bytes, uint32_t value)
{
    fake_vm_out(&world.vm, (uint16_t)port, bytes, value);
}

/* ---- accesses ---- */

static void test_widths(void **state)
{
    static const uint32_t sizes[] = {4, 8, 16, 256};

    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(sizes); n++) {
        memset(probe, 0, sizeof(*probe));
        probe->read_fill = 0x5a;
        make(probe, sizes[n]);
        assert_int_equal(probe->device->bar[HV_BAR1].bytes, sizes[n]);
        assert_int_equal(home(probe), 0xc000);
        assert_int_equal(in(0xc000, 4), UINT32_MAX); /* not enabled */
        enable(probe, PCI_COMMAND_MEMORY);
        assert_int_equal(in(0xc000, 4), UINT32_MAX);
        enable(probe, PCI_COMMAND_IO);
        assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), PCI_COMMAND_IO);
        for (unsigned bytes = 1; bytes <= 4; bytes *= 2)
            for (uint32_t at = 0; at + bytes <= sizes[n]; at += bytes) {
                unsigned reads = probe->reads, writes = probe->writes;
                uint32_t ones = (uint32_t)((1ull << 8 * bytes) - 1);

                assert_int_equal(in(0xc000 + at, bytes), 0x5a5a5a5a & ones);
                assert_int_equal(probe->reads, reads + 1);
                assert_int_equal(probe->last_bar, HV_BAR1);
                assert_int_equal(probe->last_offset, at);
                assert_int_equal(probe->last_length, bytes);
                out(0xc000 + at, bytes, 0x87654321 & ones);
                assert_int_equal(probe->writes, writes + 1);
                assert_int_equal(probe->last_length, bytes);
                assert_int_equal(probe->last_value, 0x87654321 & ones);
            }
        assert_int_equal(in(0xc000 + sizes[n], 1), 0xff);
        assert_int_equal(in(0xbfff, 1), 0xff);
        assert_int_equal(hv_device_destroy(probe->device), HV_OK);
        assert_int_equal(in(0xc000, 1), 0xff);
    }
}

/* What starts inside and goes past the end: ones there, and the device sees the part that is its own. */
static void test_past_the_end(void **state)
{
    (void)state;
    probe->read_fill = 0x11;
    make(probe, 4);
    enable(probe, PCI_COMMAND_IO);
    assert_int_equal(in(0xc003, 4), 0xffffff11);
    assert_int_equal(probe->last_offset, 3);
    assert_int_equal(probe->last_length, 1);
    assert_int_equal(in(0xc003, 2), 0xff11);
    assert_int_equal(in(0xc002, 4), 0xffff1111);
    assert_int_equal(probe->reads, 3);
    assert_int_equal(in(0xc001, 4), 0xff111111); /* 2 and 1 */
    assert_int_equal(probe->reads, 5);
    assert_int_equal(probe->last_offset, 3);
    out(0xc001, 4, 0xddccbbaa);
    assert_int_equal(probe->writes, 2);
    assert_int_equal(probe->last_offset, 3);
    assert_int_equal(probe->last_value, 0xcc);
    /* Its own, but not aligned: whole. */
    in(0xc001, 2);
    assert_int_equal(probe->last_length, 2);
    assert_int_equal(probe->last_offset, 1);
    /* What starts in front of it is not its. */
    assert_int_equal(in(0xbffe, 4), UINT32_MAX);
}

static void test_failures(void **state)
{
    (void)state;
    probe->read_fill = 0x11;
    make(probe, 8);
    enable(probe, PCI_COMMAND_IO);
    probe->access = HV_E_TIMEOUT;
    assert_int_equal(in(0xc004, 4), UINT32_MAX);
    out(0xc004, 2, 0);
    assert_int_equal(probe->device->bar[HV_BAR1].callback_failures, 2);
    assert_int_equal(probe->device->bar[HV_BAR1].trapped_reads, 1);
    assert_int_equal(probe->device->bar[HV_BAR1].trapped_writes, 1);
    assert_string_equal(fake_log_last, "pci: device 00:01.0 BAR1 write of 2 bytes at 0x4 failed: "
                                       "HV_E_TIMEOUT\n");
}

/* ---- the register ---- */

static void test_moves(void **state)
{
    (void)state;
    probe->read_fill = 0x22;
    make(probe, 16);
    enable(probe, PCI_COMMAND_IO);
    for (uint32_t base = 0x1000; base < 0x10000; base += 0x3ff0) {
        move_bar(probe, HV_BAR1, base | 0xe); /* size bits do not stay, and decode is on */
        assert_int_equal(config_read(1, PCI_CFG_BAR0 + 4, 4), base | 1);
        assert_int_equal(in(base + 15, 1), 0x22);
        assert_int_equal(in(base - 1, 1), 0xff);
        assert_int_equal(in(base + 16, 1), 0xff);
        assert_int_equal(world.vm.port_count, ports + 1);
    }
    assert_int_equal(in(0xc000, 1), 0xff);
    enable(probe, 0);
    assert_int_equal(world.vm.port_count, ports);
    move_bar(probe, HV_BAR1, 0x2000);
    assert_int_equal(in(0x2000, 1), 0xff);
    enable(probe, PCI_COMMAND_IO);
    assert_int_equal(in(0x2000, 1), 0x22);
}

/* All 32 bits can be written where the mask has them: above the ports nothing decodes. Else they stay 0. */
static void test_upper_half(void **state)
{
    (void)state;
    make(probe, 32);
    enable(probe, PCI_COMMAND_IO);
    move_bar(probe, HV_BAR1, 0xffffffff);
    assert_int_equal(config_read(1, PCI_CFG_BAR0 + 4, 4), 0xffffffe1);
    assert_int_equal(world.vm.port_count, ports);
    move_bar(probe, HV_BAR1, 0x1c000);
    assert_int_equal(in(0xc000, 1), 0xff);
    move_bar(probe, HV_BAR1, 0xffe0); /* the last there are */
    assert_int_equal(in(0xffff, 4) & 0xff, 0);
    second->probed[HV_BAR1] = 0xffe1;
    probe_create(second);
    move_bar(second, HV_BAR1, 0xffffffff);
    assert_int_equal(config_read(2, PCI_CFG_BAR0 + 4, 4), 0xffe1);
    move_bar(second, HV_BAR1, 0xabcd2000);
    assert_int_equal(config_read(2, PCI_CFG_BAR0 + 4, 4), 0x2001);
}

/* Port 0 is where a BAR is that was put nowhere. */
static void test_port_0(void **state)
{
    (void)state;
    make(probe, 4);
    enable(probe, PCI_COMMAND_IO);
    move_bar(probe, HV_BAR1, 0);
    assert_int_equal(in(0, 1), 0xff);
    assert_int_equal(probe->reads, 0);
    assert_int_equal(world.vm.port_count, ports);
    move_bar(probe, HV_BAR1, 4);
    assert_int_equal(in(4, 1), 0);
    assert_int_equal(probe->reads, 1);
}

/* ---- others ---- */

static void test_overlaps(void **state)
{
    (void)state;
    probe->read_fill = 0x11;
    second->read_fill = 0x22;
    make(probe, 16);
    make(second, 16);
    assert_int_equal(home(second), 0xc010);
    enable(probe, PCI_COMMAND_IO);
    enable(second, PCI_COMMAND_IO);
    move_bar(second, HV_BAR1, 0xc000); /* the first there keeps it */
    assert_int_equal(in(0xc008, 1), 0x11);
    assert_int_equal(in(0xc010, 1), 0xff);
    move_bar(probe, HV_BAR1, 0xd000); /* and the other comes when it goes */
    assert_int_equal(in(0xc008, 1), 0x22);
    assert_int_equal(in(0xd008, 1), 0x11);
    move_bar(probe, HV_BAR1, 0xc000);
    assert_int_equal(in(0xc008, 1), 0x22);
    assert_int_equal(hv_device_destroy(second->device), HV_OK);
    assert_int_equal(in(0xc008, 1), 0x11);
    /* Over the ports of config space: they win, and config space goes on. */
    move_bar(probe, HV_BAR1, PORTS_OF_BUS & ~0xfu);
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
    assert_int_equal(world.vm.port_count, ports);
    /* Guest RAM is of no matter to ports. */
    move_bar(probe, HV_BAR1, 0x1000);
    assert_int_equal(in(0x1000, 1), 0x11);
}

static uint32_t nobody_in(void *owner, uint16_t offset, unsigned bytes)
{
    (void)owner;
    (void)offset;
    (void)bytes;
    return 0;
}

/* A full table: the BAR waits, and comes when there is room again. */
static void test_full_table(void **state)
{
    struct vm_port other = {.count = 1, .in = nobody_in};

    (void)state;
    probe->read_fill = 0x11;
    make(probe, 16);
    while (world.vm.port_count < VM_MAX_PORTS) {
        other.first = (uint16_t)(0x4000 + world.vm.port_count);
        assert_int_equal(vm_port_register(&world.vm, &other), HV_OK);
    }
    enable(probe, PCI_COMMAND_IO);
    assert_int_equal(in(0xc000, 1), 0xff);
    assert_string_equal(fake_log_last, "pci: 00:01.0 BAR1 stays inactive at 0xc000: HV_E_QUOTA\n");
    while (world.vm.port_count > ports)
        vm_port_unregister(&world.vm, world.vm.port[ports].first);
    move_bar(probe, HV_BAR1, 0xc000);
    assert_int_equal(in(0xc000, 1), 0x11);
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(test_widths),     TEST(test_past_the_end), TEST(test_failures), TEST(test_moves),
        TEST(test_upper_half), TEST(test_port_0),       TEST(test_overlaps), TEST(test_full_table),
    };

    return cmocka_run_group_tests_name("iobar", tests, NULL, NULL);
}
