/* Places on the bus, byte enables, turns, reset, and devices that come and go. */
#include "tests/unit/pci_world.h"

#include <pthread.h>
#include <string.h>

#include "hv/pci/config.h"

#define MULTI                    0x800000u
#define OWN                      0x80u
#define FUNCTION(slot, function) (PCI_ECAM_BASE + (slot)*0x8000ull + (function)*0x1000ull)

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];
static struct probe *const third = &world.probe[2];

static uint32_t header(unsigned slot, unsigned function)
{
    return pci_config_read(world.host, slot, function, PCI_CFG_HEADER_TYPE);
}

/* ---- places ---- */

static void test_places(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 16);
    probe_bar32(second, HV_BAR0, 16);
    probe_bar32(third, HV_BAR0, 16);
    assert_int_equal(probe_create_at(probe, 0, 1), HV_E_INVALID_PARAMETER_2); /* the bridge's */
    assert_int_equal(probe_create_at(probe, 32, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(probe_create_at(probe, 5, 8), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(probe_create_at(probe, HV_SLOT_ANY, 1), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(probe_create_at(probe, 31, 7), HV_OK);
    assert_int_equal(probe->device->slot, 31);
    assert_int_equal(probe->device->function, 7);
    assert_int_equal(probe_create_at(second, 31, 7), HV_E_ALREADY_EXISTS);
    assert_int_equal(probe_create_at(second, 1, 3), HV_OK);
    assert_int_equal(probe_try_create(third), HV_OK); /* not into a slot that has something */
    assert_int_equal(third->device->slot, 2);
    assert_int_equal(third->device->function, 0);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
        for (unsigned function = 0; function < PCI_SLOT_FUNCTIONS; function++) {
            bool is_there = (slot == 31 && function == 7) || (slot == 1 && function == 3) ||
                            (slot == 2 && function == 0);
            uint32_t id = is_there ? 0x56781234 : UINT32_MAX;

            assert_int_equal(pci_config_read(world.host, slot, function, 0), id);
            assert_int_equal(fake_vm_read(&world.vm, FUNCTION(slot, function), 4), id);
        }
    assert_int_equal(pci_config_read(world.host, 0, 1, 0), UINT32_MAX);
    assert_int_equal(pci_config_read(world.host, 32, 0, 0), UINT32_MAX);
    assert_int_equal(pci_config_read(world.host, 2, 8, 0), UINT32_MAX);
}

/* Function 0 alone tells that there are others, for as long as there are. */
static void test_multi_function(void **state)
{
    (void)state;
    assert_int_equal(probe_create_at(probe, 4, 0), HV_OK);
    assert_int_equal(header(4, 0), 0);
    assert_int_equal(probe_create_at(second, 4, 7), HV_OK);
    assert_int_equal(header(4, 0), MULTI);
    assert_int_equal(header(4, 7), 0);
    assert_int_equal(probe_create_at(third, 5, 0), HV_OK);
    assert_int_equal(header(5, 0), 0);
    /* Each has its own registers. */
    pci_config_write(world.host, 4, 7, PCI_CFG_COMMAND, PCI_COMMAND_BUS_MASTER, 3);
    assert_int_equal(pci_config_read(world.host, 4, 0, PCI_CFG_COMMAND) & 0xffff, 0);
    assert_int_equal(pci_config_read(world.host, 4, 7, PCI_CFG_COMMAND) & 0xffff,
                     PCI_COMMAND_BUS_MASTER);
    assert_int_equal(hv_device_destroy(second->device), HV_OK);
    assert_int_equal(header(4, 0), 0);
    assert_int_equal(pci_config_read(world.host, 4, 7, 0), UINT32_MAX);
}

/* ---- writes to config space ---- */

static struct {
    unsigned calls;
    uint32_t offset, value;
    uint8_t byte_enable;
} bytes_seen;

static hv_status_t on_bytes(void *context, uint32_t offset, uint32_t value, uint8_t byte_enable)
{
    (void)context;
    bytes_seen.calls++;
    bytes_seen.offset = offset;
    bytes_seen.value = value;
    bytes_seen.byte_enable = byte_enable;
    return HV_E_BUSY; /* nobody's affair */
}

static struct hv_device *create_with(const struct hv_device_ops *ops)
{
    static const struct hv_guid id = {{9}};
    struct hv_device *device;

    probe_bar32(probe, HV_BAR0, 256);
    assert_int_equal(
        hv_device_create(world.host, HV_DEVICE_PCI, &id, &id, ops, probe, 0, NULL, &device), HV_OK);
    return device;
}

static void test_byte_enables(void **state)
{
    static struct hv_device_ops ops; /* used in tear-down too */

    (void)state;
    ops = probe_ops;
    ops.write_config_bytes = on_bytes;
    ops.write_config_space = NULL;
    create_with(&ops);
    config_write(1, OWN, 4, 0x11223344);
    assert_int_equal(bytes_seen.byte_enable, 0xf);
    assert_int_equal(bytes_seen.value, 0x11223344);
    config_write(1, OWN + 1, 1, 0xffffffab);
    assert_int_equal(bytes_seen.offset, OWN);
    assert_int_equal(bytes_seen.byte_enable, 2);
    assert_int_equal(bytes_seen.value, 0xab00); /* and nothing merged */
    config_write(1, OWN + 2, 2, 0xcdef);
    assert_int_equal(bytes_seen.byte_enable, 0xc);
    assert_int_equal(bytes_seen.value, 0xcdef0000);
    config_write(1, OWN + 3, 2, 0x1234); /* past the dword */
    assert_int_equal(bytes_seen.byte_enable, 8);
    assert_int_equal(bytes_seen.value, 0x34000000);
    fake_vm_write(&world.vm, FUNCTION(1ull, 0) + OWN + 2, 1, 0x77);
    assert_int_equal(bytes_seen.byte_enable, 4);
    assert_int_equal(bytes_seen.value, 0x770000);
    assert_int_equal(bytes_seen.calls, 5);
    assert_int_equal(probe->config_reads, 1); /* the capability pointer: a write reads nothing */
    /* It is told of the core's own, behind their effect. */
    config_write(1, PCI_CFG_COMMAND, 1, PCI_COMMAND_MEMORY);
    assert_int_equal(bytes_seen.calls, 6);
    assert_int_equal(bytes_seen.offset, PCI_CFG_COMMAND);
    assert_int_equal(bytes_seen.byte_enable, 1);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), PCI_COMMAND_MEMORY);
}

/* Version 1 has no such member: what lies behind its structure is not looked at. */
static void test_version_1(void **state)
{
    static struct hv_device_ops ops; /* used in tear-down too */

    (void)state;
    ops = probe_ops;
    ops.version = 1;
    ops.write_config_bytes = on_bytes;
    ops.reset = (void (*)(void *))(uintptr_t)1;
    memset(&bytes_seen, 0, sizeof(bytes_seen));
    probe->device = create_with(&ops);
    config_write(1, 0x40, 4, 0x11223344);
    config_write(1, 0x42, 1, 0xab);
    assert_int_equal(probe->config_value, 0x11ab3344); /* merged */
    assert_int_equal(bytes_seen.calls, 0);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(probe->config_offset, PCI_CFG_COMMAND);
    hv_device_host_reset(world.host);
}

static void test_versions(void **state)
{
    static const struct hv_guid id = {{9}};
    static struct hv_device_ops ops; /* used in tear-down too */
    struct hv_device *device;

    (void)state;
    ops = probe_ops;
    ops.write_config_space = NULL;
    for (uint32_t version = 0; version < 4; version++) {
        ops.version = version;
        assert_int_equal(
            hv_device_create(world.host, HV_DEVICE_PCI, &id, &id, &ops, probe, 0, NULL, &device),
            version == 0 || version == 3 ? HV_E_NOT_SUPPORTED : HV_E_INVALID_PARAMETER_5);
    }
    ops.version = 1;
    ops.write_config_bytes = on_bytes; /* which version 1 does not have */
    assert_int_equal(
        hv_device_create(world.host, HV_DEVICE_PCI, &id, &id, &ops, probe, 0, NULL, &device),
        HV_E_INVALID_PARAMETER_5);
}

/* ---- turns ---- */

#define ROUNDS 2000u

static struct {
    unsigned inside, most, nested;
} turns;

static void watch_turns(struct probe *p)
{
    unsigned inside = __atomic_add_fetch(&turns.inside, 1, __ATOMIC_SEQ_CST);

    (void)p;
    turns.most = MAX(turns.most, inside);
    for (volatile unsigned i = 0; i < 200; i++)
        ;
    __atomic_sub_fetch(&turns.inside, 1, __ATOMIC_SEQ_CST);
}

static void *write_much(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        bar_write(&probe->device->bar[HV_BAR0], 0, 4, i);
    return NULL;
}

static unsigned most_at_once(void)
{
    pthread_t thread[2];

    memset(&turns, 0, sizeof(turns));
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_much, NULL), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    return turns.most;
}

/* A callback that brings another access on the same CPU does not wait for itself. */
static void write_again(struct probe *p)
{
    if (turns.nested++ < 3)
        bar_write(&p->device->bar[HV_BAR0], 0, 4, 0);
    if (turns.nested == 4)
        config_write(p->device->slot, OWN, 4, 0);
}

static void test_turns(void **state)
{
    (void)state;
    hv_device_host_destroy(world.host);
    assert_int_equal(hv_device_host_create(&world.vm, HV_HOST_SERIALIZE, &world.host), HV_OK);
    probe_create(probe);
    decode(probe, true);
    probe->in_write = watch_turns;
    assert_int_equal(most_at_once(), 1);
    assert_int_equal(probe->writes, 2 * ROUNDS);
    memset(&turns, 0, sizeof(turns));
    probe->in_write = write_again;
    bar_write(&probe->device->bar[HV_BAR0], 0, 4, 0);
    assert_int_equal(turns.nested, 5 - 1);
    assert_false(lock_is_held(&probe->device->turn));
    assert_int_equal(probe->device->accesses, 0);
}

/* ---- reset ---- */

static void in_reset(struct probe *p)
{
    assert_int_equal(p->device->command, 0);
    assert_int_equal(bar_base(p, HV_BAR0), 0);
    assert_false(p->device->bar[HV_BAR0].live);
}

static void test_device_reset(void **state)
{
    hv_handle_t section;
    uint64_t home;

    (void)state;
    probe->probed[HV_BAR_ROM] = 0xfffff800;
    probe_bar32(probe, HV_BAR0, 256);
    probe_bar64(probe, HV_BAR2, MIB(8));
    probe_create(probe);
    probe->in_reset = in_reset;
    section = make_section(1, HV_PAGE_READWRITE, 0);
    assert_int_equal(
        hv_mmio_range_create(probe->device, HV_BAR2, 3, 1, HV_MMIO_WRITEABLE, section, 0), HV_OK);
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR2, BIT(3) | BIT(4)), HV_OK);
    fake_vm_write(&world.vm, FUNCTION(1ull, 0) + 0x108, 4, 4 << 8);
    assert_int_equal(probe->device->bar[HV_BAR2].bytes, MIB(16));
    home = bar_base(probe, HV_BAR0);
    config_write(1, PCI_CFG_ROM, 4, 0xc0800001);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    assert_ptr_equal(who_answers(home), probe);

    device_enter(probe->device);
    device_reset(probe->device);
    device_leave(probe->device);
    assert_int_equal(probe->resets, 1);
    assert_null(who_answers(home));
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
    assert_int_equal(config_read(1, PCI_CFG_ROM, 4), 0);
    assert_int_equal(config_read(1, PCI_CFG_BAR0, 4), 0);
    assert_int_equal(config_read(1, PCI_CFG_BAR0 + 8, 4), 0xc);
    assert_int_equal(probe->device->bar[HV_BAR2].bytes, MIB(8));
    /* The guest puts back what it saved; the range is where it was in the BAR. */
    move_bar(probe, HV_BAR0, home);
    move_bar(probe, HV_BAR2, GIB(20ull));
    decode(probe, true);
    assert_ptr_equal(who_answers(home), probe);
    assert_int_equal(fake_vm_read(&world.vm, GIB(20ull) + 3 * PAGE_BYTES, 8), section_word(0, 0));
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* Nothing assigns addresses behind a reset of the VM but us. */
static void test_host_reset(void **state)
{
    uint64_t home[2];

    (void)state;
    probe_create(probe);
    probe_create(second);
    home[0] = bar_base(probe, HV_BAR0);
    home[1] = bar_base(second, HV_BAR2);
    fake_vm_out(&world.vm, 0xcf8, 4, 0x80000800);
    move_bar(probe, HV_BAR0, 0xd0000000);
    move_bar(second, HV_BAR2, GIB(30ull));
    decode(probe, true);
    decode(second, true);
    hv_device_host_reset(world.host);
    assert_int_equal(probe->resets + second->resets, 2);
    assert_int_equal(fake_vm_in(&world.vm, 0xcf8, 4), 0);
    assert_int_equal(bar_base(probe, HV_BAR0), home[0]);
    assert_int_equal(bar_base(second, HV_BAR2), home[1]);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
    assert_int_equal(probe->device->accesses, 0);
    decode(second, true);
    assert_ptr_equal(who_answers(home[1]), second);
}

/* ---- devices that come and go ---- */

static void destroy_self(struct probe *p)
{
    assert_int_equal(hv_device_destroy(p->device), HV_E_DEADLOCK);
}

/* In `stop` the guest sees nothing of it any more. */
static void look_from_stop(struct probe *p)
{
    assert_int_equal(pci_config_read(world.host, p->device->slot, 0, 0), UINT32_MAX);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
}

static void test_come_and_go(void **state)
{
    uint64_t base;

    (void)state;
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    probe_create(probe);
    assert_int_equal(probe->started, 1); /* the VM runs */
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), 0);
    base = bar_base(probe, HV_BAR2);
    for (unsigned round = 0; round < 3; round++) {
        decode(probe, true);
        assert_ptr_equal(who_answers(base), probe);
        probe->in_write = destroy_self;
        fake_vm_write(&world.vm, base, 4, 0);
        probe->in_stop = look_from_stop;
        assert_int_equal(hv_device_destroy(probe->device), HV_OK);
        assert_int_equal(probe->stopped, round + 1);
        assert_int_equal(config_read(1, PCI_CFG_ID, 4), UINT32_MAX);
        assert_null(who_answers(base));
        assert_int_equal(fake_vm_way, FAKE_NOBODY);
        probe_create(probe); /* in the same place, and at the same address */
        assert_int_equal(bar_base(probe, HV_BAR2), base);
    }
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(test_places),       TEST(test_multi_function), TEST(test_byte_enables),
        TEST(test_version_1),    TEST(test_versions),       TEST(test_turns),
        TEST(test_device_reset), TEST(test_host_reset),     TEST(test_come_and_go),
    };

    return cmocka_run_group_tests_name("functions", tests, NULL, NULL);
}
