/*
 * drivers/virtual/edu.c, as a driver of it: registers, lengths, factorials, interrupts, copies at
 * the edges.
 */
#include "tests/unit/device_kit.h"

#include <string.h>

#define BUFFER    0x40000u
#define START     1u
#define TO_RAM    2u
#define SIGNAL    4u
#define LOW       0x1000ull
#define EDU_BYTES MIB(1)

static struct hv_device *edu;

static uint32_t reg(uint64_t offset)
{
    return (uint32_t)get(edu, HV_BAR0, offset, 4);
}

static void set(uint64_t offset, uint32_t value)
{
    put(edu, HV_BAR0, offset, 4, value);
}

static void identity(void **state)
{
    (void)state;
    edu = add("edu", NULL);
    assert_int_equal(config_read(edu->slot, 0, 4), 0x11e81234);
    assert_int_equal(config_read(edu->slot, 8, 4), 0x00ff0010);
    assert_int_equal(config_read(edu->slot, 0x2c, 4), 0x11001af4);
    assert_int_equal(probe_size(edu, HV_BAR0), 0xfff00000);
    for (enum hv_bar bar = HV_BAR1; bar <= HV_BAR5; bar++)
        assert_int_equal(probe_size(edu, bar), 0);
    assert_int_equal(reg(0), 0x010000ed);
    set(0, 5);
    assert_int_equal(reg(0), 0x010000ed);
    assert_int_equal(reg(4), 0);
    set(4, 0x12345678);
    assert_int_equal(reg(4), ~0x12345678u);
}

/*
 * Each length at each offset of the registers: what reads, and that no wrong length changes
 * anything.
 */
static void lengths(void **state)
{
    static const uint64_t known[] = {0, 4, 8, 0x20, 0x24, 0x80, 0x88, 0x90, 0x98};

    (void)state;
    edu = add("edu", NULL);
    for (uint64_t offset = 0; offset < 0x100; offset++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
            uint64_t expected = bytes == 8 ? ~0ull : bytes == 4 ? UINT32_MAX : 0, found;

            if (offset % bytes != 0)
                continue;
            for (unsigned i = 0; i < ARRAY_COUNT(known) && bytes >= 4; i++)
                if (offset == known[i] && (bytes == 4 || offset >= 0x80))
                    expected = offset == 0 ? 0x010000ed : 0;
            found = get(edu, HV_BAR0, offset, bytes);
            if (found != expected)
                fail_msg("%u bytes at %#x: %#llx", bytes, (unsigned)offset,
                         (unsigned long long)found);
        }
    for (uint64_t offset = 0; offset < 0x98; offset++) {
        put(edu, HV_BAR0, offset, 1, 0xff);
        if (offset % 2 == 0)
            put(edu, HV_BAR0, offset, 2, 0xffff);
        if (offset % 8 == 0 && offset < 0x80)
            put(edu, HV_BAR0, offset, 8, ~0ull);
        if (offset % 8 == 4 && offset >= 0x80)
            put(edu, HV_BAR0, offset, 4, ~0u);
    }
    for (unsigned i = 1; i < ARRAY_COUNT(known); i++)
        assert_int_equal(get(edu, HV_BAR0, known[i], 4), 0);
    put(edu, HV_BAR0, 0x80, 8, 0x1122334455667788);
    assert_int_equal(get(edu, HV_BAR0, 0x80, 8), 0x1122334455667788);
    assert_int_equal(reg(0x80), 0x55667788);
    set(0x80, 0xaabbccdd); /* the whole register */
    assert_int_equal(get(edu, HV_BAR0, 0x80, 8), 0xaabbccdd);
    assert_int_equal(get(edu, HV_BAR0, EDU_BYTES - 8, 8), ~0ull);
    assert_int_equal(reg(BUFFER), UINT32_MAX);
}

static void factorials(void **state)
{
    uint32_t expected = 1;

    (void)state;
    edu = add("edu", NULL);
    for (uint32_t n = 0; n < 40; n++) {
        expected *= n ? n : 1;
        set(8, n);
        assert_int_equal(reg(8), expected);
        assert_int_equal(reg(0x20), 0);
    }
    set(8, UINT32_MAX); /* promptly */
    assert_int_equal(reg(8), 0);
    assert_int_equal(reg(0x24), 0);
}

static void interrupts(void **state)
{
    (void)state;
    edu = add("edu", NULL);
    set(0x60, 2); /* MSI is off: the reason is there all the same */
    assert_int_equal(reg(0x24), 2);
    assert_int_equal(messages(), 0);
    enable_msi(edu, 0x41);
    set(0x60, 0x80000000);
    assert_int_equal(messages(), 1);
    assert_int_equal(fake_apic_message[0].data, 0x41);
    assert_int_equal(reg(0x24), 0x80000002);
    set(0x64, 2);
    assert_int_equal(reg(0x24), 0x80000000);
    set(0x60, 0); /* it has still a reason */
    assert_int_equal(messages(), 1);
    set(0x64, UINT32_MAX);
    set(0x60, 0);
    assert_int_equal(messages(), 0);
    set(0x24, 7);
    assert_int_equal(reg(0x24), 0);

    set(0x20, UINT32_MAX);
    assert_int_equal(reg(0x20), 0x80);
    set(8, 5);
    assert_int_equal(reg(8), 120);
    assert_int_equal(reg(0x24), 1);
    assert_int_equal(messages(), 1);
    set(0x20, 0x7f);
    assert_int_equal(reg(0x20), 0);
    set(8, 5);
    assert_int_equal(messages(), 0);
    config_write(edu->slot, 4, 2, 2); /* bus mastering off */
    set(0x60, 1);
    assert_int_equal(messages(), 0);
}

static void copy(uint64_t source, uint64_t destination, uint64_t bytes, uint32_t command)
{
    put(edu, HV_BAR0, 0x80, 8, source);
    put(edu, HV_BAR0, 0x88, 8, destination);
    put(edu, HV_BAR0, 0x90, 8, bytes);
    put(edu, HV_BAR0, 0x98, 8, command);
    assert_int_equal(get(edu, HV_BAR0, 0x98, 8), command & ~START);
}

#define expect_bytes(gpa, bytes, first) assert_true(is_filled(gpa, bytes, first))

static void copies(void **state)
{
    (void)state;
    edu = add("edu", NULL);
    enable_msi(edu, 0x55);
    fill_ram(LOW, 4096, 3);
    copy(LOW, BUFFER, 4096, START);
    assert_int_equal(messages(), 0);
    memset(ram(LOW), 0, 4096);
    copy(BUFFER, LOW, 4096, START | TO_RAM | SIGNAL);
    assert_int_equal(messages(), 1);
    assert_int_equal(reg(0x24), 0x100);
    expect_bytes(LOW, 4096, 3);
    copy(BUFFER + 4095, LOW + 16, 1, START | TO_RAM);
    assert_int_equal(*ram(LOW + 16), (uint8_t)(3 + 4095));
    copy(BUFFER + 4096, LOW, 0, START | TO_RAM); /* nothing, at the very end */
    copy(BUFFER, LOW, 0, START | TO_RAM);
    /* across two runs of RAM, which the guest cannot see */
    fill_ram(SEAM - 9, 20, 77);
    copy(SEAM - 9, BUFFER + 5, 20, START);
    memset(ram(LOW), 0, 20);
    copy(BUFFER + 5, LOW, 20, START | TO_RAM);
    expect_bytes(LOW, 20, 77);
    /* without START nothing begins, and the command stays */
    put(edu, HV_BAR0, 0x98, 4, TO_RAM | SIGNAL);
    assert_int_equal(reg(0x98), TO_RAM);
}

static void copies_that_cannot_be(void **state)
{
    static const struct {
        uint64_t offset, bytes;
    } bad[] = {{BUFFER - 1, 1},     {BUFFER - 1, 2},    {BUFFER, 4097},
               {BUFFER + 4096, 1},  {BUFFER + 4095, 2}, {0, 1},
               {~0ull, 1},          {BUFFER, ~0ull},    {BUFFER + 1, ~0ull},
               {BUFFER, 1ull << 32}};

    (void)state;
    edu = add("edu", NULL);
    enable_msi(edu, 0x55);
    fill_ram(LOW, 4096, 9);
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        copy(bad[i].offset, LOW, bad[i].bytes, START | TO_RAM | SIGNAL);
        copy(LOW, bad[i].offset, bad[i].bytes, START);
        expect_bytes(LOW, 4096, 9);
        assert_int_equal(messages(), 1);
    }
    assert_int_equal(reg(4), 0);
    assert_int_equal(reg(0x24), 0x100);
    /* RAM that is none: the buffer stays, and RAM up to the end does */
    copy(LOW, BUFFER, 16, START);
    fill_ram(TOP - 8, 8, 200);
    copy(TOP - 8, BUFFER, 16, START);
    copy(BUFFER, TOP - 8, 16, START | TO_RAM);
    expect_bytes(TOP - 8, 8, 200);
    copy(BUFFER, LOW + 64, 16, START | TO_RAM);
    expect_bytes(LOW + 64, 16, 9);
}

static void mask(void **state)
{
    (void)state;
    edu = add("edu", NULL);
    fill_ram(LOW, 8, 1);
    copy(LOW | 0x5000000010000000, BUFFER, 8, START); /* 28 bits */
    assert_int_equal(get(edu, HV_BAR0, 0x80, 8), LOW | 0x5000000010000000);
    memset(ram(LOW), 0, 8);
    copy(BUFFER, LOW, 8, START | TO_RAM);
    expect_bytes(LOW, 8, 1);
    assert_int_equal(hv_device_destroy(edu), HV_OK);

    edu = add("edu", "dma_mask=0xffffffffffff");
    fill_ram(HIGH, 8, 50);
    copy(HIGH, BUFFER, 8, START);
    copy(BUFFER, LOW, 8, START | TO_RAM);
    expect_bytes(LOW, 8, 50);
}

static void options(void **state)
{
    static const char *const refused[] = {"dma_mask",
                                          "dma_mask=",
                                          "dma_mask=0x",
                                          "dma_mask=1T",
                                          "dma_mask=1KK",
                                          "dma_mask=-1",
                                          "dma_masks=1",
                                          "mask=1",
                                          "=",
                                          "dma_mask=1 x",
                                          "dma_mask=0x10000000000000000",
                                          "dma_mask=17179869184G",
                                          "dma_mask=18446744073709551616"};
    struct hv_device *device = NULL;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(refused); i++)
        if (try_add("edu", refused[i], &device) != HV_E_INVALID_PARAMETER)
            fail_msg("%s", refused[i]);
    edu = add("edu", "dma_mask=2M");
    fill_ram(LOW, 8, 1);
    fill_ram(MIB(2), 8, 100);
    copy(MIB(2) | LOW, BUFFER, 8, START); /* the one bit that is let through */
    copy(BUFFER, LOW, 8, START | TO_RAM); /* and so this goes to 0 */
    expect_bytes(LOW, 8, 1);
    expect_bytes(0, 8, 100);
}

static void reset(void **state)
{
    (void)state;
    edu = add("edu", NULL);
    set(4, 1);
    set(0x20, 0x80);
    set(8, 4);
    put(edu, HV_BAR0, 0x90, 8, 77);
    edu->ops->reset(edu->context);
    assert_int_equal(reg(4), 0);
    assert_int_equal(reg(8), 0);
    assert_int_equal(reg(0x20), 0);
    assert_int_equal(reg(0x24), 0);
    assert_int_equal(reg(0x90), 0);
    fill_ram(LOW, 8, 1);
    copy(LOW, BUFFER, 8, START); /* the mask stays */
    copy(BUFFER, LOW + 8, 8, START | TO_RAM);
    expect_bytes(LOW + 8, 8, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(identity),
        TEST(lengths),
        TEST(factorials),
        TEST(interrupts),
        TEST(copies),
        TEST(mask),
        TEST(copies_that_cannot_be),
        TEST(options),
        TEST(reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
