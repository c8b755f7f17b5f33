/* drivers/virtual/bochs_display.c: registers, EDID, and which modes are shown. */
#include "tests/unit/device_kit.h"

#include <string.h>

#include "hv/pci/config.h"

#define DISPI         0x500u
#define BYTE_ORDER    0x604u
#define LITTLE_ENDIAN 0x1e1e1e1eu
#define BIG_ENDIAN    0xbebebebeu

enum {
    ID,
    XRES,
    YRES,
    BPP,
    ENABLE,
    BANK,
    VIRT_WIDTH,
    VIRT_HEIGHT,
    X_OFFSET,
    Y_OFFSET,
    MEMORY,
    END
};

static struct hv_device *display;

static uint32_t dispi(unsigned index)
{
    return (uint32_t)get(display, HV_BAR2, DISPI + 2 * index, 2);
}

static void set(unsigned index, uint32_t value)
{
    put(display, HV_BAR2, DISPI + 2 * index, 2, value);
}

static void set_mode(uint32_t width, uint32_t height)
{
    set(ENABLE, 0);
    set(XRES, width);
    set(YRES, height);
    set(BPP, 32);
    set(VIRT_WIDTH, width);
    set(VIRT_HEIGHT, height);
    set(X_OFFSET, 0);
    set(Y_OFFSET, 0);
    set(ENABLE, 0x41);
}

/* A set mode is shown at once, anew when the time has come. */
static bool is_shown(void)
{
    unsigned before = fake_pictures;

    fake_alarm_go(fake_alarm_clock + SCANOUT_TICKS);
    return fake_pictures != before;
}

static void expect_shown(uint32_t width, uint32_t height, uint32_t stride)
{
    assert_true(is_shown());
    assert_int_equal(fake_picture_width, width);
    assert_int_equal(fake_picture_height, height);
    assert_int_equal(fake_picture_stride, stride);
}

static void identity(void **state)
{
    (void)state;
    display = add("bochs-display", NULL);
    assert_int_equal(config_read(display->slot, 0, 4), 0x11111234);
    assert_int_equal(config_read(display->slot, 8, 4), 0x03800002);
    assert_int_equal(config_read(display->slot, 0x2c, 4), 0x11001af4);
    assert_int_equal(probe_size(display, HV_BAR0), 0xff000008);
    assert_int_equal(probe_size(display, HV_BAR1), 0);
    assert_int_equal(probe_size(display, HV_BAR2), 0xfffff000);
    assert_int_equal(dispi(MEMORY), 256);
    assert_int_equal(hv_device_destroy(display), HV_OK);
    display = add("bochs-display", "size=4M");
    assert_int_equal(probe_size(display, HV_BAR0), 0xffc00008);
    assert_int_equal(dispi(MEMORY), 64);
}

static void frame_buffer(void **state)
{
    struct hv_mmio_range_info info;

    (void)state;
    display = add("bochs-display", NULL);
    assert_int_equal(hv_mmio_range_query(display, HV_BAR0, 0, &info), HV_OK);
    assert_int_equal(info.page_count, 4096);
    assert_int_equal(info.memtype, MEMTYPE_WC);
    assert_int_equal(info.leaves[2], 8);
    put(display, HV_BAR0, MIB(16) - 4, 4, 7);
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
    assert_int_equal(get(display, HV_BAR0, MIB(16) - 4, 4), 7);
    assert_int_equal(get(display, HV_BAR0, 0, 8), 0);
}

/* What the bytes of BAR2 read at first, by what is known of the device; EDID beside. */
static uint64_t expected_byte(uint64_t offset)
{
    static const uint8_t extra[8] = {8, 0, 0, 0, 0x1e, 0x1e, 0x1e, 0x1e};

    if (offset == DISPI || offset == DISPI + 1)
        return offset == DISPI ? 0xc5 : 0xb0;
    if (offset == DISPI + 2 * MEMORY + 1)
        return 1;
    if (offset >= DISPI && offset < DISPI + 2 * END)
        return 0;
    return offset - 0x600 < sizeof(extra) ? extra[offset - 0x600] : 0xff;
}

static void lengths(void **state)
{
    (void)state;
    display = add("bochs-display", NULL);
    for (uint64_t offset = 128; offset < PAGE_BYTES; offset++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
            uint64_t expected = 0, found;

            if (offset % bytes != 0)
                continue;
            for (unsigned i = 0; i < bytes; i++)
                expected |= expected_byte(offset + i) << 8 * i;
            found = get(display, HV_BAR2, offset, bytes);
            if (found != expected)
                fail_msg("%u bytes at %#x: %#llx", bytes, (unsigned)offset,
                         (unsigned long long)found);
        }
    /* Nothing but the nine registers and the byte order can be written. */
    for (uint64_t offset = 0; offset < PAGE_BYTES; offset += 2)
        if (offset < DISPI + 2 * XRES || offset >= DISPI + 2 * MEMORY) {
            uint64_t before = get(display, HV_BAR2, offset, 2);

            put(display, HV_BAR2, offset, 2, 0x5a5a);
            assert_int_equal(get(display, HV_BAR2, offset, 2), before);
        }
    for (unsigned index = XRES; index < MEMORY; index++)
        set(index, 0xff00 + index);
    for (unsigned index = XRES; index < MEMORY; index++)
        assert_int_equal(dispi(index), 0xff00 + index);
    put(display, HV_BAR2, DISPI, 8, 0x0003000200010000); /* the ID stays */
    assert_int_equal(get(display, HV_BAR2, DISPI, 8), 0x000300020001b0c5);
    put(display, HV_BAR2, DISPI + 2 * Y_OFFSET, 4, 0); /* the size too */
}

static void byte_order(void **state)
{
    (void)state;
    display = add("bochs-display", NULL);
    put(display, HV_BAR2, BYTE_ORDER, 4, BIG_ENDIAN);
    assert_int_equal(get(display, HV_BAR2, BYTE_ORDER, 4), BIG_ENDIAN);
    put(display, HV_BAR2, BYTE_ORDER, 4, 0x12345678);
    put(display, HV_BAR2, BYTE_ORDER, 2, 0x1e1e);
    put(display, HV_BAR2, BYTE_ORDER - 4, 8, ~0ull);
    assert_int_equal(get(display, HV_BAR2, BYTE_ORDER, 4), BIG_ENDIAN);
    set_mode(800, 600);
    assert_false(is_shown());
    put(display, HV_BAR2, BYTE_ORDER, 4, LITTLE_ENDIAN);
    expect_shown(800, 600, 3200);
    put(display, HV_BAR2, BYTE_ORDER, 4, BIG_ENDIAN);
    assert_false(is_shown());
}

static void check_edid(uint32_t x, uint32_t y)
{
    uint8_t edid[128], sum = 0;

    for (unsigned i = 0; i < sizeof(edid); i++) {
        edid[i] = (uint8_t)get(display, HV_BAR2, i, 1);
        sum = (uint8_t)(sum + edid[i]);
    }
    assert_int_equal(sum, 0);
    assert_memory_equal(edid, "\0\xff\xff\xff\xff\xff\xff", 8);
    assert_int_equal(edid[18], 1);
    assert_int_equal(edid[19], 4);
    assert_int_equal(edid[126], 0);
    /* the preferred mode */
    assert_int_equal(edid[56] | (edid[58] & 0xf0u) << 4, x);
    assert_int_equal(edid[59] | (edid[61] & 0xf0u) << 4, y);
    /* 60 Hz, unless the field cannot hold the clock */
    {
        uint32_t clock = (uint32_t)(edid[54] | edid[55] << 8) * 10000;
        uint32_t whole = (x + edid[57]) * (y + edid[60]);

        assert_true(clock <= whole * 60);
        assert_true(clock == 655350000 || clock > whole * 60 - 10000);
    }
    assert_memory_equal(edid + 72, "\0\0\0\xfc\0Barvisor\n    ", 18);
}

static void edid(void **state)
{
    (void)state;
    display = add("bochs-display", NULL);
    check_edid(1280, 800);
    assert_int_equal(hv_device_destroy(display), HV_OK);
    display = add("bochs-display", "xres=64 yres=4095");
    check_edid(64, 4095);
    assert_int_equal(hv_device_destroy(display), HV_OK);
    display = add("bochs-display", "xres=4095 yres=4095");
    check_edid(4095, 4095);
    assert_int_equal(hv_device_destroy(display), HV_OK);
    display = add("bochs-display", "xres=1920 yres=1080");
    check_edid(1920, 1080);
}

/* Which modes are shown: each register in turn around its limits. */
static void modes(void **state)
{
    static const struct {
        uint32_t index, value;
        bool shown;
        uint32_t width, height, stride;
    } steps[] = {
        {ENABLE, 0, false, 0, 0, 0},
        {ENABLE, 0xfffe, false, 0, 0, 0},
        {ENABLE, 1, true, 800, 600, 3200},
        {BPP, 8, false, 0, 0, 0},
        {BPP, 16, false, 0, 0, 0},
        {BPP, 24, false, 0, 0, 0},
        {BPP, 32, true, 800, 600, 3200},
        {XRES, 63, false, 0, 0, 0},
        {XRES, 64, true, 64, 600, 3200},
        {XRES, 801, true, 801, 600, 3204}, /* wider than virtual */
        {VIRT_WIDTH, 0, true, 801, 600, 3204},
        {VIRT_WIDTH, 1000, true, 801, 600, 4000},
        {YRES, 63, false, 0, 0, 0},
        {YRES, 64, true, 801, 64, 4000},
        {YRES, 1048, true, 801, 1048, 4000},
        {YRES, 1049, false, 0, 0, 0}, /* 4 MiB is 1048.6 lines */
        {YRES, 1000, true, 801, 1000, 4000},
        {Y_OFFSET, 48, true, 801, 1000, 4000},
        {Y_OFFSET, 49, false, 0, 0, 0},
        {Y_OFFSET, 48, true, 801, 1000, 4000},
        {X_OFFSET, 576, true, 801, 1000, 4000}, /* 4 * 576 = 4 MiB - 1048 * 4000 */
        {X_OFFSET, 577, false, 0, 0, 0},
        {BANK, 5, false, 0, 0, 0},
        {VIRT_HEIGHT, 5, false, 0, 0, 0},
        {X_OFFSET, 0xffff, false, 0, 0, 0},
        {X_OFFSET, 0, true, 801, 1000, 4000},
        {VIRT_WIDTH, 0xffff, false, 0, 0, 0},
        {YRES, 0xffff, false, 0, 0, 0},
        {XRES, 0xffff, false, 0, 0, 0},
        {Y_OFFSET, 0xffff, false, 0, 0, 0},
    };

    (void)state;
    display = add("bochs-display", "size=4M");
    set_mode(800, 600);
    expect_shown(800, 600, 3200);
    for (unsigned i = 0; i < ARRAY_COUNT(steps); i++) {
        set(steps[i].index, steps[i].value);
        assert_int_equal(dispi(steps[i].index), steps[i].value);
        if (steps[i].shown)
            expect_shown(steps[i].width, steps[i].height, steps[i].stride);
        else if (is_shown())
            fail_msg("step %u", i);
    }
}

/*
 * A change is seen at once, what is no change asks for nothing, and the picture is what the guest
 * drew.
 */
static void picture(void **state)
{
    unsigned before;

    (void)state;
    display = add("bochs-display", NULL);
    for (uint64_t y = 0; y < 600; y++)
        put(display, HV_BAR0, 3200 * y, 4, y + 1);
    put(display, HV_BAR0, 3200 * 600 - 4, 4, 0x00abcdef);
    before = fake_pictures;
    set_mode(800, 600);
    assert_int_equal(fake_pictures, before + 1);
    assert_int_equal(fake_picture_first, 1);
    assert_int_equal(fake_picture_last, 0x00abcdef);
    assert_int_equal(fake_picture_sum, 600 * 601 / 2 + 0x00abcdef);
    set(ENABLE, 0x41);
    set(BANK, 3);
    set(VIRT_HEIGHT, 3);
    assert_int_equal(fake_pictures, before + 1);
    set(Y_OFFSET, 4);
    assert_int_equal(fake_pictures, before + 2);
    assert_int_equal(fake_picture_first, 5);
    set(X_OFFSET, 1);
    assert_int_equal(fake_picture_first, 0);
    put(display, HV_BAR0, 3200 * 4 + 4, 4, 0x42);
    assert_true(is_shown());
    assert_int_equal(fake_picture_first, 0x42);
    display->ops->reset(display->context);
    assert_false(is_shown());
    assert_int_equal(dispi(XRES), 0);
    assert_int_equal(get(display, HV_BAR0, 3200 * 4 + 4, 4), 0x42); /* memory is not a register */
    set_mode(64, 64);
    expect_shown(64, 64, 256);
    assert_int_equal(hv_device_destroy(display), HV_OK);
    assert_false(is_shown());
}

static void options(void **state)
{
    static const char *const refused[] = {"size=2M",  "size=512M", "size=5M", "size=0",
                                          "xres=63",  "xres=4096", "yres=63", "yres=4096",
                                          "xres=64M", "zres=5",    "size"};
    struct hv_device *device = NULL;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(refused); i++)
        if (try_add("bochs-display", refused[i], &device) != HV_E_INVALID_PARAMETER)
            fail_msg("%s", refused[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(identity), TEST(frame_buffer), TEST(lengths), TEST(byte_order),
        TEST(edid),     TEST(modes),        TEST(picture), TEST(options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
