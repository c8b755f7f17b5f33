/* hv/pci/capability.c: the list that a guest walks, who owns its dwords, and the calls' checks. */
#include "tests/unit/pci_world.h"

#include "hv/pci/capability.h"
#include "tests/fake/slab.h"
#include "tests/unit/cap_kit.h"

static struct probe *const probe = &world.probe[0];

/* What a guest finds by following the pointers, as it would on any machine. */
struct walk {
    unsigned count;
    uint8_t id[16], at[16];
};

static struct walk walk_list(void)
{
    struct walk walk = {0};
    uint32_t at;

    if (!(config_read(1, 6, 2) & PCI_STATUS_CAPABILITIES))
        return walk;
    for (at = config_read(1, 0x34, 1) & 0xfc; at != 0; at = config_read(1, at + 1, 1) & 0xfc) {
        assert_in_range(at, 0x40, 0xfc);
        assert_in_range(walk.count, 0, 15); /* else it goes round in circles */
        walk.at[walk.count] = (uint8_t)at;
        walk.id[walk.count++] = (uint8_t)config_read(1, at, 1);
    }
    return walk;
}

static unsigned bytes_of(uint8_t id)
{
    switch (id) {
    case 0x01:
        return 8;
    case 0x05:
        return 24;
    case 0x11:
        return 12;
    case 0x10:
        return 60;
    default:
        return 4;
    }
}

static const uint8_t kinds[] = {OFFER_POWER, OFFER_MSI, OFFER_MSIX, OFFER_EXPRESS};
static const uint8_t ids[] = {0x01, 0x05, 0x11, 0x10};

/* Every set of them, with a list of the device's own and without. */
static void test_list(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 16; set++)
        for (unsigned own = 0; own < 2; own++) {
            struct walk walk;
            unsigned n = 0, end = 0x40;

            probe->caps_pointer = own ? 0xb0 : 0;
            cap_create(probe, set);
            walk = walk_list();
            for (unsigned i = 0; i < 4; i++)
                if (set & kinds[i]) {
                    assert_int_equal(walk.id[n], ids[i]);
                    assert_int_equal(walk.at[n], end);
                    end += bytes_of(ids[i]);
                    n++;
                }
            if (own)
                assert_int_equal(walk.at[n++], 0xb0);
            assert_int_equal(walk.count, n);
            /* The device hears of its own dwords only. */
            probe->config_reads = 0;
            for (uint32_t at = 0x40; at < 0x100; at += 4)
                config_read(1, at, 4);
            assert_int_equal(probe->config_reads, (0x100 - end) / 4);
            cap_destroy(probe);
        }
}

/* The order is the calls'. */
static void test_order(void **state)
{
    struct walk walk;

    (void)state;
    cap_create(probe, 0);
    cap_stop(probe);
    assert_int_equal(hv_express_offer(probe->device), HV_OK);
    assert_int_equal(hv_msi_offer(probe->device, 1), HV_OK);
    assert_int_equal(hv_power_offer(probe->device), HV_OK);
    walk = walk_list();
    assert_int_equal(walk.count, 3);
    assert_int_equal(walk.id[0], 0x10);
    assert_int_equal(walk.id[1], 0x05);
    assert_int_equal(walk.id[2], 0x01);
}

/* A device whose own pointer leads into the core's list: the walk comes to an end. */
static void test_own_pointer_into_the_list(void **state)
{
    (void)state;
    for (uint32_t pointer = 1; pointer < 0x100; pointer++) {
        probe->caps_pointer = pointer;
        cap_create(probe, OFFER_ALL);
        assert_int_equal(walk_list().count, (pointer & 0xfc) >= 0xa8 ? 5 : 4);
        cap_destroy(probe);
    }
}

/* From set_configuration on, before the details are known, and STATUS has it in the end. */
static void offer_power(struct probe *p)
{
    assert_int_equal(hv_power_offer(p->device), HV_OK);
    assert_int_equal(hv_msix_offer(p->device, HV_BAR0, 0, 0x800, 1), HV_E_NO_SUCH_BAR);
}

static void offer_nothing(struct probe *p)
{
    assert_int_equal(hv_power_offer(p->device), HV_E_INVALID_STATE);
    assert_int_equal(hv_msi_offer(p->device, 1), HV_E_INVALID_STATE);
    assert_int_equal(hv_msix_offer(p->device, HV_BAR0, 0, 0x800, 1), HV_E_INVALID_STATE);
    assert_int_equal(hv_express_offer(p->device), HV_E_INVALID_STATE);
}

static void test_when(void **state)
{
    (void)state;
    probe->in_initialize = offer_nothing;
    probe->in_configure = offer_power;
    probe->in_teardown = offer_nothing;
    probe_create(probe);
    assert_int_equal(config_read(1, 6, 2), PCI_STATUS_CAPABILITIES);
    assert_int_equal(walk_list().count, 1);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    offer_nothing(probe);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(hv_power_offer(probe->device), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_msi_offer(NULL, 1), HV_E_INVALID_HANDLE);
}

static void test_twice(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    cap_stop(probe);
    assert_int_equal(hv_power_offer(probe->device), HV_E_ALREADY_EXISTS);
    assert_int_equal(hv_msi_offer(probe->device, 1), HV_E_ALREADY_EXISTS);
    assert_int_equal(hv_msix_offer(probe->device, HV_BAR0, 0, 0x800, 1), HV_E_ALREADY_EXISTS);
    assert_int_equal(hv_express_offer(probe->device), HV_E_ALREADY_EXISTS);
    assert_int_equal(walk_list().count, 4);
}

/* No record: nothing is offered, and nothing stays behind. */
static void test_no_memory(void **state)
{
    (void)state;
    cap_create(probe, 0);
    cap_stop(probe);
    fake_slab_fail(1);
    assert_int_equal(hv_power_offer(probe->device), HV_E_NO_MEMORY);
    fake_slab_fail(1);
    assert_int_equal(hv_msix_offer(probe->device, HV_BAR2, 0, 0x8000, 2048), HV_E_NO_MEMORY);
    fake_slab_fail(0);
    assert_int_equal(config_read(1, 6, 2), 0);
    assert_int_equal(hv_power_offer(probe->device), HV_OK);
}

/*
 * Which bits a guest can change, dword by dword: all ones, then all zeros, and the same a byte at a time. The reset bit is
 * left out: test_power.c.
 */
static void test_writable_bits(void **state)
{
    static const struct {
        uint8_t at;
        uint32_t fixed, writable;
    } dwords[] = {
        {0x44, 0x8, 0x3},      {0x48, 0x018a6005, 0x00710000},
        {0x4c, 0, 0xfffffffc}, {0x50, 0, 0xffffffff},
        {0x54, 0, 0x0000ffff}, {0x58, 0, 0xffffffff},
        {0x5c, 0, 0},          {0x60, 0x00206c11, 0xc0000000},
        {0x64, 0x00001002, 0}, {0x68, 0x00002002, 0},
        {0x6c, 0x00920010, 0}, {0x70, 0x10008000, 0},
        {0x74, 0, 0x0000781f}, {0x78, 0, 0},
        {0xa4, 0, 0},
    };

    (void)state;
    cap_create(probe, OFFER_ALL);
    for (unsigned i = 0; i < ARRAY_COUNT(dwords); i++) {
        const uint32_t at = dwords[i].at;
        const uint32_t skipped = at == 0x74 ? 0x8000 : 0;

        config_write(1, at, 4, ~skipped);
        assert_int_equal(config_read(1, at, 4), dwords[i].fixed | dwords[i].writable);
        config_write(1, at, 4, 0);
        assert_int_equal(config_read(1, at, 4), dwords[i].fixed);
        for (unsigned byte = 0; byte < 4; byte++) {
            uint32_t lane = 0xffu << (byte * 8);

            config_write(1, at + byte, 1, 0xff & ~(skipped >> (byte * 8)));
            assert_int_equal(config_read(1, at, 4), dwords[i].fixed | (dwords[i].writable & lane));
            config_write(1, at + byte, 1, 0);
        }
    }
    /* The pointer is nobody's to write; the device is told of it all the same. */
    probe->config_writes = 0;
    config_write(1, 0x34, 4, 0x80);
    assert_int_equal(config_read(1, 0x34, 4), 0x40);
    assert_int_equal(probe->config_writes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_list, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_order, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_own_pointer_into_the_list, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_when, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_twice, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_no_memory, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_writable_bits, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
