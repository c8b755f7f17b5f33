/* drivers/virtual/ivshmem.c: shared memory, peers and their doorbells, options. */
#include "tests/unit/device_kit.h"

#include "hv/pci/config.h"

#define MASK     0x0u
#define STATUS   0x4u
#define POSITION 0x8u
#define DOORBELL 0xcu
#define DATA     0x20u /* peer p, vector v: DATA * (p + 1) + v, of fixed delivery */

static void identity(void **state)
{
    struct hv_device *plain, *bell;

    (void)state;
    plain = add("ivshmem", "name=a size=1M");
    bell = add("ivshmem", "name=b size=64K doorbell vectors=3");
    assert_int_equal(config_read(plain->slot, 0, 4), 0x11101af4);
    assert_int_equal(config_read(plain->slot, 8, 4), 0x05000001);
    assert_int_equal(config_read(plain->slot, 0x2c, 4), 0x11001af4);
    assert_int_equal(probe_size(plain, HV_BAR0), 0xffffff00);
    assert_int_equal(probe_size(plain, HV_BAR1), 0);
    assert_int_equal(probe_size(plain, HV_BAR2), 0xfff0000c);
    assert_int_equal(probe_size(plain, HV_BAR3), 0xffffffff);
    assert_int_equal(config_read(plain->slot, 6, 2) & 0x10, 0);
    assert_int_equal(config_read(bell->slot, 8, 4), 0x05000001);
    assert_int_equal(probe_size(bell, HV_BAR1), 0xfffff000);
    assert_int_equal(probe_size(bell, HV_BAR2), 0xffff000c);
    assert_int_equal(config_read(bell->slot, 6, 2) & 0x10, 0x10);
    assert_int_equal(config_read(bell->slot, 0x40, 4), 2u << 16 | 0x11);
    assert_int_equal(config_read(bell->slot, 0x44, 4), 1); /* table: BAR1 at 0 */
    assert_int_equal(config_read(bell->slot, 0x48, 4), 0x801);
}

/* Each length at each offset of BAR0. */
static void registers(void **state)
{
    struct hv_device *device;

    (void)state;
    device = add("ivshmem", "size=4K");
    for (uint64_t offset = 0; offset < 256; offset++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            if (offset % bytes == 0)
                assert_int_equal(get(device, HV_BAR0, offset, bytes), 0);
    put(device, HV_BAR0, MASK, 4, 0xffffffff);
    put(device, HV_BAR0, STATUS, 4, 0x1234);
    assert_int_equal(get(device, HV_BAR0, MASK, 4), 0xffffffff);
    assert_int_equal(get(device, HV_BAR0, STATUS, 4), 0x1234);
    assert_int_equal(get(device, HV_BAR0, STATUS, 4), 0);
    put(device, HV_BAR0, MASK, 8, 0x1111111122222222);
    assert_int_equal(get(device, HV_BAR0, MASK, 8), 0x1111111122222222);
    assert_int_equal(get(device, HV_BAR0, MASK, 8), 0x22222222);
    for (uint64_t offset = 0; offset < 8; offset++) {
        put(device, HV_BAR0, offset, 1, 0x77);
        if (offset % 2 == 0)
            put(device, HV_BAR0, offset, 2, 0x7777);
    }
    assert_int_equal(get(device, HV_BAR0, MASK, 8), 0x22222222);
    for (uint64_t offset = POSITION; offset < 256; offset += 4)
        put(device, HV_BAR0, offset, 4, ~0u);
    for (uint64_t offset = POSITION; offset < 256; offset += 4)
        assert_int_equal(get(device, HV_BAR0, offset, 4), 0);
    device->ops->reset(device->context);
    assert_int_equal(get(device, HV_BAR0, MASK, 4), 0);
}

static void memory_is_shared(void **state)
{
    struct hv_device *first, *second, *other;

    (void)state;
    first = add("ivshmem", "name=shm size=2M");
    second = add("ivshmem", "name=shm");
    other = add("ivshmem", "name=shm2 size=2M");
    assert_int_equal(probe_size(second, HV_BAR2), 0xffe0000c);
    for (uint64_t offset = 0; offset < MIB(2); offset += PAGE_BYTES) {
        put(first, HV_BAR2, offset, 8, offset + 1);
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
    }
    for (uint64_t offset = 0; offset < MIB(2); offset += PAGE_BYTES) {
        assert_int_equal(get(second, HV_BAR2, offset, 8), offset + 1);
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
        assert_int_equal(get(other, HV_BAR2, offset, 8), 0);
    }
    put(second, HV_BAR2, MIB(2) - 8, 8, 99);
    assert_int_equal(get(first, HV_BAR2, MIB(2) - 8, 8), 99);
    /* the first may go: the memory stays as long as one shows it */
    assert_int_equal(hv_device_destroy(first), HV_OK);
    assert_int_equal(get(second, HV_BAR2, MIB(2) - 8, 8), 99);
    first = add("ivshmem", "name=shm");
    assert_int_equal(get(first, HV_BAR2, MIB(2) - 8, 8), 99);
    assert_int_equal(hv_device_destroy(first), HV_OK);
    assert_int_equal(hv_device_destroy(second), HV_OK);
    first = add("ivshmem", "name=shm size=4K");
    assert_int_equal(get(first, HV_BAR2, 0, 8), 0);
}

static void large_leaves(void **state)
{
    struct hv_device *device;
    struct hv_mmio_range_info info;

    (void)state;
    device = add("ivshmem", "size=8M type=wc");
    assert_int_equal(hv_mmio_range_query(device, HV_BAR2, 2047, &info), HV_OK);
    assert_int_equal(info.page_count, 2048);
    assert_int_equal(info.leaves[2], 4);
    assert_int_equal(info.leaves[1], 0);
    assert_int_equal(info.memtype, MEMTYPE_WC);
}

static void read_only(void **state)
{
    struct hv_device *writer, *reader;

    (void)state;
    writer = add("ivshmem", "name=s size=64K");
    reader = add("ivshmem", "name=s readonly");
    put(writer, HV_BAR2, 0x8000, 8, 5);
    put(reader, HV_BAR2, 0x8000, 8, 6);
    assert_int_equal(fake_vm_way, FAKE_TRAPPED);
    assert_int_equal(get(reader, HV_BAR2, 0x8000, 8), 5);
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
}

static void types(void **state)
{
    static const struct {
        const char *words;
        enum memtype type;
    } known[] = {{"size=4K", MEMTYPE_WB},         {"size=4K type=uc", MEMTYPE_UC},
                 {"size=4K type=wc", MEMTYPE_WC}, {"size=4K type=wt", MEMTYPE_WT},
                 {"size=4K type=wp", MEMTYPE_WP}, {"size=4K type=wb", MEMTYPE_WB}};
    struct hv_mmio_range_info info;
    struct hv_device *device, *conflict;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(known); i++) {
        device = add("ivshmem", known[i].words);
        assert_int_equal(hv_mmio_range_query(device, HV_BAR2, 0, &info), HV_OK);
        assert_int_equal(info.memtype, known[i].type);
        assert_int_equal(hv_device_destroy(device), HV_OK);
    }
    device = add("ivshmem", "size=4K type=wc");
    assert_int_equal(try_add("ivshmem", "type=wb", &conflict), HV_E_CACHE_CONFLICT);
    add("ivshmem", ""); /* the type in force */
    assert_int_equal(hv_device_destroy(device), HV_OK);
}

static void ring(const struct hv_device *from, uint32_t peer, uint32_t vector)
{
    put(from, HV_BAR0, DOORBELL, 4, peer << 16 | vector);
}

static void expect_one(uint32_t peer, uint32_t vector)
{
    assert_int_equal(fake_apic_count, 1);
    assert_int_equal(fake_apic_message[0].data, DATA * (peer + 1) + vector);
    messages();
}

/* Every peer rings every vector of every peer. */
static void doorbells(void **state)
{
    struct hv_device *peer[3], *stranger, *plain;

    (void)state;
    stranger = add("ivshmem", "name=y size=4K doorbell vectors=8");
    plain = add("ivshmem", "name=x size=4K");
    for (uint32_t i = 0; i < ARRAY_COUNT(peer); i++) {
        peer[i] = add("ivshmem", "name=x doorbell vectors=4");
        assert_int_equal(get(peer[i], HV_BAR0, POSITION, 4), i);
        enable_msix(peer[i], HV_BAR1, 4, DATA * (i + 1));
    }
    enable_msix(stranger, HV_BAR1, 8, DATA * 7);
    assert_int_equal(get(stranger, HV_BAR0, POSITION, 4), 0);
    for (uint32_t from = 0; from < ARRAY_COUNT(peer); from++)
        for (uint32_t to = 0; to < ARRAY_COUNT(peer); to++)
            for (uint32_t vector = 0; vector < 4; vector++) {
                ring(peer[from], to, vector);
                expect_one(to, vector);
            }
    /* nobody's */
    ring(peer[0], 1, 4);
    ring(peer[0], 1, 0xffff);
    ring(peer[0], 3, 0);
    ring(peer[0], 0xffff, 0);
    ring(plain, 0, 0);
    put(peer[0], HV_BAR0, DOORBELL, 2, 0);
    assert_int_equal(messages(), 0);
    assert_int_equal(get(peer[0], HV_BAR0, DOORBELL, 4), 0);
    assert_int_equal(get(peer[0], HV_BAR0, STATUS, 4), 0);

    /* One that has gone is nobody, and its place is the next one's. */
    assert_int_equal(hv_device_destroy(peer[1]), HV_OK);
    ring(peer[0], 1, 0);
    assert_int_equal(messages(), 0);
    ring(peer[0], 2, 3);
    expect_one(2, 3);
    peer[1] = add("ivshmem", "name=x doorbell vectors=2");
    assert_int_equal(get(peer[1], HV_BAR0, POSITION, 4), 1);
    ring(peer[2], 1, 1);
    assert_int_equal(messages(), 0); /* MSI-X is off */
    enable_msix(peer[1], HV_BAR1, 2, DATA * 2);
    ring(peer[2], 1, 1);
    expect_one(1, 1);
    ring(peer[2], 1, 2);
    assert_int_equal(messages(), 0);
    for (unsigned i = 0; i < ARRAY_COUNT(peer); i++)
        assert_int_equal(hv_device_destroy(peer[i]), HV_OK);
    assert_int_equal(hv_device_destroy(stranger), HV_OK);
}

/* Masked: pending, and it comes when unmasked; the table's BAR answers beside it. */
static void masked(void **state)
{
    struct hv_device *device;

    (void)state;
    device = add("ivshmem", "size=4K doorbell vectors=128");
    enable_msix(device, HV_BAR1, 128, DATA);
    put(device, HV_BAR1, 16 * 127 + 12, 4, 1);
    ring(device, 0, 127);
    assert_int_equal(messages(), 0);
    assert_int_equal(get(device, HV_BAR1, 0x808, 8), 1ull << 63);
    put(device, HV_BAR1, 16 * 127 + 12, 4, 0);
    expect_one(0, 127);
    assert_int_equal(get(device, HV_BAR1, 0x810, 8), ~0ull);
    put(device, HV_BAR1, 0x810, 8, 0);
}

static void options(void **state)
{
    static const char *const refused[] = {
        "size=3M",
        "size=2K",
        "size=0x",
        "size=128G",
        "vectors=0",
        "vectors=129",
        "vectors=x",
        "type=wx",
        "type=",
        "type",
        "doorbell=1",
        "doorbells",
        "readonly=1",
        "name=",
        "name",
        "colour=red",
        "size",
        "type=wbb",
        "name=0123456789012345678901234567890123456789012345678901234567890123"};
    struct hv_device *device = NULL;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(refused); i++)
        if (try_add("ivshmem", refused[i], &device) != HV_E_INVALID_PARAMETER)
            fail_msg("%s", refused[i]);
    add("ivshmem", "name=012345678901234567890123456789012345678901234567890123456789012 size=4K");
    add("ivshmem", "name=s size=64K");
    assert_int_equal(try_add("ivshmem", "name=s size=4K", &device), HV_E_INVALID_PARAMETER);
    assert_int_equal(try_add("ivshmem", "name=s size=1M", &device), HV_E_INVALID_PARAMETER);
    add("ivshmem", "name=s size=64K");
    assert_int_equal(try_add("ivshmem", "name=big size=512M", &device), HV_E_COMMITMENT_LIMIT);
    device = add("ivshmem", "");
    assert_int_equal(probe_size(device, HV_BAR2), 0xffc0000c);
}

/* A start that another device's failure takes back can be made again. */
static void started_again(void **state)
{
    struct hv_device *device;

    (void)state;
    device = add("ivshmem", "name=s size=4K doorbell vectors=2");
    put(device, HV_BAR2, 0, 8, 5);
    device->ops->stop(device->context);
    assert_int_equal(get(device, HV_BAR2, 0, 8), ~0ull);
    assert_int_equal(device->ops->start(device->context), HV_OK);
    assert_int_equal(get(device, HV_BAR2, 0, 8), 5);
    enable_msix(device, HV_BAR1, 2, DATA);
    ring(device, 0, 1);
    expect_one(0, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(identity),  TEST(registers),     TEST(memory_is_shared), TEST(large_leaves),
        TEST(read_only), TEST(types),         TEST(doorbells),        TEST(masked),
        TEST(options),   TEST(started_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
