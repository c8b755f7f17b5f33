/* hv/pci/device.c, report.c: hosts, devices and their lives; what the console shows of them. */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "hv/pci/config.h"
#include "tests/fake/slab.h"

#define MEM64 0x400000000ull

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];
static struct probe *const third = &world.probe[2];

/* ---- devices ---- */

static void test_create_statuses(void **state)
{
    static const struct hv_guid id = {{9}};
    static const char *const strings[] = {"x"};
    static const struct hv_device_ops no_ops = {.version = HV_DEVICE_OPS_VERSION};
    static const struct hv_device_ops old_ops = {.version = HV_DEVICE_OPS_VERSION + 1};
    struct hv_device_host *other;
    struct hv_device_ops ops;
    struct hv_device *device;
    uint64_t records;

    (void)state;
    probe_create(probe);
    ops = *probe->device->ops;
    records = fake_slab_live();
#define CREATE(host, type, class_id, instance, o, strs, out) \
    hv_device_create(host, type, class_id, instance, o, probe, 1, strs, out)
    assert_int_equal(CREATE(NULL, HV_DEVICE_PCI, &id, &id, &ops, strings, &device),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(
        CREATE((struct hv_device_host *)0x1000, HV_DEVICE_PCI, &id, &id, &ops, strings, &device),
        HV_E_INVALID_HANDLE);
    assert_int_equal(CREATE(world.host, HV_DEVICE_UNDEFINED, &id, &id, &ops, strings, &device),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, NULL, &id, &ops, strings, &device),
                     HV_E_INVALID_PARAMETER_3);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, NULL, &ops, strings, &device),
                     HV_E_INVALID_PARAMETER_4);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, &id, NULL, strings, &device),
                     HV_E_INVALID_PARAMETER_5);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, &id, &no_ops, strings, &device),
                     HV_E_INVALID_PARAMETER_5);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, &id, &old_ops, strings, &device),
                     HV_E_NOT_SUPPORTED);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, &id, &ops, NULL, &device),
                     HV_E_INVALID_PARAMETER_8);
    assert_int_equal(CREATE(world.host, HV_DEVICE_PCI, &id, &id, &ops, strings, NULL),
                     HV_E_INVALID_PARAMETER_9);
#undef CREATE
    for (unsigned i = 0; i < 10; i++) {
        struct hv_device_ops torn = ops;

        ((void **)&torn.initialize)[i] = NULL;
        assert_int_equal(
            hv_device_create(world.host, HV_DEVICE_PCI, &id, &id, &torn, probe, 0, NULL, &device),
            HV_E_INVALID_PARAMETER_5);
    }
    assert_int_equal(probe_try_create(probe), HV_E_ALREADY_EXISTS);
    fake_slab_fail(1);
    assert_int_equal(probe_try_create(second), HV_E_NO_MEMORY);
    assert_int_equal(hv_device_host_create(&world.vm, 0, &other), HV_E_ALREADY_EXISTS);
    assert_int_equal(hv_device_host_create(&world.vm, 8, &other), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_device_host_create(NULL, 0, &other), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_device_host_create(&world.vm, 0, NULL), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(fake_slab_live(), records);
    assert_int_equal(probe->initialized, 1);
}

static void test_slots_run_out(void **state)
{
    static const struct hv_guid class_id = {{1}};
    struct hv_device *device;

    (void)state;
    probe_create(probe);
    for (uint8_t i = 0; i < PCI_SLOTS - 2; i++) {
        struct hv_guid id = {{0x77, i}};

        assert_int_equal(hv_device_create(world.host, HV_DEVICE_PCI, &class_id, &id,
                                          probe->device->ops, probe, 0, NULL, &device),
                         HV_OK);
    }
    assert_int_equal(device->slot, PCI_SLOTS - 1);
    assert_int_equal(probe_try_create(second), HV_E_QUOTA);
}

static void test_failing_callbacks(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 16);
    probe->initialize = HV_E_TIMEOUT;
    assert_int_equal(probe_try_create(probe), HV_E_TIMEOUT);
    assert_null(probe->device);
    assert_int_equal(probe->torn_down, 0); /* not torn down when power-on failed at once */
    probe->initialize = HV_OK;
    probe->configure = HV_E_NOT_FOUND;
    assert_int_equal(probe_try_create(probe), HV_E_NOT_FOUND);
    assert_int_equal(probe->torn_down, 1);
    probe->configure = HV_OK;
    probe->details = HV_E_BUSY;
    assert_int_equal(probe_try_create(probe), HV_E_BUSY);
    assert_int_equal(probe->torn_down, 2);
    probe->details = HV_OK;
    assert_int_equal(probe_try_create(probe), HV_OK);
    assert_int_equal(probe->string_count, 2);
    assert_int_equal(probe->device->state, HV_DEVICE_CONFIGURED);
    assert_int_equal(probe->stopped, 0);
}

static void test_life_cycle(void **state)
{
    (void)state;
    probe_create(probe);
    probe_create(second);
    second->start = HV_E_NO_MEMORY;
    assert_int_equal(hv_device_host_start(world.host), HV_E_NO_MEMORY);
    assert_int_equal(probe->started, 1);
    assert_int_equal(probe->stopped, 1);
    assert_int_equal(second->stopped, 0);
    assert_int_equal(probe->device->state, HV_DEVICE_STOPPED);
    second->start = HV_OK;
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    assert_int_equal(probe->started, 2);
    assert_int_equal(second->device->state, HV_DEVICE_STARTED);
    /* Hot-add runs to the end at once. */
    probe_create(third);
    assert_int_equal(third->started, 1);
    assert_int_equal(third->device->state, HV_DEVICE_STARTED);
    assert_int_equal(hv_device_destroy(third->device), HV_OK);
    assert_int_equal(third->stopped, 1);
    third->start = HV_E_QUOTA;
    assert_int_equal(probe_try_create(third), HV_E_QUOTA);
    assert_int_equal(third->stopped, 1);
    assert_int_equal(third->torn_down, 2);
    assert_int_equal(hv_device_destroy(NULL), HV_E_INVALID_HANDLE);
}

static void destroy_self(struct probe *self)
{
    assert_int_equal(hv_device_destroy(self->device), HV_E_INVALID_STATE);
}

static void test_destroy_in_teardown(void **state)
{
    (void)state;
    probe_create(probe);
    probe->in_teardown = destroy_self;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(probe->torn_down, 1);
}

static void test_no_host(void **state)
{
    (void)state;
    hv_device_host_destroy(world.host);
    assert_int_equal(config_read(0, PCI_CFG_ID, 4), 0xffffffff);
    config_write(0, PCI_CFG_ID, 4, 1);
    assert_int_equal(fake_vm_in(&world.vm, 0xcf8, 4), 0xffffffff);
    assert_int_equal(hv_device_host_create(&world.vm, 0, &world.host), HV_OK);
    assert_int_equal(config_read(0, PCI_CFG_ID, 4), 0x00011d1d);
}

/* ---- reports ---- */

static void test_report_lines(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_bar64(probe, HV_BAR2, MIB(4));
    probe_create(probe);
    assert_int_equal(hv_section_create(&section, HV_SECTION_MAP_READ | HV_SECTION_MAP_EXECUTE,
                                       "a.rather.long.name.of.a.section", MIB(2),
                                       HV_PAGE_EXECUTE_READWRITE, HV_SEC_COMMIT, NULL),
                     HV_OK);
    assert_int_equal(hv_mmio_range_create(
                         probe->device, HV_BAR2, 1000, 24,
                         HV_MMIO_EXECUTABLE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_MT_UC, section, 2),
                     HV_OK);
    decode(probe, true);
    pci_print_bars(world.host);
    assert_string_equal(fake_log_last, "pci: 00:01.0 BAR2 pages 0x03e8-0x03ff -> "
                                       "a.rather.long.na+0x2 R-X UC ipat 4K x24 live\n");
    assert_true(strlen(fake_log_last) <= 101);
    fake_vm_read(&world.vm, MEM64, 4);
    pci_print_stats(world.host);
    assert_string_equal(
        fake_log_last,
        "pci: 00:01.0 BAR2 24 direct pages, 1 trapped reads, 0 writes, 0 failed, 0 rung\n");
    hv_handle_close(section);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_statuses), TEST(test_slots_run_out),       TEST(test_failing_callbacks),
        TEST(test_life_cycle),      TEST(test_destroy_in_teardown), TEST(test_no_host),
        TEST(test_report_lines),
    };

    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
