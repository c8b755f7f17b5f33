/* drivers/virtual/template.c: what docs/first-device.md promises of it. */
#include "tests/unit/device_kit.h"

static void template(void **state)
{
    struct hv_device *device;

    (void)state;
    assert_int_equal(try_add("template", "x", &device), HV_E_INVALID_PARAMETER);
    device = add("template", NULL);
    assert_int_equal(config_read(device->slot, 0, 4), 0x1ab21d1d);
    assert_int_equal(config_read(device->slot, 8, 4), 0xff000000);
    assert_int_equal(probe_size(device, HV_BAR0), 0xffffe000);
    enable_msi(device, 0x30);
    assert_int_equal(get(device, HV_BAR0, 0, 4), 0);
    put(device, HV_BAR0, 0, 4, 0x12345678);
    assert_int_equal(get(device, HV_BAR0, 0, 4), 0x12345678);
    assert_int_equal(messages(), 1);
    assert_int_equal(fake_apic_message[0].data, 0x30);
    put(device, HV_BAR0, 0, 4, 0x12345678); /* the same again is a write again */
    assert_int_equal(messages(), 1);
    for (uint64_t offset = 0; offset < PAGE_BYTES; offset++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
            if (offset % bytes != 0 || (bytes == 4 && offset == 0))
                continue;
            assert_int_equal(get(device, HV_BAR0, offset, bytes), ~0ull >> (64 - 8 * bytes));
            put(device, HV_BAR0, offset, bytes, 1);
        }
    assert_int_equal(get(device, HV_BAR0, 0, 4), 0x12345678);
    assert_int_equal(messages(), 0);

    for (uint64_t offset = 0; offset < PAGE_BYTES; offset += 8) {
        assert_int_equal(get(device, HV_BAR0, PAGE_BYTES + offset, 8), 0);
        put(device, HV_BAR0, PAGE_BYTES + offset, 8, offset);
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
        assert_int_equal(get(device, HV_BAR0, PAGE_BYTES + offset, 8), offset);
    }
}

/* What came with the first start and stays, what goes and comes again. */
static void started_again(void **state)
{
    struct hv_device *device = add("template", NULL);

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        device->ops->stop(device->context);
        device->state = HV_DEVICE_STOPPED;
        assert_int_equal(device->range_count, 0);
        assert_int_equal(hv_device_host_start(device->host), HV_OK);
        assert_int_equal(device->range_count, 1);
    }
    enable_msi(device, 0x30);
    put(device, HV_BAR0, 0, 4, 1);
    assert_int_equal(messages(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(template, kit_open, world_close),
        cmocka_unit_test_setup_teardown(started_again, kit_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
